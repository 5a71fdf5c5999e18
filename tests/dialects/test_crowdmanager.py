"""Hold the crowdmanager dialect byte for byte: events in, requests out; answers in, outcomes out."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium import __version__
from angarium.core.coalescing import fold
from angarium.core.deciding import Exhausted, Retry, decide, is_hopeless
from angarium.core.matching import matcher
from angarium.dialects.crowdmanager import ACTIONS, CROWDMANAGER, address, encode, encode_item, handshake, sign
from angarium.dialects.dialect import Body, Item, Sealed, Signing
from angarium.errors import FieldError
from angarium.model.delivery import Accepted, Outcome, Refused, Silent, Throttled
from angarium.model.event import Entry, Event
from angarium.model.subscription import Coalesce, Rule
from angarium.model.wire import Reason, Request, Response

NOON_MS = 1795348800_000  # 2026-11-22T12:00:00Z
NOON_US = NOON_MS * 1000
URL = "http://example.com/endpointforcrowdmanager?org={org}"
OPTIONS = {"format": "application/vnd.api+json", "value_as": "text", "url": URL, "tenant": "7"}
PLAIN = {**OPTIONS, "format": "application/json", "value_as": "object"}
OBSOLETE = {**OPTIONS, "url": URL + "#OBSOLETE-CHARSET"}
ANNA = b'{"id":49,"fullName":"Anna","isDeleted":false}'


def event(action: str = "create", object_id: str = "49", **changes: Any) -> Event:
    return replace(
        Event("cm", "7", "CustomerProfile", object_id, action, ANNA, f"https://api.example.com/profiles/{object_id}"),
        **changes,
    )


def item(event: Event, state: bytes | None = None, accepted_ms: int = NOON_MS) -> Item:
    return Item(f"evt_{event.object_id}", event, accepted_ms, offset=1, partition=0, state=state)


def batch(*items: Item) -> Sealed:
    return Sealed("dlv_1", items, sealed_ms=NOON_MS + 2000, is_batch=True)


def pushed(sealed: Sealed, options: dict[str, Any] = OPTIONS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(encode(sealed, options).content)
    return found


ADDED = (
    b'[{"operation":"add","path":"https://api.example.com/profiles/49","eventTime":"2026-11-22T12:00:00Z",'
    b'"value":"{\\"id\\":49,\\"fullName\\":\\"Anna\\",\\"isDeleted\\":false}","contentType":"CustomerProfile"}]'
)
ADDED_AS_OBJECT = (
    b'[{"operation":"add","path":"https://api.example.com/profiles/49","eventTime":"2026-11-22T12:00:00Z",'
    b'"value":{"id":49,"fullName":"Anna","isDeleted":false},"contentType":"CustomerProfile"}]'
)
REMOVED_BARE = (
    b'[{"operation":"remove","path":"","eventTime":"2026-11-22T11:59:00.250Z","value":null,"contentType":"Consent"}]'
)


@pytest.mark.parametrize(
    ("sealed", "options", "expected"),
    [
        (batch(item(event())), OPTIONS, Body(ADDED, "application/vnd.api+json")),
        (batch(item(event())), {}, Body(ADDED, "application/vnd.api+json")),
        (batch(item(event())), PLAIN, Body(ADDED_AS_OBJECT, "application/json")),
        (Sealed("", (item(event()),), NOON_MS), OPTIONS, Body(ADDED, "application/vnd.api+json")),
        (
            batch(item(Event("cm", "7", "Consent", "1", "delete", occurred_us=NOON_US - 59_750_000))),
            PLAIN,
            Body(REMOVED_BARE, "application/json"),
        ),
    ],
)
def test_a_body_is_an_array_of_push_items(sealed: Sealed, options: dict[str, Any], expected: Body) -> None:
    assert encode(sealed, options) == expected


def test_one_event_of_a_feed_is_one_push_item() -> None:
    assert encode_item(item(event()), OPTIONS) == ADDED[1:-1]


@pytest.mark.parametrize(
    ("action", "operation"), [("create", "add"), ("recover", "add"), ("update", "replace"), ("delete", "remove")]
)
def test_an_action_is_an_operation(action: str, operation: str) -> None:
    assert pushed(batch(item(event(action))))[0]["operation"] == operation


def test_every_operation_on_one_object_stays_and_shows_its_final_state() -> None:
    final = b'{"id":49,"fullName":"Bea"}'
    found = pushed(
        batch(item(event("create"), final), item(event("update", object_id="50")), item(event("update"), final))
    )
    assert [each["operation"] for each in found] == ["add", "replace", "replace"]
    assert [json.loads(each["value"])["fullName"] for each in found] == ["Bea", "Anna", "Bea"]


@pytest.mark.parametrize("state", [b"", ANNA])
def test_what_was_added_and_then_removed_has_no_content_in_either_item(state: bytes) -> None:
    found = pushed(batch(item(event("create"), state), item(event("delete"), state)))
    assert [(each["operation"], each["value"]) for each in found] == [("add", None), ("remove", None)]


def test_what_was_removed_and_then_added_shows_its_new_content_in_both_items() -> None:
    found = pushed(batch(item(event("delete"), ANNA), item(event("create"), ANNA)))
    assert [(each["operation"], each["value"]) for each in found] == [("remove", ANNA.decode()), ("add", ANNA.decode())]


def test_a_removed_object_has_no_value_though_its_data_is_known() -> None:
    assert pushed(Sealed("", (item(event("delete"), ANNA),), NOON_MS))[0]["value"] is None


def test_an_event_without_data_shows_the_state_that_it_comes_with() -> None:
    assert pushed(batch(item(event("update", data=b""), ANNA)))[0]["value"] == ANNA.decode()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(ACTIONS))), min_size=1))
def test_every_occurrence_of_an_object_in_a_batch_shows_the_same(happened: list[tuple[str, str]]) -> None:
    entries = [
        Entry(0, place, NOON_MS, event(action, object_id, data=b'{"at":%d}' % place))
        for place, (object_id, action) in enumerate(happened)
    ]
    items = [item(entry.event, state) for entry, state in fold(entries, Coalesce.OPERATIONS) if entry.event is not None]
    found = pushed(batch(*items))
    assert len(found) == len(happened)
    for object_id, (place, action) in {name: (place, action) for place, (name, action) in enumerate(happened)}.items():
        values = {each["value"] for each in found if each["path"].endswith(object_id)}
        assert values == {None if action == "delete" else f'{{"at":{place}}}'}


@given(st.lists(st.integers(NOON_US - 10_000, NOON_US + 10_000), min_size=1, max_size=20))
def test_event_times_grow_strictly_within_a_batch(moments_us: list[int]) -> None:
    found = pushed(batch(*(item(event(occurred_us=moment)) for moment in moments_us)))
    texts = [each["eventTime"] for each in found]
    times = [datetime.fromisoformat(text) for text in texts]
    assert times == sorted(set(times))
    assert texts == sorted(texts), "receivers compare them as texts too"


def test_events_of_one_moment_are_a_millisecond_apart() -> None:
    found = pushed(batch(item(event()), item(event(object_id="50")), item(event(object_id="51"))))
    assert [each["eventTime"] for each in found] == [
        "2026-11-22T12:00:00.000Z",
        "2026-11-22T12:00:00.001Z",
        "2026-11-22T12:00:00.002Z",
    ]


def test_a_moment_at_either_end_of_time_is_told_as_it_is() -> None:
    first, last = -62_135_596_800_000_000, 253_402_300_799_999_000
    found = pushed(batch(item(event(occurred_us=first)), *[item(event(occurred_us=last))] * 2))
    assert [each["eventTime"] for each in found] == [
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.999000Z",
        "9999-12-31T23:59:59.999999Z",
    ]


# -- character sets ----------------------------------------------------------------------------------------------------


def test_an_obsolete_url_gets_its_bodies_in_iso_8859_2() -> None:
    body = encode(batch(item(event(data='{"fullName":"Žofie Ł"}'.encode()))), OBSOLETE)
    assert body.content_type == "application/vnd.api+json; charset=iso-8859-2"
    assert json.loads(json.loads(body.content.decode("iso-8859-2"))[0]["value"]) == {"fullName": "Žofie Ł"}
    assert b"\xaeofie \xa3" in body.content


@pytest.mark.parametrize("options", [OBSOLETE, {**OBSOLETE, "value_as": "object"}])
def test_what_iso_8859_2_lacks_is_escaped(options: dict[str, Any]) -> None:
    body = encode(batch(item(event(data='{"fullName":"Ñandú €😀"}'.encode()))), options)
    assert b"\\u00d1and\xfa \\u20ac\\ud83d\\ude00" in body.content
    value = json.loads(body.content.decode("iso-8859-2"))[0]["value"]
    assert (value if isinstance(value, dict) else json.loads(value)) == {"fullName": "Ñandú €😀"}


@given(st.text())
def test_any_text_comes_through_either_character_set(text: str) -> None:
    data = json.dumps({"text": text}, ensure_ascii="\ud800" <= max(text, default="") <= "\udfff").encode()
    sealed = batch(item(event(data=data)))
    assert json.loads(json.loads(encode(sealed, OPTIONS).content)[0]["value"]) == {"text": text}
    assert json.loads(json.loads(encode(sealed, OBSOLETE).content.decode("iso-8859-2"))[0]["value"]) == {"text": text}


# -- addresses and requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "tenant", "expected"),
    [
        ("http://example.com/hook", "7", "http://example.com/hook"),
        (URL, "7", "http://example.com/endpointforcrowdmanager?org=7"),
        ("http://example.com/{org}/a?b={org}", "7", "http://example.com/7/a?b=7"),
        ("http://{org}.example.com/", "7", "http://7.example.com/"),
        ("http://example.com/%7Borg%7D", "7", "http://example.com/7"),
        (URL + "#OBSOLETE-CHARSET", "7", "http://example.com/endpointforcrowdmanager?org=7"),
        ("http://example.com/?o={org}", "a/b&c=\\1", "http://example.com/?o=a%2Fb%26c%3D%5C1"),
        ("http://example.com/#other", "7", "http://example.com/#other"),
    ],
)
def test_a_url_leads_to_its_organisation(url: str, tenant: str, expected: str) -> None:
    assert address(url, tenant) == expected


def test_a_push_is_a_post_to_the_organisation_s_address_without_a_signature() -> None:
    signing = Signing(URL, "dlv_1", NOON_MS // 1000, 1, (), {"x-team": "a"}, OPTIONS)
    assert sign(Body(ADDED, "application/vnd.api+json"), signing) == Request(
        "POST",
        "http://example.com/endpointforcrowdmanager?org=7",
        (
            ("content-type", "application/vnd.api+json"),
            ("user-agent", f"Angarium/{__version__}"),
            ("x-team", "a"),
        ),
        ADDED,
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/hook?org=7", "http://example.com/hook?org=7&Id=56&ValidationToken=t0-_"),
        ("http://example.com/hook", "http://example.com/hook?Id=56&ValidationToken=t0-_"),
        ("http://example.com/hook?", "http://example.com/hook?Id=56&ValidationToken=t0-_"),
    ],
)
def test_the_validation_is_a_get_with_id_and_token(url: str, expected: str) -> None:
    request = handshake(url, "56", "t0-_").request
    assert (request.method, request.url, request.body) == ("GET", expected, b"")
    assert [name for name, _ in request.headers] == ["user-agent"]


@pytest.mark.parametrize(("status", "is_fine"), [(200, True), (201, False), (204, False), (302, False), (500, False)])
def test_only_a_200_completes_the_validation(status: int, *, is_fine: bool) -> None:
    problem = handshake("http://example.com/", "56", "token").check(Response(status))
    assert problem is None if is_fine else str(status) in str(problem)


# -- answers and rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200), Accepted(200)),
        (Response(204), Accepted(204)),
        (Response(302), Refused(302)),
        (Response(400), Refused(400)),
        (Response(410), Refused(410)),
        (Response(429, (("retry-after", "7"),)), Throttled(429, 7.0)),
        (Response(500), Silent(Reason.STATUS, 500)),
    ],
)
def test_any_2xx_is_taken_and_everything_else_is_tried_again(response: Response, expected: Outcome) -> None:
    assert CROWDMANAGER.judge(response, 0.0) == expected


@pytest.mark.parametrize("spread", [-1.0, 0.0, 1.0])
def test_a_push_is_tried_ten_times_at_growing_intervals_for_two_and_a_half_hours(spread: float) -> None:
    schedule = CROWDMANAGER.policy.retry
    verdicts = [decide(Silent(Reason.TIMEOUT), attempt=n, schedule=schedule, spread=spread) for n in range(1, 11)]
    waits = [verdict.wait_s for verdict in verdicts if isinstance(verdict, Retry)]
    assert verdicts[9] == Exhausted()
    assert waits == [200 * n for n in range(1, 10)]
    assert sum(waits) == 2.5 * 3600


def test_who_has_been_down_for_weeks_stays_enabled() -> None:
    assert not is_hopeless(NOON_MS, NOON_MS + 30 * 86_400_000, CROWDMANAGER.policy.retry)


def test_a_batch_keeps_operations() -> None:
    batch = CROWDMANAGER.policy.batch
    assert batch.max_events > 1
    assert batch.max_wait_ms > 0
    assert batch.coalesce is Coalesce.OPERATIONS


def test_only_what_has_an_operation_can_be_said() -> None:
    matches = matcher(CROWDMANAGER.narrow(Rule(("CustomerProfile.*",)), OPTIONS)).matches
    assert [action for action in ("create", "update", "recover", "delete") if matches(event(action))] == [
        "create", "update", "recover", "delete",
    ]  # fmt: skip
    assert not matches(event("import"))
    assert not matches(event("retrieve"))


def test_who_asks_for_what_was_added_is_told_of_recoveries_too() -> None:
    matches = matcher(CROWDMANAGER.narrow(Rule(("CustomerProfile.create",)), OPTIONS)).matches
    assert [matches(event(action)) for action in ("create", "recover", "update")] == [True, True, False]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"format": "application/vnd.api+json", "value_as": "text"}),
        ({"format": "application/json"}, {"format": "application/json", "value_as": "text"}),
        ({"value_as": "object"}, {"format": "application/vnd.api+json", "value_as": "object"}),
    ],
)
def test_options_are_completed(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert CROWDMANAGER.check_options(given) == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"format": "text/xml"}, "options.format"),
        ({"value_as": None}, "options.value_as"),
        ({"secret": "x"}, "options.secret"),
    ],
)
def test_an_option_that_is_unknown_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        CROWDMANAGER.check_options(given)
    assert caught.value.field == field


def test_a_secret_is_refused_for_nothing_is_signed() -> None:
    with pytest.raises(FieldError, match="does not sign"):
        CROWDMANAGER.check_secret("whsec_abc", OPTIONS)
    with pytest.raises(FieldError, match="does not sign"):
        CROWDMANAGER.make_secret(bytes(32), OPTIONS)
