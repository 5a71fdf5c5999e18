"""Hold which objects a resync sends: by their window, their receiver's rule, and what its dialect can say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from angarium.core.matching import matcher
from angarium.core.moments import format_us, parse_ms
from angarium.core.resyncing import choose, event_of, moment_us_of, read_terms
from angarium.model.event import Event, ObjectState
from angarium.model.subscription import Rule

STATE = ObjectState(
    "radio",
    "1",
    "item",
    "49",
    partition=3,
    offset=70,
    accepted_ms=1_790_000_000_000,
    action="update",
    data=b'{"start":"2026-11-22T12:00:00+02:00","title":"News"}',
    data_offset=70,
    url="https://api.radio.test/items/49",
    attributes=b'{"country":"NO"}',
    occurred_us=1_790_000_000_000_500,
)
ANY = matcher(Rule())


def _spec(from_: str | None = None, until: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "objects": ["program", "item"],
        "window": {"item": "start"},
        "from_ms": from_ and parse_ms(from_, field="from"),
        "until_ms": until and parse_ms(until, field="until"),
        **more,
    }


def _choose(spec: dict[str, Any], state: ObjectState = STATE, rule: Rule | None = None, *, export: bool = False) -> str:
    found = choose(state, read_terms(spec, by_last_event=export), ANY if rule is None else matcher(rule))
    return found.value


@pytest.mark.parametrize(
    ("from_", "until", "expected"),
    [
        (None, None, "sent"),
        ("2026-11-22T10:00:00Z", None, "sent"),
        ("2026-11-22T10:00:00.001Z", None, "left out"),
        ("2026-11-22T12:00:00Z", None, "left out"),
        ("2026-11-22T12:00:00+02:00", "2026-11-22T12:00:00+02:00", "sent"),
        (None, "2026-11-22T10:00:00Z", "sent"),
        (None, "2026-11-22T09:59:59.999Z", "left out"),
        (None, "2026-11-22T07:00:00-03:00", "sent"),
    ],
)
def test_a_window_compares_moments_and_includes_both_ends(from_: str | None, until: str | None, expected: str) -> None:
    assert _choose(_spec(from_, until)) == expected


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"7", b'{"start":null}', b'{"start":17}', b'{"start":"soon"}'])
def test_what_has_no_moment_is_skipped_even_where_both_ends_are_open(data: bytes) -> None:
    assert _choose(_spec(), replace(STATE, data=data)) == "skipped"
    assert _choose(_spec("2026-11-22T10:00:00Z"), replace(STATE, data=data)) == "skipped"


def test_a_kind_without_a_window_is_sent_whole() -> None:
    program = replace(STATE, object="program", data=b"")
    assert _choose(_spec("2026-11-22T12:00:00Z"), program) == "sent"


def test_a_rule_leaves_out_what_it_does_not_allow_and_types_do_not_matter() -> None:
    assert _choose(_spec(), rule=Rule(("item.update",))) == "sent"
    assert _choose(_spec(), rule=Rule((), b'{"attributes":{"country":"SE"}}')) == "left out"
    assert _choose(_spec(), rule=Rule(permitted=("program.*",))) == "left out"
    assert _choose(_spec(), rule=Rule(permitted=("item.create",))) == "sent"


def test_what_the_dialect_cannot_say_is_skipped() -> None:
    assert _choose(_spec(), rule=Rule(sayable=("*.update",))) == "skipped"
    assert _choose(_spec(), rule=Rule(needs_url=True)) == "sent"
    assert _choose(_spec(), replace(STATE, url=""), Rule(needs_url=True)) == "skipped"


@pytest.mark.parametrize(
    ("from_us", "until_us", "expected"),
    [
        (None, None, "sent"),
        (500, None, "sent"),
        (0, 500, "sent"),
        (1000, None, "left out"),
        (None, -1, "left out"),
        (0, 0, "sent"),
    ],
)
def test_an_export_goes_by_when_the_last_event_occurred(
    from_us: int | None, until_us: int | None, expected: str
) -> None:
    ends = [None if us is None else format_us(1_790_000_000_000_000 + us) for us in (from_us, until_us)]
    assert _choose(_spec(*ends, window={}), export=True) == expected


def test_an_export_goes_by_acceptance_where_nothing_else_was_said() -> None:
    silent = replace(STATE, occurred_us=0)
    assert _choose(_spec("2026-09-21T14:13:20Z", "2026-09-21T14:13:20Z", window={}), silent, export=True) == "sent"
    assert _choose(_spec("2026-09-21T14:13:20.001Z", window={}), silent, export=True) == "left out"


def test_a_resync_says_that_an_object_was_created_by_who_asked() -> None:
    event = event_of(STATE, read_terms(_spec(actor={"user_id": 7, "name": "Åse"}), by_last_event=False))
    assert event == Event(
        "radio",
        "1",
        "item",
        "49",
        "create",
        STATE.data,
        STATE.url,
        '{"user_id":7,"name":"Åse"}'.encode(),
        STATE.attributes,
        STATE.occurred_us,
    )
    assert event_of(STATE, read_terms(_spec(), by_last_event=False)).actor == b""
    assert read_terms({}, by_last_event=False).objects == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:01.5+00:00", 1_500_000),
        ("1970-01-01T02:00:01+02:00", 1_000_000),
        ("1970-01-01T02:00:01+0200", 1_000_000),
        ("1970-01-01 00:00:01", 1_000_000),
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:00.123456", 123_456),
        ("1970-02-30", None),
        ("soon", None),
        ("", None),
    ],
)
def test_moments_in_data_are_read_as_people_write_them(text: str, expected: int | None) -> None:
    assert moment_us_of(text) == expected
