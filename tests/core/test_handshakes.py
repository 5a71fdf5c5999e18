"""Hold what verifying asks of a receiver, and which answers count."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.handshakes import challenge_body, check_challenge, check_origin, origin_request
from angarium.model.wire import Request, Response


def test_a_challenge_is_asked_for_in_json() -> None:
    assert challenge_body("c4f3") == b'{"type":"verification","challenge":"c4f3"}'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"c4f3"),
        (201, b"c4f3\r\n"),
        (299, b'{"challenge":"c4f3"}'),
        (200, b' { "ok": [1, {}], "challenge" : "c4f3" } '),
        (200, b'"c4f3"'),
        (200, b'{"challenge":"\\u0063\\u0034f3"}'),
    ],
)
def test_a_challenge_that_comes_back_is_consent(status: int, body: bytes) -> None:
    assert check_challenge(Response(status, body=body), "c4f3") is None


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b"", "answered 200 with an empty body, expected the challenge as the body"),
        (204, b" \n", "answered 204 with an empty body"),
        (200, b"OK", "answered 200 with 'OK', expected the challenge"),
        (200, b"C4F3", "with 'C4F3'"),
        (200, b"c4f3c4f3", "with 'c4f3c4f3'"),
        (200, b'{"challenge":"c4f4"}', "expected the challenge"),
        (200, b'{"challenge":null}', "expected the challenge"),
        (200, b'{"Challenge":"c4f3"}', "expected the challenge"),
        (200, b'["c4f3"]', "expected the challenge"),
        (200, b'{"data":{"challenge":"c4f3"}}', "expected the challenge"),
        (200, b"[" * 65536, "…"),
        (200, b"\xff\xfe", "expected the challenge"),
        (302, b"c4f3", "answered 302, expected 2xx with the challenge"),
        (404, b"c4f3", "answered 404, expected 2xx"),
        (500, b"c4f3", "answered 500, expected 2xx"),
    ],
)
def test_any_other_answer_is_none(status: int, body: bytes, problem: str) -> None:
    assert problem in (check_challenge(Response(status, body=body), "c4f3") or "")


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), st.binary())
def test_only_who_knows_the_challenge_consents(challenge: str, noise: bytes) -> None:
    asked = json.loads(challenge_body(challenge))
    assert (
        check_challenge(Response(200, body=json.dumps({"challenge": asked["challenge"]}).encode()), challenge) is None
    )
    assert check_challenge(Response(200, body=noise), "a challenge that noise does not hold") is not None


def test_an_origin_is_asked_for_by_options() -> None:
    assert origin_request("https://example.com/hook", "push.example.org") == Request(
        "OPTIONS", "https://example.com/hook", (("webhook-request-origin", "push.example.org"),)
    )


@pytest.mark.parametrize("status", [200, 204, 404, 405, 500])
@pytest.mark.parametrize("allowed", ["push.example.org", "*", " * ", "Push.Example.ORG"])
def test_an_allowed_origin_is_consent_whatever_the_status(status: int, allowed: str) -> None:
    """The specification's handshake "cannot rely on status codes"."""
    answer = Response(status, (("allow", "POST"), ("webhook-allowed-origin", allowed)))
    assert check_origin(answer, "push.example.org") is None


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ((), "answered 200 with no WebHook-Allowed-Origin, expected WebHook-Allowed-Origin: push.example.org (or *)"),
        ((("access-control-allow-origin", "*"),), "with no WebHook-Allowed-Origin"),
        ((("webhook-allowed-origin", ""),), "with WebHook-Allowed-Origin ''"),
        ((("webhook-allowed-origin", "example.org"),), "with WebHook-Allowed-Origin 'example.org'"),
        ((("webhook-allowed-origin", "*.example.org"),), "with WebHook-Allowed-Origin '*.example.org'"),
    ],
)
def test_without_an_allowed_origin_there_is_no_consent(headers: tuple[tuple[str, str], ...], problem: str) -> None:
    assert problem in (check_origin(Response(200, headers), "push.example.org") or "")
