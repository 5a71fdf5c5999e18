from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from angarium.core.signing import Scheme, check_secret, sign
from tests.cli.conftest import command, environment

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id":"evt_1","type":"item.update"}'


class Process:
    """A test receiver that runs."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command("receive", "--port", "0", *arguments),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.process.stderr.readline())
        assert found, self.process.stderr.read()
        self.port = int(found[1])

    def post(self, message_id: str = "evt_1", *, body: bytes = BODY, signed: bytes = BODY) -> int:
        """Post a signed request; return its answer's status."""
        now_s = int(time.time())
        signature = sign([check_secret(SECRET, Scheme.V1)], message_id=message_id, sent_at_s=now_s, body=signed)
        headers = {"webhook-id": message_id, "webhook-timestamp": str(now_s), "webhook-signature": signature}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/hook", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def end(self) -> tuple[int, list[Any], str]:
        """Return its exit code, its documents, and its talk."""
        out, talk = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], talk


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def test_a_signed_request_verifies_and_the_end_is_by_itself(start: Start) -> None:
    receiver = start("--secret", SECRET, "--count", "2", "--json")
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


def test_a_request_that_does_not_verify_says_why_and_is_answered_all_the_same(start: Start) -> None:
    receiver = start("--secret", SECRET, "--count", "1", "--json")
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


def test_it_answers_as_it_is_told(start: Start) -> None:
    assert start("--status", "503").post() == 503
    assert start("--flaky", "1").post() == 500
    limited = start("--rate-limit", "1/m")
    assert [limited.post("a"), limited.post("b")] == [200, 429]


def test_it_drops_what_it_is_told_to_drop(start: Start) -> None:
    receiver = start("--drop", "--json", "--count", "1")
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        receiver.post()
    assert receiver.end()[1][0]["status"] is None


def test_ctrl_c_ends_it_in_order(start: Start) -> None:
    receiver = start("--json")
    receiver.post()
    receiver.process.send_signal(signal.SIGINT)
    code, documents, talk = receiver.end()
    assert (code, len(documents)) == (0, 1)
    assert documents[0]["verified"] is None
    assert "received 1" in talk


def test_a_port_that_is_taken_is_an_error_with_advice(start: Start, tmp_path: Path) -> None:
    taken = start().port
    done = subprocess.run(
        command("receive", "--port", str(taken)), cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 1
    assert [line[:6] for line in done.stderr.decode().splitlines()] == ["error:", "  why:", "  fix:"]
