from __future__ import annotations

import signal
import subprocess
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from tests.cli.receiving import BODY, SECRET, Process, Start
from tests.cli.running import command, environment


def test_a_signed_request_verifies_and_the_end_is_by_itself(receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--count", "2", "--json")
    assert [receiver.post(), receiver.post()] == [200, 200]
    code, documents, talk = receiver.end()
    assert code == 0
    assert [(each["verified"], each["again"], each["status"]) for each in documents] == [
        (True, False, 200),
        (True, True, 200),
    ]
    assert documents[0]["body"].encode() == BODY
    assert documents[0]["headers"]["webhook-id"] == "evt_1"
    assert "received 2, 2 verified, 1 of them again" in talk


def test_a_request_that_does_not_verify_says_why_and_is_answered_all_the_same(receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--count", "1", "--json")
    assert receiver.post(body=b'{"id": "evt_1", "type": "item.update"}') == 200
    document = receiver.end()[1][0]
    assert (document["verified"], document["fault"]) == (False, "rewritten_body")
    assert document["fix"].startswith("verify the raw bytes")


def test_it_shows_lines_for_people(tmp_path: Path) -> None:
    receiver = Process(tmp_path, "--secret", SECRET, "--count", "1", "--full")
    receiver.post()
    out, _ = receiver.process.communicate(timeout=30)
    assert "POST /hook  evt_1  verified  35 bytes  -> 200" in out
    assert "webhook-id: evt_1" in out
    assert BODY.decode() in out


def test_it_answers_as_it_is_told(receive: Start) -> None:
    assert receive("--status", "503").post() == 503
    assert receive("--flaky", "1").post() == 500
    limited = receive("--rate-limit", "1/m")
    assert [limited.post("a"), limited.post("b")] == [200, 429]


def test_it_drops_what_it_is_told_to_drop(receive: Start) -> None:
    receiver = receive("--drop", "--json", "--count", "1")
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        receiver.post()
    assert receiver.end()[1][0]["status"] is None


def test_ctrl_c_ends_it_in_order(receive: Start) -> None:
    receiver = receive("--json")
    receiver.post()
    receiver.process.send_signal(signal.SIGINT)
    code, documents, talk = receiver.end()
    assert (code, len(documents)) == (0, 1)
    assert documents[0]["verified"] is None
    assert "received 1" in talk


def test_a_port_that_is_taken_is_an_error_with_advice(receive: Start, tmp_path: Path) -> None:
    taken = receive().port
    done = subprocess.run(
        command("receive", "--port", str(taken)), cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 1
    assert [line[:6] for line in done.stderr.decode().splitlines()] == ["error:", "  why:", "  fix:"]
