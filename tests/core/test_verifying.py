"""Hold that what we sign verifies, and that each common mistake is called by its name."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.signing import Scheme, check_secret, make_secret, sign
from angarium.core.verifying import Fault, Problem, Verified, explain

NOW_S = 1795348800
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHSEC_OTHER = "whsec_" + "A" * 32
PRIVATE = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
PUBLIC = make_secret(b"TESTSIGNINGKEYDONOTUSETHISFORANY", Scheme.V1A)[1]
BODY = '{"id":"evt_1","type":"item.update","object":"item","data":{"b":1,"a":"ü/"}}'.encode()


def headers(body: bytes = BODY, *secrets: str, sent_at_s: int = NOW_S) -> dict[str, str]:
    """Return the headers of a request that was signed with these secrets."""
    kept = [check_secret(text, Scheme.V1A if text.startswith("whsk_") else Scheme.V1) for text in secrets or (WHSEC,)]
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": sign(kept, message_id="evt_1", sent_at_s=sent_at_s, body=body),
    }


def hmac_of(key: bytes, body: bytes = BODY) -> bytes:
    return hmac.digest(key, b"evt_1.%d.%b" % (NOW_S, body), "sha256")


def asked(changes: dict[str, str | None], *, body: bytes = BODY, secrets: tuple[str, ...] = (WHSEC,)) -> object:
    """Explain a rightly signed request with some headers changed or (None) left out."""
    came = {name: value for name, value in (headers() | changes).items() if value is not None}
    return explain(body, came, secrets, now_s=NOW_S)


def fault(found: object) -> Fault:
    assert isinstance(found, Problem), found
    assert found.detail
    assert found.fix
    return found.fault


@pytest.mark.parametrize(
    ("signed_with", "secrets", "expected"),
    [
        ((WHSEC,), (WHSEC,), Verified(Scheme.V1, 0)),
        ((WHSEC,), (WHSEC_OTHER, WHSEC), Verified(Scheme.V1, 1)),
        ((WHSEC_OTHER, WHSEC), (WHSEC,), Verified(Scheme.V1, 0)),
        ((WHSEC,), (WHSEC.removeprefix("whsec_"),), Verified(Scheme.V1, 0)),
        ((WHSEC,), (f" {WHSEC}\n",), Verified(Scheme.V1, 0)),
        ((PRIVATE,), (PUBLIC,), Verified(Scheme.V1A, 0)),
        ((PRIVATE,), (PRIVATE,), Verified(Scheme.V1A, 0)),
        ((PRIVATE, WHSEC), (WHSEC,), Verified(Scheme.V1, 0)),
        ((PRIVATE, WHSEC), (WHSEC_OTHER, PUBLIC), Verified(Scheme.V1A, 1)),
    ],
)
def test_what_is_signed_verifies(signed_with: tuple[str, ...], secrets: tuple[str, ...], expected: Verified) -> None:
    assert explain(BODY, headers(BODY, *signed_with), secrets, now_s=NOW_S) == expected


def test_headers_come_in_any_case_and_with_others() -> None:
    came = {name.title(): f" {value} " for name, value in headers().items()} | {"Content-Type": "application/json"}
    assert explain(BODY, came, [WHSEC], now_s=NOW_S) == Verified(Scheme.V1, 0)


@pytest.mark.parametrize(
    ("age_s", "tolerance_s", "expected"),
    [
        (0, 300, None),
        (300, 300, None),
        (-300, 300, None),
        (301, 300, Fault.STALE),
        (-301, 300, Fault.FUTURE),
        (86_400, float("inf"), None),
        (1, 0, Fault.STALE),
    ],
)
def test_a_right_signature_holds_for_some_time(age_s: int, tolerance_s: float, expected: Fault | None) -> None:
    found = explain(BODY, headers(), [WHSEC], now_s=NOW_S + age_s, tolerance_s=tolerance_s)
    if expected is None:
        assert found == Verified(Scheme.V1, 0)
    else:
        assert fault(found) == expected


def test_an_old_request_with_a_wrong_secret_is_told_about_its_secret() -> None:
    assert fault(explain(BODY, headers(), [WHSEC_OTHER], now_s=NOW_S + 10**6)) == Fault.WRONG_SECRET


@pytest.mark.parametrize(
    ("changes", "expected", "detail"),
    [
        ({"webhook-id": None}, Fault.MISSING_HEADER, "no webhook-id"),
        ({"webhook-timestamp": None}, Fault.MISSING_HEADER, "no webhook-timestamp"),
        ({"webhook-signature": " "}, Fault.MISSING_HEADER, "no webhook-signature"),
        (
            {"webhook-id": None, "webhook-signature": None},
            Fault.MISSING_HEADER,
            "no webhook-id and no webhook-signature",
        ),
        ({"webhook-timestamp": "soon"}, Fault.BAD_TIMESTAMP, "is 'soon'"),
        ({"webhook-timestamp": "-5"}, Fault.BAD_TIMESTAMP, "is '-5'"),
        ({"webhook-timestamp": f"{NOW_S}000"}, Fault.BAD_TIMESTAMP, f"is '{NOW_S}000'"),
        ({"webhook-timestamp": "9" * 5000}, Fault.BAD_TIMESTAMP, "is '999"),
        ({"webhook-timestamp": "2026-11-22T12:00:00Z"}, Fault.BAD_TIMESTAMP, "is '2026-11-22T12:00:00Z'"),
        (
            {"webhook-signature": "K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
            Fault.BAD_SIGNATURE,
            "without an entry",
        ),
        ({"webhook-signature": "v2,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}, Fault.BAD_SIGNATURE, "v1 or v1a"),
        ({"webhook-signature": "v1,"}, Fault.BAD_SIGNATURE, "without an entry"),
        ({"webhook-signature": "v1,****"}, Fault.BAD_SIGNATURE, "is 0 bytes in base64, expected 32"),
        ({"webhook-signature": "v1a," + "A" * 88}, Fault.OTHER_SCHEME, "v1a (Ed25519), but the secret given is for v1"),
        ({"webhook-id": "evt_2"}, Fault.WRONG_SECRET, "no signature matches the secret"),
        ({"webhook-timestamp": str(NOW_S + 1)}, Fault.WRONG_SECRET, "no signature matches the secret"),
    ],
)
def test_a_wrong_header_is_named(changes: dict[str, str | None], expected: Fault, detail: str) -> None:
    found = asked(changes)
    assert fault(found) == expected
    assert isinstance(found, Problem)
    assert detail in found.detail


KEY = base64.b64decode(WHSEC.removeprefix("whsec_"))


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("v1," + base64.b64encode(hmac_of(KEY)).decode()[:-1], None),  # Only the padding is gone.
        ("v1," + base64.b64encode(hmac_of(KEY)).decode()[:40], Fault.TRUNCATED),
        ("v1," + base64.b64encode(hmac_of(KEY)).decode()[:9], Fault.TRUNCATED),
        ("v1," + base64.b64encode(bytes(20)).decode(), Fault.TRUNCATED),
        ("v1," + base64.b64encode(bytes(40)).decode(), Fault.BAD_SIGNATURE),
        ("v1," + hmac_of(KEY).hex(), Fault.BAD_SIGNATURE),
        ("v1," + hmac_of(KEY).hex().upper(), Fault.BAD_SIGNATURE),
        ("v1a," + base64.b64encode(hmac_of(KEY)).decode(), Fault.OTHER_SCHEME),
        ("v1," + base64.b64encode(hmac_of(WHSEC.encode())).decode(), Fault.UNDECODED_SECRET),
        ("v1," + base64.b64encode(hmac_of(WHSEC[6:].encode())).decode(), Fault.UNDECODED_SECRET),
        ("v1," + base64.b64encode(hmac_of(b"another")).decode(), Fault.WRONG_SECRET),
    ],
)
def test_a_mistake_in_signing_is_named(signature: str, expected: Fault | None) -> None:
    found = asked({"webhook-signature": signature})
    assert found == Verified(Scheme.V1, 0) if expected is None else fault(found) == expected


def test_an_undecoded_secret_is_told_with_how_it_was_used() -> None:
    for key, how in ((WHSEC, "with its prefix"), (WHSEC[6:], "without its prefix, but not decoded")):
        found = asked({"webhook-signature": "v1," + base64.b64encode(hmac_of(key.encode())).decode()})
        assert isinstance(found, Problem)
        assert how in found.detail


@pytest.mark.parametrize(
    ("signed_with", "secrets", "expected"),
    [
        ((WHSEC,), (PUBLIC,), Fault.OTHER_SCHEME),
        ((PRIVATE,), (WHSEC,), Fault.OTHER_SCHEME),
        ((PRIVATE,), (PUBLIC[:20] + "AAAA" + PUBLIC[24:],), Fault.WRONG_SECRET),
        ((WHSEC,), (WHSEC_OTHER,), Fault.WRONG_SECRET),
        ((WHSEC,), (WHSEC_OTHER, PUBLIC), Fault.WRONG_SECRET),
        ((WHSEC,), (), Fault.BAD_SECRET),
        ((WHSEC,), ("whsec_my secret",), Fault.BAD_SECRET),
        ((WHSEC,), ("whsec_",), Fault.BAD_SECRET),
        ((WHSEC,), ("",), Fault.BAD_SECRET),
        ((WHSEC,), ("whpk_AAAA",), Fault.BAD_SECRET),
        ((WHSEC,), ("whsk_AAAA",), Fault.BAD_SECRET),
    ],
)
def test_the_wrong_secret_is_named(signed_with: tuple[str, ...], secrets: tuple[str, ...], expected: Fault) -> None:
    assert fault(explain(BODY, headers(BODY, *signed_with), secrets, now_s=NOW_S)) == expected


VALUE: Any = json.loads(BODY)
UNORDERED = {"data": {"b": 1}, "type": "batch", "events": [{"type": "a.b", "id": "evt_1"}], "id": "dlv_1"}


@pytest.mark.parametrize(
    ("signed", "came", "how"),
    [
        (BODY, json.dumps(VALUE).encode(), "JSON without white space"),
        (BODY, json.dumps(VALUE, ensure_ascii=False, indent=2).encode(), "JSON without white space"),
        (b'{"a":1.10,"b":1e2}', b'{ "a": 1.10,\n"b": 1e2 }', "JSON without white space"),
        (b'{"a":"b  c\\" d"}', b'{"a" : "b  c\\" d"}\n', "JSON without white space"),
        (json.dumps(VALUE).encode(), BODY, "a space after each comma and colon, in ASCII"),
        (json.dumps(VALUE, indent=2, ensure_ascii=False).encode(), BODY, "indented by two"),
        (
            json.dumps(VALUE, indent=4).encode() + b"\n",
            BODY,
            "indented by four, in ASCII, with a line break at its end",
        ),
        (json.dumps(VALUE, sort_keys=True, separators=(",", ":")).encode(), BODY, "members sorted, in ASCII"),
        (BODY.replace(b"/", b"\\/"), BODY, "with / escaped"),
        (
            b'{"id":"evt_1","type":"a.b","data":{"b":1}}',
            b'{"data": {"b": 1}, "id": "evt_1", "type": "a.b"}',
            "envelope",
        ),
        (
            b'{"id":"dlv_1","type":"batch","events":[{"id":"evt_1","type":"a.b"}]}',
            b'{"events":[{"type":"a.b","id":"evt_1"}],"id":"dlv_1","type":"batch"}',
            "envelope",
        ),
        (BODY, BODY + b"\n", "without the white space around it"),
        (BODY + b"\n", BODY, "with a line break at its end"),
        (b"a\nb", b"a\r\nb", "with LF for line breaks"),
        (b"a\r\nb", b"a\nb", "with CRLF for line breaks"),
        (b"{}", b"\xef\xbb\xbf{}", "without a byte order mark"),
    ],
)
def test_a_body_that_was_written_again_is_recognised(signed: bytes, came: bytes, how: str) -> None:
    for secret, given_ in ((WHSEC, WHSEC), (PRIVATE, PUBLIC)):
        found = explain(came, headers(signed, secret), [given_], now_s=NOW_S)
        assert fault(found) == Fault.REWRITTEN_BODY
        assert isinstance(found, Problem)
        assert how in found.detail


@pytest.mark.parametrize(
    "came", [BODY.replace(b"1", b"2"), b"", b"[" * 100_000, b"[" * 900 + b"]" * 900, b"\xff", BODY + b" " * 2_000_000]
)
def test_another_body_is_not_taken_for_the_same(came: bytes) -> None:
    assert fault(explain(came, headers(), [WHSEC], now_s=NOW_S)) == Fault.WRONG_SECRET


def test_no_message_repeats_a_secret() -> None:
    for secret in (WHSEC_OTHER, "whsec_my secret", "whpk_AAAA"):
        found = explain(BODY, headers(), [secret], now_s=NOW_S)
        assert isinstance(found, Problem)
        assert secret not in found.detail + found.fix


@given(
    st.binary(), st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text())
)
def test_whatever_comes_is_explained(body: bytes, came: dict[str, str]) -> None:
    assert isinstance(explain(body, headers() | came, [WHSEC, PUBLIC], now_s=NOW_S), Problem) or body == BODY


@given(st.binary(min_size=24, max_size=64), st.text(alphabet="abc_0123456789", min_size=1), st.binary())
def test_we_verify_whatever_we_sign(key: bytes, message_id: str, body: bytes) -> None:
    text = "whsec_" + base64.b64encode(key).decode()
    signature = sign([check_secret(text, Scheme.V1)], message_id=message_id, sent_at_s=NOW_S, body=body)
    came = {"webhook-id": message_id, "webhook-timestamp": str(NOW_S), "webhook-signature": signature}
    assert explain(body, came, [text], now_s=NOW_S) == Verified(Scheme.V1, 0)
