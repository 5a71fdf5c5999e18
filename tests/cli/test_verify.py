from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from hmac import digest
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from angarium.cli.verify import parse_captured
from tests.cli.running import Run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"id":"evt_1","type":"item.update","data":{"title":"Grüße"}}'


def _headers(*, age_s: int = 0) -> dict[str, str]:
    sent_at = datetime.fromtimestamp(int(time.time()) - age_s, UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("evt_1", sent_at, BODY),
    }


def _captured(body: str = BODY, *, age_s: int = 0, line_break: str = "\r\n") -> str:
    lines = [f"{name}: {value}" for name, value in _headers(age_s=age_s).items()]
    return line_break.join(["POST /hook HTTP/1.1", "Host: x", *lines, "", body])


@pytest.mark.parametrize("line_break", ["\r\n", "\n"])
def test_a_captured_request_verifies(run: Run, line_break: str) -> None:
    ran = run("verify", "--secret", SECRET, given=_captured(line_break=line_break))
    assert (ran.code, ran.out, ran.talk) == (0, "verified: v1, secret 1\n", "")


def test_a_line_of_receive_verifies(run: Run) -> None:
    line = json.dumps({"headers": _headers(), "body": BODY})
    ran = run("verify", "--secret", SECRET, "--json", given=line)
    assert (ran.code, ran.document) == (0, {"verified": True, "scheme": "v1", "secret": 0})


def test_headers_and_body_may_be_given_apart(run: Run, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(BODY)
    (tmp_path / "secret.txt").write_text(f"{SECRET}\n")
    headers = [part for name, value in _headers().items() for part in ("--header", f"{name}: {value}")]
    ran = run("verify", "--secret", "@secret.txt", "--body", "body.json", *headers)
    assert (ran.code, ran.out) == (0, "verified: v1, secret 1\n")


@pytest.mark.parametrize(
    ("captured", "secret", "fault"),
    [
        (_captured(), "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "wrong_secret"),
        (_captured(json.dumps(json.loads(BODY), ensure_ascii=False)), SECRET, "rewritten_body"),
        (_captured(age_s=3600), SECRET, "stale"),
        (_captured().replace("webhook-timestamp", "x-timestamp"), SECRET, "missing_header"),
        (_captured(), "whsec_!", "bad_secret"),
    ],
)
def test_it_says_why_a_request_does_not_verify(run: Run, captured: str, secret: str, fault: str) -> None:
    ran = run("verify", "--secret", secret, "--json", given=captured)
    assert (ran.code, ran.document["verified"], ran.document["fault"]) == (1, False, fault)
    assert ran.document["fix"]


def test_why_is_told_in_three_lines(run: Run) -> None:
    ran = run("verify", "--secret", SECRET, given=_captured(age_s=3600))
    first, why, fix = ran.out.splitlines()
    assert first == "not verified (stale)"
    assert "more than 300 s" in why
    assert fix.startswith("  fix: ")


def test_an_old_one_verifies_when_it_may_be_old(run: Run) -> None:
    assert run("verify", "--secret", SECRET, "--tolerance", "2h", given=_captured(age_s=3600)).code == 0


def test_without_a_secret_there_is_nothing_to_verify_with(run: Run) -> None:
    ran = run("verify", given=_captured())
    assert (ran.code, ran.talk.splitlines()[0]) == (2, "error: there is nothing to verify with")


def test_what_is_no_request_is_said_so(run: Run) -> None:
    ran = run("verify", "--secret", SECRET, given=BODY)
    assert ran.code == 1
    assert "no headers" in ran.talk


RADIO = (
    '{"action":"update","model":"item","model_id":49,"job_id":28428,"resync":false,'
    '"station_id":1,"user_id":1,"api_id":null}'
)


def _radio(body: str = RADIO, *, key: str = "k3y", secret: str = "s3cret") -> str:
    mac = digest(secret.encode(), RADIO.encode(), "sha256").hex()
    lines = ["POST /push HTTP/1.1", "Host: x", f"api-key: {key}", f"x-radiomanager-signature: {mac}", "", body]
    return "\r\n".join(lines)


def test_radiomanager_s_key_hmac_and_station_verify(run: Run) -> None:
    ran = run("verify", "--api-key", "k3y", "--secret", "s3cret", "--station", "1", given=_radio())
    assert (ran.code, ran.out) == (0, "verified: radiomanager (form, api key, signature, station)\n")


@pytest.mark.parametrize(
    ("captured", "arguments", "fault"),
    [
        (_radio(key="other"), ["--api-key", "k3y"], "wrong_key"),
        (_radio(secret="other"), ["--secret", "s3cret"], "wrong_secret"),
        (_radio(json.dumps(json.loads(RADIO))), ["--secret", "s3cret"], "rewritten_body"),
        (_radio(), ["--station", "2"], "other_tenant"),
        (_radio(), ["--api-key", "k3y", "--api-key-header", "x-key"], "missing_header"),
        ('[{"operation": "delete"}]', [], "bad_form"),
        ('{"changes": []}', ["--dialect", "springest"], "bad_form"),
        ("nonsense", ["--dialect", "dashboard"], "bad_form"),
        ("signed_request=a.b", ["--secret", "app-secret"], "bad_form"),
    ],
)
def test_it_says_why_a_request_of_an_older_system_does_not_verify(
    run: Run, captured: str, arguments: list[str], fault: str
) -> None:
    ran = run("verify", *arguments, "--json", given=captured)
    assert (ran.code, ran.document["verified"], ran.document["fault"]) == (1, False, fault)
    assert ran.document["fix"]


SIGNED = (
    "5a7d2bcdd3f61db47f09ba128e24efe5911ee17d2499ab1d64a49d14032d3181"
    ".eyJoZWxsbyI6ImNvZGVyIiwiYWxnb3JpdGhtIjoiSE1BQy1TSEEyNTYifQ"
)


@pytest.mark.parametrize("given", [f"signed_request={SIGNED}", f"signed_request={SIGNED}\n"])
def test_a_signed_request_of_salesking_verifies_without_headers(run: Run, given: str) -> None:
    ran = run("verify", "--secret", "app-secret", "--json", given=given)
    assert ran.document == {"verified": True, "dialect": "salesking", "looked_at": ["form", "signature", "algorithm"]}


def test_what_is_not_signed_is_well_formed_at_best(run: Run) -> None:
    given = '{"changes": [{"action": "destroy", "object": "training", "id": 34534}]}'
    ran = run("verify", given=given)
    assert (ran.code, ran.out) == (0, "well-formed: springest, and nothing was looked at that proves who sent it\n")
    assert run("verify", "--json", given=given).document["verified"] is None


def test_a_body_keeps_its_bytes() -> None:
    captured = parse_captured(b"Webhook-Id: evt_1\r\n\r\nline\r\n\r\nline\xff\n")
    assert captured.headers == {"Webhook-Id": "evt_1"}
    assert captured.body == b"line\r\n\r\nline\xff\n"


def test_a_json_body_with_an_empty_line_is_no_head() -> None:
    body = b'{"changes":\n\n[]}'
    assert parse_captured(body) == ({}, body)
