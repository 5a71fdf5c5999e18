from __future__ import annotations

import signal
import subprocess
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from angarium.dialects.salesking import sign_request
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


RADIO = (
    b'{"action":"update","model":"item","model_id":49,"job_id":28428,"resync":false,'
    b'"station_id":1,"user_id":1,"api_id":null}'
)
PUSHED = (
    b'[{"operation":"remove","path":"","eventTime":"2026-11-22T09:00:01Z","value":null,"contentType":"Consent"},'
    b'{"operation":"add","path":"","eventTime":"2026-11-22T09:00:00Z","value":"{}","contentType":"Consent"}]'
)


def test_it_knows_radiomanager_s_key_and_station_and_a_message_that_comes_again(receive: Start) -> None:
    receiver = receive("--api-key", "k3y", "--station", "1", "--count", "3", "--json")
    receiver.send("POST", "/", RADIO, api_key="k3y")
    receiver.send("POST", "/", RADIO, api_key="k3y")
    receiver.send("POST", "/", RADIO.replace(b'"station_id":1', b'"station_id":2'), api_key="k3y")
    _, documents, talk = receiver.end()
    assert [(each["dialect"], each["verified"], each["fault"], each["again"]) for each in documents] == [
        ("radiomanager", True, None, False),
        ("radiomanager", True, None, True),
        ("radiomanager", False, "other_tenant", True),
    ]
    assert "received 3, 2 verified, 2 of them again" in talk


def test_it_answers_crowdmanager_s_validation_and_says_how_to_confirm_it(tmp_path: Path) -> None:
    receiver = Process(tmp_path, "--status", "500", "--count", "2")
    assert receiver.send("GET", "/hook?org=7&Id=56&ValidationToken=t0k3n") == 200
    assert receiver.send("GET", "//[?org=7") == 500
    out, _ = receiver.process.communicate(timeout=30)
    assert "GET /hook?org=7&Id=56&ValidationToken=t0k3n  0 bytes  -> handshake" in out
    assert 'PUT …/pushservice/subscriptions/56 and {"subscriptions": {"isEnabled": true, ' in out
    assert '"validationToken": "t0k3n"}}' in out


def test_it_shows_push_items_in_the_order_of_their_event_time_and_says_when_they_came_in_another(
    tmp_path: Path,
) -> None:
    receiver = Process(tmp_path, "--count", "1")
    receiver.send("POST", "/", PUSHED, content_type="application/vnd.api+json")
    out, _ = receiver.process.communicate(timeout=30)
    assert "NOT VERIFIED (bad_form)" in out
    assert "order the items by eventTime" in out
    lines = [line.split()[:2] for line in out.splitlines()[-2:]]
    assert lines == [["2026-11-22T09:00:00Z", "add"], ["2026-11-22T09:00:01Z", "remove"]]


def test_it_shows_what_a_signed_request_says(tmp_path: Path) -> None:
    receiver = Process(tmp_path, "--secret", "app-secret", "--count", "1")
    signed = b"signed_request=" + sign_request(b"app-secret", b'{"obj":{"client":{}},"algorithm":"HMAC-SHA256"}')
    receiver.send("POST", "/", signed, content_type="application/x-www-form-urlencoded")
    out, _ = receiver.process.communicate(timeout=30)
    assert "  verified  " in out
    assert '{"obj": {"client": {}}, "algorithm": "HMAC-SHA256"}' in out


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
