"""Hold SalesKing's dialect byte for byte, with the document's own signed string, and read it as its SDK does."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from msgspec.structs import replace

from angarium import __version__
from angarium.dialects.dialect import Body, Item, Sealed, Signing
from angarium.dialects.salesking import SALESKING, encode, encode_item, narrow, sign, sign_request
from angarium.errors import FieldError
from angarium.model.delivery import Accepted, Gone, Refused, Silent, Throttled
from angarium.model.event import Event
from angarium.model.subscription import Rule
from angarium.model.wire import Reason, Request, Response

ISSUED_S = 1310936628  # 2011-07-17T21:03:48Z, as in the document.
EXPIRES_MS = 1310939990_000  # 2011-07-17T21:59:50Z
OPTIONS: dict[str, Any] = {
    "grant": "grant_1",
    "include_channel": False,
    "company_id": "c2ew4mSlCr4lENabxfpGMl",
    "user_id": "c1339KSlCr4lENabxfpGMl",
    "sub_domain": "729831939",
    "access_token": "bf77b03c31f003f1d852b3e0bac87345",
    "expires_ms": EXPIRES_MS,
}
EVENT = Event("sk", "c2ew4mSlCr4lENabxfpGMl", "client", "c1", "update", data=b'{"client":{"id":"c1"},"links":[]}')
DOCUMENT = (
    b'{"obj":{"client":{"id":"c1"},"links":[]},"company_id":"c2ew4mSlCr4lENabxfpGMl",'
    b'"user_id":"c1339KSlCr4lENabxfpGMl","sub_domain":"729831939","issued_at":"2011-07-17T21:03:48Z",'
    b'"access_token":"bf77b03c31f003f1d852b3e0bac87345","expires":"2011-07-17T21:59:50Z","algorithm":"HMAC-SHA256"}'
)


def item(event: Event = EVENT, state: bytes | None = None) -> Item:
    return Item("evt_1", event, ISSUED_S * 1000, offset=1, partition=0, state=state)


def sealed(event: Event = EVENT) -> Sealed:
    return Sealed("dlv_1", (item(event),), sealed_ms=ISSUED_S * 1000)


def signing(**changes: Any) -> Signing:
    return replace(Signing("https://app.test/cb", "evt_1", ISSUED_S, 1, (b"app-secret",), {}, OPTIONS), **changes)


def received(request: Request, secret: bytes = b"app-secret") -> Any:
    """Read a request as SalesKing's SDK does: check the signature, then the algorithm, and return the data."""
    name, _, value = request.body.decode("ascii").partition("=")
    assert name == "signed_request"
    signature, payload = value.split(".")
    assert signature == hmac.new(secret, payload.encode(), "sha256").hexdigest()
    data = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert data["algorithm"].upper() == "HMAC-SHA256"
    return data


@pytest.mark.parametrize(
    ("secret", "document", "expected"),
    [
        (  # The document's own.
            b"secret",
            b'{"key":"value"}',
            b"60673142fdda45f3185cbd51c070596950a9178e20f785703723ad8e0ff04833.eyJrZXkiOiJ2YWx1ZSJ9",
        ),
        (
            b"app-secret",
            b'{"hello":"coder","algorithm":"HMAC-SHA256"}',
            (
                b"5a7d2bcdd3f61db47f09ba128e24efe5911ee17d2499ab1d64a49d14032d3181."
                b"eyJoZWxsbyI6ImNvZGVyIiwiYWxnb3JpdGhtIjoiSE1BQy1TSEEyNTYifQ"
            ),
        ),
        (
            b"app-secret",
            '{"algorithm":"HMAC-SHA256","n":"ÿÿÿ>>>???"}'.encode(),
            (
                b"643fbb77342fec9041f8b4d88335ef44ad23e4a0facd3e42823708f513cfd568."
                b"eyJhbGdvcml0aG0iOiJITUFDLVNIQTI1NiIsIm4iOiLDv8O_w78-Pj4_Pz8ifQ"
            ),
        ),
    ],
)
def test_a_signed_request_is_signed_as_the_document_s_sdk_does(secret: bytes, document: bytes, expected: bytes) -> None:
    assert sign_request(secret, document) == expected


def test_an_attempt_is_a_form_with_the_single_parameter_signed_request() -> None:
    request = sign(encode(sealed(), OPTIONS), signing(headers={"x-team": "a"}))
    assert request == Request(
        "POST",
        "https://app.test/cb",
        (
            ("content-type", "application/x-www-form-urlencoded"),
            ("user-agent", f"Angarium/{__version__}"),
            ("x-team", "a"),
        ),
        b"signed_request=" + sign_request(b"app-secret", DOCUMENT),
    )


def test_the_document_s_members_are_there_in_its_order() -> None:
    data = received(sign(encode(sealed(), OPTIONS), signing()))
    assert list(data) == [
        "obj", "company_id", "user_id", "sub_domain", "issued_at", "access_token", "expires", "algorithm"
    ]  # fmt: skip
    assert data == json.loads(DOCUMENT)


