from __future__ import annotations

import json
import time
from datetime import UTC, datetime
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
    assert "no webhook- headers" in ran.talk


def test_a_body_keeps_its_bytes() -> None:
    captured = parse_captured(b"Webhook-Id: evt_1\r\n\r\nline\r\n\r\nline\xff\n")
    assert captured.headers == {"Webhook-Id": "evt_1"}
    assert captured.body == b"line\r\n\r\nline\xff\n"
