from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import click
import pytest

from angarium.cli.command import argument, client_command, local_command, option
from angarium.cli.screen import Screen
from angarium.errors import FieldError, NotFound

EXAMPLES = ("angarium toy 1", "angarium toy 2")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def _toy(seen: list[Any]) -> click.Command:
    @local_command("toy", examples=EXAMPLES)
    def toy(
        screen: Screen,
        name: Annotated[str, argument("NAME", help="A name.")],
        colour: Annotated[Colour | None, option(help="A colour.")] = None,
        words: Annotated[list[str] | None, option("--word", help="Words.")] = None,
        number_: Annotated[int, option("--number", least=1, help="A number.")] = 7,
        *,
        is_loud: Annotated[bool, option("--loud", help="Whether.")] = False,
    ) -> int:
        """Try the forms of flags."""
        seen.extend([screen.is_json, name, colour, words, number_, is_loud])
        return 3

    return toy


def _failing(error: BaseException) -> click.Command:
    @local_command("toy", examples=EXAMPLES)
    def toy(screen: Screen) -> None:
        """Fail."""
        raise error

    return toy


def _run(command: click.Command, *arguments: str) -> Any:
    return command.main(list(arguments), standalone_mode=False)


def test_flags_come_as_the_signature_says() -> None:
    seen: list[Any] = []
    assert (
        _run(_toy(seen), "a", "--colour", "red", "--word", "x", "--word", "y", "--number", "8", "--loud", "--json") == 3
    )
    assert seen == [True, "a", Colour.RED, ["x", "y"], 8, True]
    assert isinstance(seen[2], Colour)


def test_what_is_left_out_is_its_default() -> None:
    seen: list[Any] = []
    _run(_toy(seen), "a")
    assert seen == [False, "a", None, None, 7, False]


@pytest.mark.parametrize("arguments", [(), ("a", "--colour", "green"), ("a", "--number", "0"), ("a", "--number", "x")])
def test_what_does_not_fit_is_misuse(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        _run(_toy([]), *arguments)


def test_an_error_is_three_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_failing(FieldError("--rate", "'x' is no rate"))) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["error: --rate is wrong", "  why: 'x' is no rate", "  fix: correct it"]


def test_a_fault_of_ours_says_how_to_report_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_failing(ZeroDivisionError("division by zero"))) == 1
    assert "--debug" in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(NotFound):
        _run(_failing(NotFound("no such thing")), "--debug")


def test_an_interrupt_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_a_client_command_without_a_project_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    @client_command("toy", examples=EXAMPLES)
    def toy(session: Any) -> None:
        """Ask for a path."""
        session.path("events")

    assert _run(toy) == 2
    assert "--project" in capsys.readouterr().err


def test_a_client_command_finds_its_server_by_flag_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    @client_command("toy", examples=EXAMPLES)
    def toy(session: Any) -> None:
        """Tell where it would go."""
        found.extend([session.client.url, session.path("a b")])

    monkeypatch.setenv("ANGARIUM_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ANGARIUM_PROJECT", "radio")
    _run(toy)
    _run(toy, "--url", "http://127.0.0.1:2", "--project", "x/y")
    assert found == [
        *("http://127.0.0.1:1", "/v1/projects/radio/a%20b"),
        *("http://127.0.0.1:2", "/v1/projects/x%2Fy/a%20b"),
    ]


def test_wrong_settings_are_misuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @client_command("toy", examples=EXAMPLES)
    def toy(session: Any) -> None:
        """Do nothing."""

    monkeypatch.setenv("ANGARIUM_URLL", "http://127.0.0.1:1")
    assert _run(toy) == 2
    assert "did you mean ANGARIUM_URL?" in capsys.readouterr().err
