"""Set the stage: a server on a store of its own, a receiver, both as processes, and one caller of the API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from bench.machine import cpu_s, free_port

KEY = "bench-admin-key"
PROJECT = "bench"
_READY_S = 60


class Counted(NamedTuple):
    """What has come to the receiver: requests, when the last came, and how old the timed ones were."""

    requests: int
    last_at_ns: int
    ages_ns: list[int]


class Caller:
    """One caller of the project's API, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, document: object = None) -> None:
        """Call the API; anything but 2xx ends the program."""
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        body = None if document is None else json.dumps(document)
        self._connection.request(method, f"/v1/projects/{PROJECT}{path}", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        if not 200 <= response.status <= 299:
            raise SystemExit(f"{method} {path} was answered {response.status}: {content[:1000].decode()}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Stage:
    """A running server and receiver."""

    def __init__(self, folder: Path, *, profile: Path | None = None, **settings: str) -> None:
        self.folder = folder
        self.port, self.receiver_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.publish_url = f"{self.url}/v1/projects/{PROJECT}/events"
        self._settings = settings
        self._profile = profile
        self.caller = Caller(self.port)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.receiver = self._start([sys.executable, "-m", "bench.receiver", str(self.receiver_port)], {})
        self.server = self.start_server()

    def start_server(self) -> subprocess.Popen[bytes]:
        """Start the server on the stage's store, and wait until it is ready."""
        self.server = self._serve(self.port)
        return self.server

    def start_another(self) -> str:
        """Start another process on the same database, and wait until it is ready; return where it is published to."""
        port = free_port()
        self._serve(port)
        return f"http://127.0.0.1:{port}/v1/projects/{PROJECT}/events"

    def _serve(self, port: int) -> subprocess.Popen[bytes]:
        environment = {
            "ANGARIUM_STORE": f"sqlite:///{self.folder / 'angarium.db'}",
            "ANGARIUM_LISTEN": f"127.0.0.1:{port}",
            "ANGARIUM_ADMIN_KEY": KEY,
            "ANGARIUM_EGRESS_ALLOW": "127.0.0.0/8:1024-65535",
            **{f"ANGARIUM_{name.upper()}": text for name, text in self._settings.items()},
        }
        program = ["-m", "angarium"] if self._profile is None else ["-m", "bench.sampled", str(self._profile)]
        server = self._start([sys.executable, *program, "serve"], environment)
        ends_at = time.monotonic() + _READY_S
        while not _is_ready(port):
            if server.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"the server does not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        return server

    def hook(self, path: str = "/hook") -> str:
        """Return an address of the receiver."""
        return f"http://127.0.0.1:{self.receiver_port}{path}"

    def subscribe(self, tenants: int, *, path: str = "/hook", **members: object) -> None:
        """Create the project, and one subscription for each tenant."""
        self.caller.call("PUT", "", {})
        for tenant in range(tenants):
            self.caller.call("POST", "/subscriptions", {"url": self.hook(path), "tenant": f"{tenant:04}", **members})

    def counted(self) -> Counted:
        """Return what has come to the receiver; the ages are those since the last time."""
        connection = HTTPConnection("127.0.0.1", self.receiver_port, timeout=60)
        connection.request("GET", "/")
        shown = json.loads(connection.getresponse().read())
        connection.close()
        return Counted(**shown)

    def drained(self, *, at_least: int, rest_s: float = 0.5, within_s: float = 300) -> Counted:
        """Wait until at least so many requests have come in all and no more come; return what has come."""
        ends_at = time.monotonic() + within_s
        counted, ages = self.counted(), []
        while True:
            ages += counted.ages_ns
            time.sleep(rest_s)
            later = self.counted()
            if later.requests == counted.requests and (later.requests >= at_least or time.monotonic() > ends_at):
                if later.requests < at_least:
                    print(f"only {later.requests} of {at_least} requests came", file=sys.stderr)
                return later._replace(ages_ns=ages + later.ages_ns)
            counted = later

    def cpu_s(self) -> float:
        """Return the processor time that the server has used."""
        return cpu_s(self.server.pid)

    def stop_server(self) -> None:
        """Ask the server to end, and wait for it."""
        self.caller.close()
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(timeout=120)

    def close(self) -> None:
        """End what was started."""
        if self.server.poll() is None:
            self.stop_server()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=60)

    def _start(self, command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env={"PATH": os.environ["PATH"], **environment}, stdout=log, stderr=log, cwd=Path.cwd()
            )
        self._processes.append(process)
        return process


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def set_stage(*, folder: Path | None = None, profile: Path | None = None, **settings: str) -> Iterator[Stage]:
    """Lend a stage in a temporary folder (inside `folder` where given: the disk that is to be measured)."""
    with tempfile.TemporaryDirectory(prefix="angarium-bench-", dir=folder) as made:
        stage = Stage(Path(made), profile=profile, **settings)
        try:
            yield stage
        finally:
            stage.close()
