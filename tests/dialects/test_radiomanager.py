"""Hold RadioManager's messages byte for byte, with the example of its document, and what its options may be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium import __version__
from angarium.core.policy import resolve
from angarium.dialects.dialect import Body
from angarium.dialects.radiomanager import RADIOMANAGER, encode, encode_item
from angarium.errors import FieldError
from angarium.model.delivery import TEST_OFFSET, Accepted, Gone, Outcome, Refused, Silent, Throttled
from angarium.model.event import Event
from angarium.model.subscription import Ordering, Rule
from angarium.model.wire import Reason, Request, Response
from tests.dialects.vectors import NOON_S, batch, item, signing, single

SEED = {  # The document's example, in its order.
    "action": "update",
    "model": "item",
    "model_id": 49,
    "job_id": 28428,
    "resync": False,
    "station_id": 1,
    "user_id": 1,
    "api_id": None,
}
EVENT = Event("radio", "1", "item", "49", "update", actor=b'{"user_id":1,"api_id":null}')
PLACE = {"offset": 28428 // 256, "partition": 28428 % 256}
MESSAGE = (
    b'{"action":"update","model":"item","model_id":49,"job_id":28428,"resync":false,'
    b'"station_id":1,"user_id":1,"api_id":null}'
)
OPTIONS = RADIOMANAGER.check_options({"api_key": "k3y"})


def said(event: Event, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_item(item(event, **changes), OPTIONS))
    return found


def test_the_document_s_example_comes_out_member_for_member() -> None:
    body = encode(single(EVENT, **PLACE), OPTIONS)
    assert body == Body(MESSAGE, "application/json")
    assert list(json.loads(body.content).items()) == list(SEED.items())


def test_of_a_batch_that_another_dialect_sealed_the_last_event_is_told() -> None:
    assert encode(batch(replace(EVENT, object_id="48"), EVENT), OPTIONS).content.startswith(
        b'{"action":"update","model":"item","model_id":49,'
    )


@pytest.mark.parametrize("action", ["create", "update", "delete", "recover"])
def test_there_are_four_types_of_mutations(action: str) -> None:
    assert said(replace(EVENT, action=action))["action"] == action


@pytest.mark.parametrize("model", ["program", "broadcast", "item", "presenter", "contact", "campaign"])
def test_six_different_models_can_be_monitored(model: str) -> None:
    assert model in (RADIOMANAGER.traits.catalogue or {})
    assert said(replace(EVENT, object=model))["model"] == model


@pytest.mark.parametrize(
    ("actor", "user_id", "api_id"),
    [
        (b"", None, None),
        (b"{}", None, None),
        (b'{"user_id": 7}', 7, None),
        (b'{"api_id":12,"user_id":null,"name":"Ann"}', None, 12),
        (b'{"user_id":"7","api_id":"x"}', 7, None),
        (b'{"user_id":7.5,"api_id":[1]}', None, None),
        (b'{"user_id":true,"api_id":{}}', None, None),
        (b'{"user_id":123456789012345678901234567890}', None, None),
    ],
)
def test_who_did_it_is_a_number_or_null(actor: bytes, user_id: int | None, api_id: int | None) -> None:
    message = said(replace(EVENT, actor=actor))
    assert list(message) == list(SEED)
    assert (message["user_id"], message["api_id"]) == (user_id, api_id)


def test_ids_that_are_no_numbers_stay_texts() -> None:
    message = said(replace(EVENT, tenant="north", object_id="a-1"))
    assert (message["station_id"], message["model_id"]) == ("north", "a-1")


def test_a_resync_says_that_it_is_one() -> None:
    created = said(replace(EVENT, action="create"), is_resync=True)
    assert (created["action"], created["resync"], created["user_id"]) == ("create", True, 1)


@given(st.integers(1, 2**44), st.integers(1, 2**44), st.integers(0, 255))
def test_a_job_s_number_grows_with_the_log_and_fits_a_double(one: int, other: int, partition: int) -> None:
    first, second = (said(EVENT, offset=offset, partition=partition)["job_id"] for offset in (one, other))
    assert (first < second, first == second) == (one < other, one == other)
    assert max(first, second) < 2**53


def test_a_test_s_job_comes_before_all_others() -> None:
    assert said(EVENT, offset=TEST_OFFSET + 3, partition=77)["job_id"] == 77
    assert said(EVENT, offset=1, partition=0)["job_id"] > 77


def test_a_message_is_posted_with_the_station_s_key() -> None:
    request = RADIOMANAGER.sign(Body(MESSAGE, "application/json"), signing({**OPTIONS, "api_key": "k3y"}))
    assert request == Request(
        "POST",
        "https://example.com/hook",
        (
            ("content-type", "application/json"),
            ("user-agent", f"Angarium/{__version__}"),
            ("api-key", "k3y"),
        ),
        MESSAGE,
    )


def test_a_secret_adds_the_hmac_of_the_body() -> None:
    """Computed with `printf %s "$body" | openssl dgst -sha256 -hmac 's3cret'`."""
    options = RADIOMANAGER.check_options({"api_key": "k3y", "secret": "s3cret"})
    headers = dict(RADIOMANAGER.sign(Body(MESSAGE, "application/json"), signing(options)).headers)
    assert headers["api-key"] == "k3y"
    assert headers["x-radiomanager-signature"] == "47cfc51be194ae02ae7d02694bb30532dd735a10c3b7d2cccdfa470d68bdb6c7"


def test_the_headers_may_have_other_names_and_are_nobody_else_s() -> None:
    options = RADIOMANAGER.check_options(
        {"api_key": "k", "secret": "s", "api_key_header": "X-Api-Key", "signature_header": "X-Hub"}
    )
    own = {"x-api-key": "theirs", "x-team": "blue"}
    headers = RADIOMANAGER.sign(Body(b"{}", "application/json"), signing(options, headers=own)).headers
    assert [name for name, _ in headers] == ["content-type", "user-agent", "x-api-key", "x-hub", "x-team"]
    assert dict(headers)["x-api-key"] == "k"


def test_every_attempt_of_a_message_is_the_same() -> None:
    options = RADIOMANAGER.check_options({"api_key": "k", "secret": "s"})
    body = Body(MESSAGE, "application/json")
    first, second = (
        RADIOMANAGER.sign(body, signing(options, attempt=attempt, sent_at_s=attempt * 100)) for attempt in (1, 2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200), Accepted(200)),
        (Response(204), Accepted(204)),
        (Response(302), Refused(302)),
        (Response(403), Refused(403)),
        (Response(410), Gone()),
        (Response(424), Refused(424)),
        (Response(500), Silent(Reason.STATUS, 500)),
        (Response(429, (("retry-after", "30"),)), Throttled(429, 30)),
        (Response(429, (("retry-after", "30"), ("x-ratelimit-reset", f"{NOON_S + 600}"))), Throttled(429, 30)),
        (Response(429, (("x-ratelimit-reset", f"{NOON_S + 600}"),)), Throttled(429, 600)),
        (Response(429, (("x-ratelimit-reset", f"{NOON_S - 1}"),)), Throttled(429)),
        (Response(429, (("x-ratelimit-reset", "900"),)), Throttled(429)),
        (Response(429, (("x-ratelimit-reset", "soon"),)), Throttled(429)),
        (Response(429, (("x-ratelimit-reset", f"{NOON_S + 100_000}"),)), Throttled(429)),
        (Response(429), Throttled(429)),
    ],
)
def test_an_answer_is_judged_by_status_and_may_name_its_next_window(response: Response, expected: Outcome) -> None:
    assert RADIOMANAGER.judge(response, float(NOON_S)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"api_key": "k"}, {}),
        ({"api_key": "k", "secret": "s"}, {"secret": "s"}),
        ({"api_key": "k", "secret": ""}, {}),
        ({"api_key": "k", "api_key_header": "X-Api-Key"}, {"api_key_header": "x-api-key"}),
        ({"api_key": "k", "signature_header": "X-Sig"}, {"signature_header": "x-sig"}),
    ],
)
def test_options_are_completed(options: dict[str, Any], expected: dict[str, Any]) -> None:
    complete = {"api_key": "k", "api_key_header": "api-key", "signature_header": "x-radiomanager-signature"}
    assert RADIOMANAGER.check_options(options) == {**complete, **expected}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "options.api_key: is missing"),
        ({"api_key": ""}, "options.api_key: is missing"),
        ({"api_key": 5}, "options.api_key: is a number, expected a text"),
        ({"api_key": "a\r\nb: c"}, "options.api_key: holds what a header cannot carry"),
        ({"api_key": "k", "api_key_header": "a b"}, "options.api_key_header: is no header name"),
        ({"api_key": "k", "api_key_header": "Host"}, "options.api_key_header: belongs to the transport"),
        ({"api_key": "k", "signature_header": "user-agent"}, "options.signature_header: belongs to the dialect"),
        ({"api_key": "k", "signature_header": "API-Key"}, "options.signature_header: is the header of the key"),
        ({"api_key": "k", "secret": ["s"]}, "options.secret: is an array, expected a text"),
        (
            {"api_key": "k", "colour": "red"},
            "options.colour: is unknown to the radiomanager dialect, which has api_key",
        ),
    ],
)
def test_other_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        RADIOMANAGER.check_options(options)


def test_the_secret_is_an_option_and_kept_like_the_key() -> None:
    assert RADIOMANAGER.traits.secret_options == ("api_key", "secret")
    assert not RADIOMANAGER.traits.makes_secret
    with pytest.raises(FieldError, match=r"secret: is given, but the radiomanager dialect takes it as options.secret"):
        RADIOMANAGER.check_secret("hunter2", {})


def test_a_message_is_sent_at_once_in_order_and_tried_for_about_a_day() -> None:
    policy = resolve(RADIOMANAGER.policy, {})
    assert (policy.ordering, policy.batch.max_events) == (Ordering.OBJECT, 1)
    assert (len(policy.retry.delays_s), policy.retry.give_up) == (8, True)
    assert 23 * 3600 <= sum(policy.retry.delays_s) <= 25 * 3600
    assert RADIOMANAGER.traits.allows_http


def test_what_there_is_no_word_for_is_left_out() -> None:
    narrow = RADIOMANAGER.narrow(Rule(("item.*", "*.import")), OPTIONS)
    assert narrow == Rule(("item.*", "*.import"), sayable=("*.create", "*.update", "*.delete", "*.recover"))


def test_three_models_have_a_window_and_what_is_referred_to_comes_first() -> None:
    catalogue = RADIOMANAGER.traits.catalogue or {}
    assert list(catalogue) == ["program", "presenter", "contact", "campaign", "broadcast", "item"]
    assert [name for name, each in catalogue.items() if each.get("window") == "start"] == [
        "campaign",
        "broadcast",
        "item",
    ]
