from __future__ import annotations

import pytest

from angarium.cli.failing import Failure
from angarium.cli.screen import Screen, cell, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße\n\t✓", "Grüße\n\t✓"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\rb", "a\\x0db"),
        ("\u202eevil", "\\x202eevil"),
    ],
)
def test_nothing_that_comes_from_elsewhere_commands_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((None, "–"), ("", "–"), ([], "–"), (0, "0"), (False, "false")),
        *((["a", "b"], "a, b"), ({"a": 1}, '{"a": 1}'), ("two\nlines", "two lines"), ("x" * 81, "x" * 79 + "…")),
    ],
)
def test_a_cell_is_one_short_line(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_data_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(is_json=False)
    screen.line("data", style="green")
    screen.say("talk", style="red")
    assert tuple(capsys.readouterr()) == ("data\n", "talk\n")


def test_a_table_is_not_wrapped_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(is_json=False).table(["ID", "URL"], [["sub_1", "https://example.com/" + "x" * 50]], empty="none")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ID", "URL"],
        ["sub_1", "https://example.com/" + "x" * 50],
    ]


def test_an_empty_table_says_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(is_json=False).table(["ID"], [], empty="none yet; make one")
    assert tuple(capsys.readouterr()) == ("", "none yet; make one\n")


def test_documents_are_a_line_each_and_bytes_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(is_json=True)
    screen.document(b'{"n": 12345678901234567890.10}')
    screen.document({"name": "Grüße"})
    assert capsys.readouterr().out == '{"n": 12345678901234567890.10}\n{"name": "Grüße"}\n'


def test_a_failure_is_a_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(is_json=True).failure(Failure("it broke", why="it was old", fix="make a new one", code="old"))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out == '{"error": {"code": "old", "what": "it broke", "why": "it was old", "fix": "make a new one"}}\n'