def test_every_attempt_has_the_same_object_in_a_fresh_envelope() -> None:
    body = encode(sealed(), OPTIONS)
    changed = {**OPTIONS, "access_token": "another", "expires_ms": EXPIRES_MS + 60_000}
    later = signing(sent_at_s=ISSUED_S + 300, attempt=2, secrets=(b"rotated",), options=changed)
    data = received(sign(body, later), b"rotated")
    assert data == {
        **json.loads(DOCUMENT),
        "issued_at": "2011-07-17T21:08:48Z",
        "access_token": "another",
        "expires": "2011-07-17T22:00:50Z",
    }


@pytest.mark.parametrize(
    ("data", "state", "expected"),
    [
        (b'{"id":"c1","name":"Jos\xc3\xa9"}', None, b'{"client":{"id":"c1","name":"Jos\xc3\xa9"},"links":[]}'),
        (
            b'{"client": {"id": "c1"}, "links": [{"rel":"self"}]}',
            None,
            b'{"client": {"id": "c1"}, "links": [{"rel":"self"}]}',
        ),
        (b'{"invoice":{}}', None, b'{"client":{"invoice":{}},"links":[]}'),
        (b"[1]", None, b'{"client":[1],"links":[]}'),
        (b"", b'{"id":"c1"}', b'{"client":{"id":"c1"},"links":[]}'),
        (b"", None, b'{"client":{"id":"c1"},"links":[]}'),
        (b"", b"", b'{"client":{"id":"c1"},"links":[]}'),
    ],
)
def test_obj_is_the_object_as_the_api_represents_it(data: bytes, state: bytes | None, expected: bytes) -> None:
    event = replace(EVENT, data=data)
    assert encode_item(item(event, state), OPTIONS) == b'{"obj":' + expected + b"}"


def test_a_channel_is_added_for_those_who_ask() -> None:
    options = {**OPTIONS, "include_channel": True}
    data = received(sign(encode(sealed(), options), signing(options=options)))
    assert data["channel"] == "client.update"
    assert {name: value for name, value in data.items() if name != "channel"} == json.loads(DOCUMENT)


def test_text_that_escapes_in_base64_stays_within_the_form() -> None:
    event = replace(EVENT, data='{"n":"ÿÿÿ>>>???"}'.encode())
    request = sign(encode(sealed(event), OPTIONS), signing())
    assert received(request)["obj"]["client"] == {"n": "ÿÿÿ>>>???"}
    assert not set(request.body) & set(b"+/%\n")


def test_a_request_can_be_shown_without_its_body() -> None:
    assert sign(Body(b"", "application/x-www-form-urlencoded"), signing(secrets=())).method == "POST"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Accepted(200)),
        (404, Refused(404)),
        (410, Gone()),
        (429, Throttled(429)),
        (500, Silent(Reason.STATUS, 500)),
    ],
)
def test_an_answer_is_judged_by_its_status(status: int, expected: object) -> None:
    assert SALESKING.judge(Response(status), 0.0) == expected


def test_options_are_completed_and_checked() -> None:
    assert SALESKING.check_options({"grant": "grant_1"}) == {"grant": "grant_1", "include_channel": False}
    for wrong, field in (
        ({}, "options.grant"),
        ({"grant": ""}, "options.grant"),
        ({"grant": 7}, "options.grant"),
        ({"grant": "grant_1", "include_channel": "yes"}, "options.include_channel"),
        ({"grant": "grant_1", "company_id": "x"}, "options.company_id"),
    ):
        with pytest.raises(FieldError) as caught:
            SALESKING.check_options(wrong)
        assert caught.value.field == field


def test_a_subscription_has_no_secret_of_its_own() -> None:
    with pytest.raises(FieldError, match="app's"):
        SALESKING.check_secret("secret", OPTIONS)
    with pytest.raises(FieldError, match="app's"):
        SALESKING.make_secret(b"x" * 32, OPTIONS)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ("invoice.delete",)),
        ({"scope": "invoices", "permissions": None}, ("invoice.delete",)),
        ({"scope": "invoices:create", "permissions": None}, ()),
        ({"scope": None, "permissions": ["invoice.create"]}, ()),
        ({"scope": "invoices", "permissions": ["*.delete"]}, ("invoice.delete",)),
    ],
)
def test_a_rule_is_narrowed_to_what_the_grant_permits(facts: dict[str, Any], expected: tuple[str, ...]) -> None:
    narrowed = narrow(Rule(types=("invoice.delete",)), {**OPTIONS, **facts})
    assert narrowed == Rule(("invoice.delete",), b"", ("*.create", "*.update", "*.delete"), expected)


def test_three_actions_of_six_objects_are_its_catalogue() -> None:
    assert list(SALESKING.traits.actions or {}) == ["create", "update", "delete"]
    assert list(SALESKING.traits.catalogue or {}) == [
        "client",
        "contact",
        "invoice",
        "comment",
        "payment",
        "attachment",
    ]
    assert SALESKING.traits.is_fat
    assert not SALESKING.traits.merges
