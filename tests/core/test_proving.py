"""Hold what proves a request of an older system, and what is said where it does not."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hmac import digest

import pytest

from angarium.core.proving import SignedRequest, check_hmac, check_key, check_signed_request, read_signed_request
from angarium.core.verifying import Fault, Problem

BODY = (
    b'{"action":"update","model":"item","model_id":49,"job_id":28428,"resync":false,'
    b'"station_id":1,"user_id":1,"api_id":null}'
)
SECRET = "s3cret"
MAC = digest(SECRET.encode(), BODY, "sha256")
HMAC = "x-radiomanager-signature"

SEED = b"60673142fdda45f3185cbd51c070596950a9178e20f785703723ad8e0ff04833.eyJrZXkiOiJ2YWx1ZSJ9"
HELLO = (
    b"5a7d2bcdd3f61db47f09ba128e24efe5911ee17d2499ab1d64a49d14032d3181"
    b".eyJoZWxsbyI6ImNvZGVyIiwiYWxnb3JpdGhtIjoiSE1BQy1TSEEyNTYifQ"
)
SIGNS = (
    b"643fbb77342fec9041f8b4d88335ef44ad23e4a0facd3e42823708f513cfd568"
    b".eyJhbGdvcml0aG0iOiJITUFDLVNIQTI1NiIsIm4iOiLDv8O_w78-Pj4_Pz8ifQ"
)
APP = "app-secret"


def fault(found: object) -> Fault | None:
    return found.fault if isinstance(found, Problem) else None


# -- RadioManager ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected", "said"),
    [
        ({"api-key": "abc"}, None, ""),
        ({}, Fault.MISSING_HEADER, "no api-key"),
        ({"x-api-key": "abc"}, Fault.MISSING_HEADER, "the key stands in x-api-key"),
        ({"api-key": "ABC"}, Fault.WRONG_KEY, "upper and lower case"),
        ({"api-key": "abc "}, Fault.WRONG_KEY, "white space"),
        ({"api-key": "xyz"}, Fault.WRONG_KEY, "not the one expected"),
        ({"api-key": "äbc"}, Fault.WRONG_KEY, "not the one expected"),
    ],
)
def test_a_key_is_the_one_expected_or_it_is_said_why_not(
    headers: dict[str, str], expected: Fault | None, said: str
) -> None:
    found = check_key(headers, "abc", name="api-key")
    assert fault(found) == expected
    assert found is None or said in found.detail


@pytest.mark.parametrize(
    ("shown", "body", "expected"),
    [
        (MAC.hex(), BODY, None),
        (None, BODY, Fault.MISSING_HEADER),
        (MAC.hex().upper(), BODY, Fault.BAD_SIGNATURE),
        (b64encode(MAC).decode(), BODY, Fault.BAD_SIGNATURE),
        (MAC.hex()[:40], BODY, Fault.TRUNCATED),
        (MAC.hex(), json.dumps(json.loads(BODY)).encode(), Fault.REWRITTEN_BODY),
        (MAC.hex(), json.dumps(json.loads(BODY), sort_keys=True, indent=2).encode(), Fault.REWRITTEN_BODY),
        (MAC.hex(), BODY + b"\n", Fault.REWRITTEN_BODY),
        (MAC.hex(), BODY.replace(b"49", b"50"), Fault.WRONG_SECRET),
        ("", BODY, Fault.WRONG_SECRET),
    ],
)
def test_an_hmac_is_the_body_s_or_it_is_said_why_not(shown: str | None, body: bytes, expected: Fault | None) -> None:
    headers = {} if shown is None else {HMAC: shown}
    assert fault(check_hmac(body, headers, ["other", SECRET], name=HMAC)) == expected


# -- SalesKing ---------------------------------------------------------------------------------------------------------


def _request(body: bytes) -> SignedRequest:
    found = read_signed_request(body)
    assert isinstance(found, SignedRequest), found
    return found


@pytest.mark.parametrize("before", [b"", b"signed_request="])
def test_the_founding_document_s_own_example_is_signed_but_says_no_algorithm(before: bytes) -> None:
    request = _request(before + SEED)
    assert request.document == {"key": "value"}
    assert fault(check_signed_request(request, ["secret"])) == Fault.BAD_ALGORITHM


@pytest.mark.parametrize("signed", [HELLO, SIGNS])
def test_a_signed_request_verifies_under_its_app_s_secret_alone(signed: bytes) -> None:
    assert check_signed_request(_request(signed), ["other", APP]) is None
    assert fault(check_signed_request(_request(signed), ["other"])) == Fault.WRONG_SECRET


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"signed_request=a.b&signed_request=a.b", "2 parameters"),
        (b"signed_request=ab", "0 dots"),
        (b"signed_request=a.b.c", "2 dots"),
        (b"signed_request=" + HELLO + b"%0A", "white space"),
        (b"signed_request=" + HELLO + b"%3D%3D", "padding"),
        (SIGNS.replace(b"_", b"/"), "outside base64url"),
        (b"signed_request=a.", "outside base64url"),
        (b"signed_request=a.AAAA", "no JSON object"),
        (b"signed_request=a.W10", "no JSON object"),
        (b"\xff\xfe", "0 dots"),
    ],
)
def test_what_is_no_signed_request_is_told_so(body: bytes, said: str) -> None:
    found = read_signed_request(body)
    assert isinstance(found, Problem)
    assert found.fault == Fault.BAD_FORM
    assert said in found.detail


def _signed(signature: str, document: object = {"algorithm": "hmac-sha256"}) -> SignedRequest:
    payload = urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    mac = digest(APP.encode(), payload.encode(), "sha256")
    forms = {
        "right": mac.hex(),
        "upper": mac.hex().upper(),
        "facebook": urlsafe_b64encode(mac).decode().rstrip("="),
        "short": mac.hex()[:32],
        "json": digest(APP.encode(), json.dumps(document).encode(), "sha256").hex(),
        "none": "none",
    }
    return _request(f"{forms[signature]}.{payload}".encode())


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("right", None),
        ("upper", Fault.BAD_SIGNATURE),
        ("facebook", Fault.BAD_SIGNATURE),
        ("short", Fault.TRUNCATED),
        ("json", Fault.REWRITTEN_BODY),
        ("none", Fault.BAD_SIGNATURE),
    ],
)
def test_a_likely_mistake_in_a_signature_is_recognised(signature: str, expected: Fault | None) -> None:
    assert fault(check_signed_request(_signed(signature), [APP])) == expected


@pytest.mark.parametrize("algorithm", [None, "HMAC-SHA1", 256])
def test_another_algorithm_is_refused_though_the_signature_is_right(algorithm: object) -> None:
    found = check_signed_request(_signed("right", {"algorithm": algorithm}), [APP])
    assert fault(found) == Fault.BAD_ALGORITHM
