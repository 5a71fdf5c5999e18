"""Run `angarium receive` beside a test, and post to it as a server would."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from angarium.core.signing import Scheme, check_secret, sign
from tests.cli.running import command, environment

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
        self.documents: list[Any] = []

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        """Make any request; return its answer's status. In the headers' names `_` stands for `-`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            return connection.getresponse().status
        finally:
            connection.close()

    def post(self, message_id: str = "evt_1", *, body: bytes = BODY, signed: bytes = BODY) -> int:
        """Post a signed request; return its answer's status."""
        now_s = int(time.time())
        signature = sign([check_secret(SECRET, Scheme.V1)], message_id=message_id, sent_at_s=now_s, body=signed)
        headers = {"webhook-id": message_id, "webhook-timestamp": str(now_s), "webhook-signature": signature}
        return self.send("POST", "/hook", body, **headers)

    def end(self) -> tuple[int, list[Any], str]:
        """Return its exit code, its documents, and its talk."""
        out, talk = self.process.communicate(timeout=30)
        self.documents += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, self.documents, talk

    def wait_for(self, count: int) -> list[Any]:
        """Return its documents once it has shown so many lines in all."""
        assert self.process.stdout is not None
        while len(self.documents) < count:
            line = self.process.stdout.readline()
            assert line, f"it ended after {len(self.documents)} of {count} requests"
            self.documents.append(json.loads(line))
        return self.documents

    def close(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


Start = Callable[..., Process]
