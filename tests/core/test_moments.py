"""Hold how moments are written and read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.moments import digits_of, format_ms, format_us, parse_ms, parse_us
from angarium.errors import FieldError

NOON = 1795348800  # 2026-11-22T12:00:00Z
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(
    lambda moment: (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
)


@pytest.mark.parametrize(
    ("moment_us", "expected"),
    [
        (NOON * 1_000_000, "2026-11-22T12:00:00Z"),
        (NOON * 1_000_000 + 120_000, "2026-11-22T12:00:00.120Z"),
        (NOON * 1_000_000 + 123_456, "2026-11-22T12:00:00.123456Z"),
        (NOON * 1_000_000 + 1, "2026-11-22T12:00:00.000001Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-62135596800 * 1_000_000, "0001-01-01T00:00:00Z"),
        (253402300799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_moment_is_written_with_the_fewest_digits_that_say_it(moment_us: int, expected: str) -> None:
    assert format_us(moment_us) == expected


@pytest.mark.parametrize(
    ("fraction_us", "digits", "expected"),
    [(0, 0, "Z"), (0, 3, ".000Z"), (0, 6, ".000000Z"), (7000, 3, ".007Z"), (7000, 6, ".007000Z"), (7, 3, ".000007Z")],
)
def test_a_moment_may_be_written_with_more_digits_than_it_needs(fraction_us: int, digits: int, expected: str) -> None:
    assert format_us(NOON * 1_000_000 + fraction_us, digits=digits) == f"2026-11-22T12:00:00{expected}"


@given(MOMENTS)
def test_as_many_digits_are_needed_as_are_written(moment_us: int) -> None:
    assert format_us(moment_us, digits=digits_of(moment_us)) == format_us(moment_us)


def test_milliseconds_are_written_like_microseconds() -> None:
    assert format_ms(NOON * 1000) == "2026-11-22T12:00:00Z"
    assert format_ms(NOON * 1000 + 7) == "2026-11-22T12:00:00.007Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T12:00:00Z", NOON * 1_000_000),
        ("2026-11-22t12:00:00z", NOON * 1_000_000),
        ("2026-11-22T13:30:00+01:30", NOON * 1_000_000),
        ("2026-11-22T04:00:00-08:00", NOON * 1_000_000),
        ("2026-11-22T12:00:00-00:00", NOON * 1_000_000),
        ("2026-11-22T12:00:00.5Z", NOON * 1_000_000 + 500_000),
        ("2026-11-22T12:00:00.123456Z", NOON * 1_000_000 + 123_456),
        ("2026-11-22T12:00:00.1234569Z", NOON * 1_000_000 + 123_456),
        ("1969-12-31T23:59:59.9Z", -100_000),
    ],
)
def test_what_is_read(text: str, expected: int) -> None:
    assert parse_us(text, field="since") == expected


def test_milliseconds_are_rounded_down() -> None:
    assert parse_ms("2026-11-22T12:00:00.0019Z", field="since") == NOON * 1000 + 1
    assert parse_ms("1969-12-31T23:59:59.9999Z", field="since") == -1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T12:00:00",  # Without an offset nobody knows which moment it is.
        "2026-11-22 12:00:00Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00+0100",
        "2026-11-22T12:00:00Z ",
        "2026-11-22T12:00:00Z\n",
        "20261122T120000Z",
        "٢٠٢٦-11-22T12:00:00Z",
        "2026-11-22T12:00:00." + "1" * 100 + "Z",
    ],
)
def test_another_form_is_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(FieldError, match="write it as RFC 3339") as caught:
        parse_us(text, field="since")
    assert caught.value.field == "since"


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-11-22T24:00:01Z",
        "2026-11-22T12:00:61Z",
        "2026-11-22T12:00:00+24:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_moment_on_no_calendar_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="on no calendar"):
        parse_us(text, field="occurred_at")


@given(MOMENTS)
def test_what_is_written_is_read_back(moment_us: int) -> None:
    assert parse_us(format_us(moment_us), field="") == moment_us
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z", format_us(moment_us))


@given(MOMENTS, st.integers(min_value=-1439, max_value=1439))
def test_an_offset_names_the_same_moment(moment_us: int, offset_min: int) -> None:
    local = format_us(min(max(moment_us, -62_000_000_000_000_000), 253_000_000_000_000_000))
    sign = "-" if offset_min < 0 else "+"
    shown = f"{local[:-1]}{sign}{abs(offset_min) // 60:02d}:{abs(offset_min) % 60:02d}"
    assert parse_us(shown, field="") == parse_us(local, field="") - offset_min * 60_000_000
