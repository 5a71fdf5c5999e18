"""The units of systemd agree with the program, and a server started as they say tells when it answers."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from angarium.cli.main import COMMANDS
from angarium.settings import Settings, load, table
from tests.deploy.files import DEPLOY, environment, unit, values

EMBEDDED = DEPLOY / "systemd" / "angarium.service"
ROLES = DEPLOY / "systemd" / "angarium@.service"
UNITS = [pytest.param(path, id=path.name) for path in (EMBEDDED, ROLES)]
SECRETS = {
    "admin-key": "let-me-in-for-tests",
    "secret-key": base64.b64encode(bytes(32)).decode(),
    "store": "postgresql://angarium:secret@db.example.com/angarium",
}


def _given(path: Path, folder: Path, role: str = "") -> dict[str, str]:
    """Return a unit's environment with systemd's words replaced, and the credentials that it loads."""
    lines = unit(path)
    credentials = folder / "credentials"
    credentials.mkdir(exist_ok=True)
    for name in (text.partition(":")[0] for text in values(lines, "LoadCredential")):
        (credentials / name).write_text(f"{SECRETS[name]}\n", encoding="utf-8")
    words = {"%S": str(folder), "%d": str(credentials), "%i": role}
    given = environment(lines)
    for word, meaning in words.items():
        given = {name: value.replace(word, meaning) for name, value in given.items()}
    return given


@pytest.mark.parametrize("path", UNITS)
def test_a_unit_starts_a_command_that_there_is(path: Path) -> None:
    [command] = values(unit(path), "ExecStart")
    program, name, *rest = command.split()
    assert program == "/opt/angarium/bin/angarium"
    assert name in COMMANDS
    assert not rest


@pytest.mark.parametrize("path", UNITS)
def test_a_unit_s_variables_are_settings(path: Path) -> None:
    names = {name.removeprefix("ANGARIUM_").lower().removesuffix("_file") for name in environment(unit(path))}
    assert names
    assert names <= set(table())


@pytest.mark.parametrize("path", UNITS)
def test_a_unit_names_each_credential_that_it_loads(path: Path) -> None:
    lines = unit(path)
    loaded = [text.partition(":") for text in values(lines, "LoadCredential")]
    named = sorted(text.removeprefix("%d/") for text in environment(lines).values() if text.startswith("%d/"))
    assert named == sorted(name for name, _, _ in loaded)
    assert all(source == f"/etc/angarium/{name}" for name, _, source in loaded)


@pytest.mark.parametrize("path", UNITS)
def test_a_stop_has_the_time_that_it_takes(path: Path) -> None:
    [text] = values(unit(path), "TimeoutStopSec")
    assert int(text) >= Settings().stop_s + 15


@pytest.mark.parametrize("path", UNITS)
def test_a_unit_opens_nothing_that_it_needs_not(path: Path) -> None:
    lines = unit(path)
    for name in ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute"):
        assert values(lines, name) == ["yes"], name
    assert values(lines, "ProtectSystem") == ["strict"]
    assert values(lines, "CapabilityBoundingSet") == [""]
    assert values(lines, "SystemCallFilter") == ["@system-service", "~@privileged @resources"]
    assert values(lines, "Type") == ["notify"]


def test_the_embedded_unit_keeps_its_store_in_its_state(tmp_path: Path) -> None:
    [folder] = values(unit(EMBEDDED), "StateDirectory")
    settings = load(environment=_given(EMBEDDED, tmp_path), file=tmp_path / "none.toml")
    assert settings.store == f"sqlite:///{tmp_path / folder}/angarium.db"
    assert settings.admin_key == SECRETS["admin-key"]
    assert settings.secret_key == bytes(32)


@pytest.mark.parametrize("role", ["api", "worker"])
def test_the_template_s_instance_is_the_role(role: str, tmp_path: Path) -> None:
    settings = load(environment=_given(ROLES, tmp_path, role), file=tmp_path / "none.toml")
    assert (settings.role, settings.store) == (role, SECRETS["store"])


def test_both_units_differ_in_role_and_store_alone() -> None:
    theirs = [{(line.name, line.value) for line in unit(path)} for path in (EMBEDDED, ROLES)]
    assert {name for name, _ in theirs[0] ^ theirs[1]} == {
        "After",
        "Description",
        "Environment",
        "EnvironmentFile",
        "LoadCredential",
        "StateDirectory",
        "StateDirectoryMode",
    }


def test_a_server_tells_systemd_when_it_answers_and_when_it_ends(tmp_path: Path) -> None:
    (tmp_path / "angarium").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(str(tmp_path / "notify"))
        taken.settimeout(60)
        server = subprocess.Popen(
            [sys.executable, "-m", "angarium", "serve", "--listen", "127.0.0.1:0"],
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(tmp_path / "notify"), **_given(EMBEDDED, tmp_path)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert taken.recv(100) == b"READY=1"
            assert server.stdout is not None
            asked = HTTPConnection("127.0.0.1", int(server.stdout.readline().rpartition(":")[2]), timeout=60)
            asked.request("GET", "/readyz")
            assert asked.getresponse().status == 200
            asked.close()
            server.send_signal(signal.SIGTERM)
            assert taken.recv(100) == b"STOPPING=1"
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.communicate(timeout=60)
