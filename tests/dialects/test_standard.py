"""Hold the standard dialect byte for byte, and show that independent receivers verify what it signs."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium import __version__
from angarium.dialects.dialect import Body, Item, Sealed, Signing
from angarium.dialects.standard import STANDARD, encode, encode_item, sign
from angarium.errors import FieldError
from angarium.model.event import Event
from angarium.model.wire import Request

NOON_MS = 1795348800_000  # 2026-11-22T12:00:00Z
WEBHOOK = {"envelope": "webhook", "signature": "v1"}
CLOUDEVENTS = {"envelope": "cloudevents", "signature": "v1"}
DATA = b'{"title":"News at nine", "big":123456789012345678901234567890.10,"n":9007199254740993}'

FULL = Event(
    "radio",
    "1",
    "item",
    "49",
    "update",
    data=DATA,
    url="https://api.example.com/items/49",
    actor=b'{"user_id": 1,\n"api_id":null}',
    attributes=b'{"country":"NO"}',
    occurred_us=(NOON_MS - 61_000) * 1000,
)
THIN = Event("radio", "1", "item", "50", "delete")
FULL_JSON = (
    b'{"id":"evt_49","type":"item.update","timestamp":"2026-11-22T11:58:59Z","tenant":"1","object":"item",'
    b'"object_id":"49","action":"update","data":' + DATA + b',"url":"https://api.example.com/items/49",'
    b'"actor":{"user_id": 1,\n"api_id":null}}'
)
THIN_JSON = (
    b'{"id":"evt_50","type":"item.delete","timestamp":"2026-11-22T12:00:00Z","tenant":"1","object":"item",'
    b'"object_id":"50","action":"delete"}'
)
FULL_CLOUDEVENT = (
    b'{"specversion":"1.0","id":"evt_49","source":"/radio/1","type":"item.update","subject":"49",'
    b'"time":"2026-11-22T11:58:59Z","url":"https://api.example.com/items/49",'
    b'"actor":"{\\"user_id\\": 1, \\"api_id\\":null}","datacontenttype":"application/json","data":' + DATA + b"}"
)
THIN_CLOUDEVENT = (
    b'{"specversion":"1.0","id":"evt_50","source":"/radio/1","type":"item.delete","subject":"50",'
    b'"time":"2026-11-22T12:00:00Z"}'
)
SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

TEXTS = st.text(min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def item(event: Event, id_: str = "", state: bytes | None = None) -> Item:
    return Item(id_ or f"evt_{event.object_id}", event, NOON_MS, offset=1, partition=0, state=state)


def single(event: Event) -> Sealed:
    return Sealed("dlv_1", (item(event),), sealed_ms=NOON_MS)


def batch(*events: Event) -> Sealed:
    return Sealed("dlv_1", tuple(map(item, events)), sealed_ms=NOON_MS + 500, is_batch=True)


def signing(**changes: Any) -> Signing:
    return replace(
        Signing(
            url="https://example.com/hook",
            message_id="evt_49",
            sent_at_s=NOON_MS // 1000,
            attempt=1,
            secrets=(SECRET,),
            headers={},
            options=WEBHOOK,
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("sealed", "options", "expected"),
    [
        (single(FULL), WEBHOOK, Body(FULL_JSON, "application/json")),
        (single(THIN), WEBHOOK, Body(THIN_JSON, "application/json")),
        (single(THIN), {}, Body(THIN_JSON, "application/json")),
        (single(FULL), CLOUDEVENTS, Body(FULL_CLOUDEVENT, "application/cloudevents+json")),
        (single(THIN), CLOUDEVENTS, Body(THIN_CLOUDEVENT, "application/cloudevents+json")),
        (
            batch(FULL),
            WEBHOOK,
            Body(
                b'{"id":"dlv_1","type":"batch","timestamp":"2026-11-22T11:58:59Z","events":[' + FULL_JSON + b"]}",
                "application/json",
            ),
        ),
        (
            batch(FULL, THIN),
            WEBHOOK,
            Body(
                b'{"id":"dlv_1","type":"batch","timestamp":"2026-11-22T12:00:00Z","events":['
                + FULL_JSON
                + b","
                + THIN_JSON
                + b"]}",
                "application/json",
            ),
        ),
        (
            batch(FULL, THIN),
            CLOUDEVENTS,
            Body(b"[" + FULL_CLOUDEVENT + b"," + THIN_CLOUDEVENT + b"]", "application/cloudevents-batch+json"),
        ),
    ],
)
def test_a_delivery_is_encoded_to_the_byte(sealed: Sealed, options: dict[str, str], expected: Body) -> None:
    assert encode(sealed, options) == expected


@pytest.mark.parametrize("options", [WEBHOOK, CLOUDEVENTS])
def test_events_that_share_their_final_state_show_it(options: dict[str, str]) -> None:
    shared = encode_item(item(FULL, state=b'{"title":"final"}'), options)
    assert json.loads(shared)["data"] == {"title": "final"}
    assert "data" not in json.loads(encode_item(item(FULL, state=b""), options))
    assert json.loads(encode_item(item(THIN, state=b"null"), options))["data"] is None


def test_words_that_json_must_escape_are_escaped() -> None:
    event = replace(FULL, tenant='a"b', object="it\\em", object_id="\n", action="über", url='https://e.com/?q="')
    seen = json.loads(encode_item(item(event, "evt_1"), WEBHOOK))
    assert seen["type"] == "it\\em.über"
    assert (seen["tenant"], seen["object"], seen["object_id"], seen["action"], seen["url"]) == (
        'a"b',
        "it\\em",
        "\n",
        "über",
        'https://e.com/?q="',
    )


def test_a_source_is_a_uri_reference_whatever_the_names_hold() -> None:
    event = replace(THIN, project="my project", tenant="a/b?ü")
    assert json.loads(encode_item(item(event), CLOUDEVENTS))["source"] == "/my%20project/a%2Fb%3F%C3%BC"


def test_an_actor_attribute_holds_no_control_characters() -> None:
    """CloudEvents allows none in a String; JSON text may hold line breaks between tokens and DEL within them."""
    event = replace(THIN, actor='{\r\n\t"name": "a\x7fb\x85\ufffe"}'.encode())
    actor = json.loads(encode_item(item(event), CLOUDEVENTS))["actor"]
    assert actor == '{   "name": "a\\u007fb\\u0085\\ufffe"}'
    assert json.loads(actor) == {"name": "a\x7fb\x85\ufffe"}


@given(JSON, JSON, st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), st.text())
def test_every_body_is_json_that_says_what_was_published(
    data: object, actor: object, words: tuple[str, str, str, str], url: str
) -> None:
    published = json.dumps(data, ensure_ascii=False, indent=1).encode()
    event = Event("radio", *words, published, url, json.dumps(actor).encode())
    sent = encode(Sealed("dlv_1", (item(event, "evt_1"),), NOON_MS), WEBHOOK).content
    assert b'"data":' + published in sent
    seen = json.loads(sent)
    assert (seen["tenant"], seen["object"], seen["object_id"], seen["action"]) == words
    assert (seen["id"], seen["type"]) == ("evt_1", f"{words[1]}.{words[3]}")
    assert (seen["data"], seen["actor"], seen.get("url", "")) == (data, actor, url)


@given(JSON, TEXTS, st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_every_cloudevent_keeps_to_the_rules_of_its_attributes(
    actor: object, tenant: str, object_ids: list[str]
) -> None:
    text = json.dumps(actor, ensure_ascii=False, indent=1).encode()
    events = [Event("radio", tenant, "item", object_id, "update", DATA, actor=text) for object_id in object_ids]
    sealed = Sealed("dlv_1", tuple(item(event, "evt_1") for event in events), NOON_MS, is_batch=True)
    seen = json.loads(encode(sealed, CLOUDEVENTS).content)
    assert [each["subject"] for each in seen] == object_ids
    for each in seen:
        assert each.keys() - {"data"} <= {"specversion", "id", "source", "type", "subject", "time", "actor"} | {
            "datacontenttype"
        }
        assert all(name.isalnum() and name == name.lower() and len(name) <= 20 for name in each)
        assert each["source"].isascii()
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in each["actor"])
        assert json.loads(each["actor"]) == actor


def test_an_attempt_is_one_signed_post() -> None:
    assert sign(Body(b'{"test": 2432232314}', "application/json"), signing()) == Request(
        "POST",
        "https://example.com/hook",
        (
            ("content-type", "application/json"),
            ("user-agent", f"Angarium/{__version__}"),
            ("webhook-id", "evt_49"),
            ("webhook-timestamp", "1795348800"),
            ("webhook-signature", "v1,ivtvhPaCtWcEvzisGqWKCxx0AVsIrtULKVcG6luU94M="),
        ),
        b'{"test": 2432232314}',
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"is_replay": True}, {"angarium-replay": "true"}),
        ({"is_test": True}, {"angarium-test": "true"}),
        ({"headers": {"x-team": "a", "authorization": "Bearer b"}}, {"x-team": "a", "authorization": "Bearer b"}),
    ],
)
def test_further_headers_follow_our_own(changes: dict[str, Any], expected: dict[str, str]) -> None:
    headers = sign(Body(b"{}", "application/json"), signing(**changes)).headers
    assert dict(headers[5:]) == expected


def test_a_retry_differs_in_moment_and_signature_only() -> None:
    body = encode(single(FULL), WEBHOOK)
    first, second = (sign(body, signing(sent_at_s=at_s, attempt=number)) for number, at_s in ((1, 100), (2, 105)))
    assert first.body == second.body
    changed = [one[0] for one, other in zip(first.headers, second.headers, strict=True) if one != other]
    assert changed == ["webhook-timestamp", "webhook-signature"]


def test_without_a_secret_there_is_no_signature() -> None:
    names = [name for name, _ in sign(Body(b"{}", "application/json"), signing(secrets=())).headers]
    assert names == ["content-type", "user-agent", "webhook-id", "webhook-timestamp"]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), JSON, st.booleans())
def test_independent_receivers_verify_every_request(new: bytes, old: bytes, data: object, is_batch: bool) -> None:  # noqa: FBT001  Hypothesis passes it
    event = replace(FULL, data=json.dumps(data).encode())
    body = encode(Sealed("dlv_1", (item(event),), NOON_MS, is_batch=is_batch), WEBHOOK)
    secrets = [STANDARD.make_secret(dice, WEBHOOK) for dice in (new, old)]
    kept = tuple(secret for secret, _ in secrets)
    request = sign(body, signing(sent_at_s=int(time.time()), secrets=kept))
    for _, shown in secrets:
        standardwebhooks.Webhook(shown).verify(request.body, dict(request.headers))
        svix.webhooks.Webhook(shown).verify(request.body, dict(request.headers))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, WEBHOOK),
        ({"envelope": "cloudevents"}, CLOUDEVENTS),
        ({"signature": "v1a"}, {"envelope": "webhook", "signature": "v1a"}),
    ],
)
def test_options_are_completed(options: dict[str, str], expected: dict[str, str]) -> None:
    assert STANDARD.check_options(options) == expected


@pytest.mark.parametrize(
    ("options", "field", "problem"),
    [
        ({"colour": "red"}, "options.colour", "unknown to the standard dialect, which has envelope, signature"),
        ({"envelope": "soap"}, "options.envelope", "'soap', expected one of webhook, cloudevents"),
        ({"envelope": None}, "options.envelope", "None, expected one of webhook, cloudevents"),
        ({"signature": ["v1"]}, "options.signature", r"\['v1'\], expected one of v1, v1a"),
    ],
)
def test_other_options_are_refused_by_name(options: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem) as caught:
        STANDARD.check_options(options)
    assert caught.value.field == field


def test_the_signature_option_says_what_secrets_are() -> None:
    dice = bytes(32)
    seed = base64.b64encode(dice)
    assert STANDARD.make_secret(dice, WEBHOOK) == (b"whsec_" + seed, "whsec_" + seed.decode())
    kept, shown = STANDARD.make_secret(dice, {"signature": "v1a"})
    assert (kept, shown[:5]) == (b"whsk_" + seed, "whpk_")
    assert STANDARD.check_secret(kept.decode(), {"signature": "v1a"}) == kept
    with pytest.raises(FieldError, match="does not begin with whsec_"):
        STANDARD.check_secret(kept.decode(), WEBHOOK)


def test_the_schedule_is_the_one_that_standard_webhooks_shows() -> None:
    assert STANDARD.policy.retry.delays_s == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert sum(STANDARD.policy.retry.delays_s) == 75 * 3600 + 35 * 60 + 5
    assert STANDARD.policy.retry.give_up
    assert STANDARD.policy.timeout_s == 15
