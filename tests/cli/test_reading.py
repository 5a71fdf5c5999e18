from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from angarium.cli import reading
from angarium.errors import FieldError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("2h", "2026-11-22T10:00:00.000Z"),
        ("90s", "2026-11-22T11:58:30.000Z"),
        ("1.5d", "2026-11-21T00:00:00.000Z"),
        ("+2h", "2026-11-22T14:00:00.000Z"),
        ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00.000Z"),
        ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00.000Z"),
        ("2026-11-22", "2026-11-22T00:00:00.000Z"),
    ],
)
def test_a_moment_is_one_or_a_span_from_now(text: str | None, expected: str | None) -> None:
    assert reading.moment(text, field="--since", now=NOON) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "2h ago", "-2h", "++2h", "2026-13-01"])
def test_what_is_no_moment_is_said_with_an_example(text: str) -> None:
    with pytest.raises(FieldError, match="2026-11-22T09:00:00Z"):
        reading.moment(text, field="--since", now=NOON)


@pytest.mark.parametrize(
    ("text", "seconds"), [("300ms", 0.3), ("3s", 3), ("5m", 300), ("2h", 7200), ("1w", 604_800), ("2.5", 2.5), ("0", 0)]
)
def test_a_span_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert reading.span_s(text, field="--delay") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "-1", "inf", "nan", "5 parsecs"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="is no span"):
        reading.span_s(text, field="--delay")


@pytest.mark.parametrize(("text", "rate"), [("5", 5), ("5/s", 5), ("600/m", 10), ("3600/h", 1), ("0.5/s", 0.5)])
def test_a_rate_is_per_second_minute_or_hour(text: str, rate: float) -> None:
    assert reading.per_second(text, field="--rate") == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "0", "-1", "x/s", "5/x", "inf", "nan"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="is no rate"):
        reading.per_second(text, field="--rate")


def test_text_comes_from_a_file_after_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("whsec_abc\n")
    assert reading.secrets([f"@{tmp_path}/secret.txt", "whsec_def"], field="--secret") == ["whsec_abc", "whsec_def"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(FieldError, match="not UTF-8"):
        reading.text_or_file(f"@{tmp_path}/secret.bin", field="--secret")


def test_json_that_is_none_is_refused_with_advice() -> None:
    assert reading.json_or_file('{"a": 1}', field="--filter") == {"a": 1}
    with pytest.raises(FieldError, match="quote it for the shell"):
        reading.json_or_file("{a: 1}", field="--filter")


def test_options_are_texts_flags_files_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y\n")
    given = ["a=b=c", "yes=true", "no=false", "none=", f"key=@{tmp_path}/key"]
    expected = {"a": "b=c", "yes": True, "no": False, "none": None, "key": "k3y"}
    assert reading.options(given, field="--option") == expected
    assert reading.options(None, field="--option") == {}
    for wrong in ("a", "=b"):
        with pytest.raises(FieldError, match="is no option; write name=value"):
            reading.options([wrong], field="--option")


def test_headers_are_names_and_values() -> None:
    assert reading.headers(["x-team: a: b", "x-none:"], field="--header") == {"x-team": "a: b", "x-none": ""}
    with pytest.raises(FieldError, match="name: value"):
        reading.headers(["x-team"], field="--header")


def test_words_are_repeated_or_divided_by_commas() -> None:
    assert reading.words(None) is None
    assert reading.words(["item.*, broadcast.delete", "*.create"]) == ["item.*", "broadcast.delete", "*.create"]
