from __future__ import annotations

import json
import subprocess
import sys

import pytest

from angarium import __version__
from angarium.cli.main import COMMANDS, main
from tests.cli.running import environment

HEAVY = ("apsw", "fastapi", "pycurl", "pydantic", "starlette", "uvicorn", "angarium.app", "angarium.api")
LOADS = f"""
import sys
from angarium.cli.main import main
main(sys.argv[1:])
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
GROUPS = {
    "deliveries": ["list", "show", "redeliver"],
    "events": ["list", "show"],
    "jobs": ["list", "show", "cancel"],
    "keys": ["list", "create", "delete"],
    "objects": ["list", "show"],
    "projects": ["list", "create", "show", "delete"],
    "store": ["migrate", "copy", "check"],
    "subscriptions": [
        *("list", "create", "update", "show", "delete", "pause", "resume", "disable", "verify", "test", "rotate"),
        *("replay", "resync"),
    ],
}
SINGLE = [[name] for name in COMMANDS if name not in GROUPS]
EVERY = [*SINGLE, *([group, name] for group, names in GROUPS.items() for name in names)]


def _id(path: list[str]) -> str:
    return " ".join(path)


@pytest.mark.parametrize("path", EVERY, ids=_id)
def test_each_command_s_help_has_two_examples_and_json(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    examples = [line for line in shown.partition("Examples:\n")[2].splitlines() if line.startswith("    angarium")]
    assert len(examples) == 2
    assert "--json" in shown


def test_the_list_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group]) == 2
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(GROUPS[group])


def test_no_command_shows_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_a_mistyped_command_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["subscripions"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "error: angarium cannot be run like this"
    assert "subscriptions" in shown.err.splitlines()[1]
    assert shown.err.splitlines()[2] == "  fix: see: angarium --help"


def test_a_mistyped_flag_is_told_the_right_one_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "item.update", "49", "--dat", "1", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert "--data" in error["why"]
    assert error["fix"] == "see: angarium publish --help"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"angarium {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["serve", "--help"],
        ["publish", "item.update", "49", "--project", "demo", "--url", "http://127.0.0.1:9"],
        ["subscriptions", "list", "--project", "demo", "--url", "http://127.0.0.1:9"],
        ["listen", "--project", "demo", "--url", "http://127.0.0.1:9", "--forward", "http://127.0.0.1:9"],
        ["verify", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        ["receive", "--help"],
        ["demo", "--help"],
    ],
    ids=_id,
)
def test_no_server_code_is_loaded_by_clients_and_help(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *arguments], env=environment(), input=b"", capture_output=True, check=True
    )
    assert done.stderr.decode().splitlines()[-1] == "[]"


def test_a_reader_that_has_read_enough_sees_no_traceback() -> None:
    line = f'"{sys.executable}" -m angarium --help | true'
    done = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, check=False)  # noqa: S607  bash is everywhere
    assert done.stderr == b""
