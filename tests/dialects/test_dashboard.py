"""Hold the dashboard service's invocations byte for byte, and which countries a subscription is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from angarium import __version__
from angarium.core.matching import matcher
from angarium.core.policy import resolve
from angarium.dialects.dashboard import DASHBOARD, encode, encode_item
from angarium.dialects.dialect import Body
from angarium.errors import FieldError
from angarium.model.delivery import Accepted, Refused, Silent
from angarium.model.event import Event
from angarium.model.subscription import Rule
from angarium.model.wire import Reason, Request, Response
from tests.dialects.vectors import NOON_S, item, signing, single

EVENT = Event(
    "dash",
    "default",
    "dashboard",
    "1",
    "create",
    attributes=b'{"country":"NO"}',
    occurred_us=1_708_669_380_000_000,  # 2024-02-23T06:23:00Z
)
OPTIONS = {**DASHBOARD.check_options({}), "id": "17388271632813271"}
INVOCATION = b'{"id":"17388271632813271","country":"NO","event":"REGISTER","time":"20240223 06:23"}'


def said(event: Event, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_item(item(event), {**OPTIONS, **options}))
    return found


def test_an_invocation_is_an_object_of_four_texts() -> None:
    body = encode(single(EVENT), OPTIONS)
    assert body == Body(INVOCATION, "application/json")
    assert [type(value) for value in json.loads(body.content).values()] == [str] * 4


@pytest.mark.parametrize(
    ("action", "word"),
    [("create", "REGISTER"), ("update", "CHANGE"), ("delete", "DELETE"), ("retrieve", "INVOKE")],
)
def test_the_following_events_are_available(action: str, word: str) -> None:
    assert said(replace(EVENT, action=action))["event"] == word


@pytest.mark.parametrize(
    ("attributes", "country"),
    [
        (b"", ""),
        (b"{}", ""),
        (b'{"country":null}', ""),
        (b'{"country":47}', ""),
        (b'{"country":"no","more":[1]}', "NO"),
        (b'{"country":"\\u00e5x"}', "ÅX"),
    ],
)
def test_the_country_is_the_event_s_in_upper_case(attributes: bytes, country: str) -> None:
    assert said(replace(EVENT, attributes=attributes))["country"] == country


@pytest.mark.parametrize(
    ("occurred_us", "options", "expected"),
    [
        (1_708_669_439_999_999, {}, "20240223 06:23"),
        (0, {}, "20261122 12:00"),
        (0, {"time_format": "minute"}, "20261122 12:00"),
        (1_708_669_380_000_000, {"time_format": "rfc3339"}, "2024-02-23T06:23:00Z"),
        (1_708_669_380_123_000, {"time_format": "rfc3339"}, "2024-02-23T06:23:00.123Z"),
        (0, {"time_format": "rfc3339"}, "2026-11-22T12:00:00Z"),
    ],
)
def test_the_time_is_the_event_s(occurred_us: int, options: dict[str, str], expected: str) -> None:
    assert said(replace(EVENT, occurred_us=occurred_us), **options)["time"] == expected


def test_an_invocation_is_a_plain_post() -> None:
    assert DASHBOARD.sign(Body(INVOCATION, "application/json"), signing(OPTIONS)) == Request(
        "POST",
        "https://example.com/hook",
        (("content-type", "application/json"), ("user-agent", f"Angarium/{__version__}")),
        INVOCATION,
    )


def test_any_success_will_do() -> None:
    answers = [DASHBOARD.judge(Response(status), NOON_S) for status in (200, 202, 404, 500)]
    assert answers == [Accepted(200), Accepted(202), Refused(404), Silent(Reason.STATUS, 500)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"country": "", "time_format": "minute"}),
        ({"country": ""}, {"country": "", "time_format": "minute"}),
        ({"country": " NO\n"}, {"country": "NO", "time_format": "minute"}),
        ({"country": "no", "time_format": "rfc3339"}, {"country": "NO", "time_format": "rfc3339"}),
    ],
)
def test_options_are_completed(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert DASHBOARD.check_options(options) == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"country": 47}, "options.country: is a number, expected a text"),
        ({"country": "N" * 65}, "options.country: is 65 characters long"),
        ({"time_format": "epoch"}, "options.time_format: is 'epoch', expected one of minute, rfc3339"),
        ({"colour": "red"}, "options.colour: is unknown to the dashboard dialect, which has country, time_format"),
    ],
)
def test_other_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        DASHBOARD.check_options(options)


def narrowed(rule: Rule, **options: Any) -> Rule:
    return DASHBOARD.narrow(rule, DASHBOARD.check_options(options))


def test_without_a_country_a_rule_is_for_all_of_them() -> None:
    rule = Rule(("*.create",), b'{"object_id":"1"}')
    sayable = ("*.create", "*.update", "*.delete", "*.retrieve")
    assert narrowed(rule) == replace(rule, sayable=sayable)


@pytest.mark.parametrize(
    "pattern", [b"", b'{"attributes":{"kind":"big"}}', b'{"$or":[{"object_id":"1"},{"object_id":"2"}]}']
)
def test_with_a_country_it_is_for_that_one_only(pattern: bytes) -> None:
    wants = matcher(narrowed(Rule((), pattern), country="NO"))
    kept, others = b'{"country":"%b","kind":"big"}', (b'{"country":"SE","kind":"big"}', b'{"kind":"big"}', b"")
    for country in (b"NO", b"no"):
        assert wants.matches(replace(EVENT, attributes=kept % country))
    assert not any(wants.matches(replace(EVENT, attributes=other)) for other in others)
    assert wants.pattern is not None
    assert wants.pattern.needs == (("attributes", "country"), ("NO", "no"))


def test_a_pattern_still_holds_beside_the_country() -> None:
    wants = matcher(narrowed(Rule((), b'{"attributes":{"kind":"big"}}'), country="NO"))
    assert not wants.matches(replace(EVENT, attributes=b'{"country":"NO","kind":"small"}'))


def test_each_event_goes_alone_and_is_tried_thrice_again() -> None:
    policy = resolve(DASHBOARD.policy, {})
    assert (policy.batch.max_events, policy.retry.delays_s, policy.retry.give_up) == (1, (5, 60, 300), True)
    assert DASHBOARD.traits.allows_http
