"""Happenings: declared once, cheap when unwanted, readable by people and machines, silent about secrets."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from angarium import telemetry
from angarium.telemetry import DELIVERY_ATTEMPTED, HAPPENINGS, STORE_FAILED, SUBSCRIPTION_DISABLED, emit

PACKAGE = Path(telemetry.__file__).parent
SECRETIVE = {"secret", "secrets", "key", "keys", "token", "authorization", "password", "body", "headers"}
PAST = re.compile(r"^[a-z]+\.([a-z]+ed|made)$")


@pytest.fixture(autouse=True)
def _silent_afterwards() -> Iterator[None]:
    yield
    telemetry.silence()


def _written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_nothing_is_written_before_somebody_asks(capsys: pytest.CaptureFixture[str]) -> None:
    emit(STORE_FAILED, operation="settle")
    assert capsys.readouterr() == ("", "")


def test_a_happening_is_one_line_of_json() -> None:
    stream = io.StringIO()
    telemetry.configure(level="info", form="json", stream=stream)
    emit(SUBSCRIPTION_DISABLED, subscription="sub_1", reason="gone", status=None)
    [line] = _written(stream)
    assert line.pop("at")
    assert line == {
        "event": "subscription.disabled",
        "level": "warning",
        "subscription": "sub_1",
        "reason": "gone",
    }


def test_a_stream_that_is_no_terminal_gets_json_by_itself() -> None:
    stream = io.StringIO()
    telemetry.configure(form="auto", stream=stream)
    emit(SUBSCRIPTION_DISABLED, subscription="sub_1")
    assert _written(stream)[0]["event"] == "subscription.disabled"


def test_people_get_a_line_to_read() -> None:
    stream = io.StringIO()
    telemetry.configure(form="console", stream=stream)
    emit(SUBSCRIPTION_DISABLED, subscription="sub_1")
    assert "subscription.disabled" in stream.getvalue()
    assert "subscription=sub_1" in stream.getvalue()


def test_an_attempt_is_quiet_unless_it_failed() -> None:
    stream = io.StringIO()
    telemetry.configure(level="info", form="json", stream=stream)
    emit(DELIVERY_ATTEMPTED, delivery="dlv_1")
    emit(DELIVERY_ATTEMPTED, level=telemetry.INFO, delivery="dlv_2")
    assert [line["delivery"] for line in _written(stream)] == ["dlv_2"]
    assert not telemetry.is_said(DELIVERY_ATTEMPTED)
    assert telemetry.is_said(DELIVERY_ATTEMPTED, level=telemetry.INFO)


def test_bytes_show_as_length_and_digest() -> None:
    stream = io.StringIO()
    telemetry.configure(form="json", stream=stream)
    emit(STORE_FAILED, detail=b"whsec_hidden")
    assert "hidden" not in stream.getvalue()
    assert str(_written(stream)[0]["detail"]).startswith("<12 bytes, sha256 ")


def test_an_error_shows_where_it_was_raised() -> None:
    stream = io.StringIO()
    telemetry.configure(form="json", stream=stream)
    try:
        Path("/dev/full").write_text("x", encoding="utf-8")
    except OSError as error:
        emit(STORE_FAILED, error=error)
    shown = str(_written(stream)[0]["error"])
    assert "test_telemetry.py" in shown
    assert shown.endswith("No space left on device")


def test_a_stream_that_is_gone_stops_nobody() -> None:
    stream = io.StringIO()
    telemetry.configure(form="json", stream=stream)
    stream.close()
    emit(STORE_FAILED, operation="accept")


def test_what_libraries_warn_of_is_said_too_and_once() -> None:
    stream = io.StringIO()
    telemetry.configure(form="json", stream=stream)
    telemetry.configure(form="json", stream=stream)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request %s", "received")
    logging.getLogger("uvicorn.error").info("Started")
    [line] = _written(stream)
    assert (line["event"], line["library"]) == ("library.warned", "uvicorn.error")
    assert line["detail"] == "Invalid HTTP request received"


def test_how_long_things_took_is_counted_up_to_each_bound() -> None:
    took = telemetry.Histogram()
    for seconds in (0.0005, 0.001, 0.004, 9.0):
        took.observe(seconds)
    counts = dict(took.cumulated())
    assert (counts["0.001"], counts["0.005"], counts["5.0"], counts["+Inf"]) == (2, 3, 3, 4)
    assert took.total == pytest.approx(9.0055)


@pytest.mark.parametrize("name", HAPPENINGS)
def test_a_happening_is_named_after_what_it_did_and_to_what(name: str) -> None:
    assert PAST.match(name)


@pytest.mark.parametrize("name", HAPPENINGS)
def test_no_happening_has_a_place_for_secrets(name: str) -> None:
    assert not HAPPENINGS[name].fields & SECRETIVE


def _emitted() -> Iterator[tuple[str, str, set[str]]]:
    """Yield each call of `emit` in our code: its file, the happening's constant, the fields' names."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="emit"), args=[ast.Name(id=name)], keywords=keywords):
                    yield path.name, name, {keyword.arg for keyword in keywords if keyword.arg} - {"level"}
                case _:
                    pass


def test_whatever_is_emitted_has_been_declared_with_its_fields() -> None:
    unknown = [
        f"{path}: {name} has no field {field}"
        for path, name, fields in _emitted()
        if name.isupper()
        for field in sorted(fields - getattr(telemetry, name).fields)
    ]
    assert not unknown
