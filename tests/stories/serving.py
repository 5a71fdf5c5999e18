"""Start `angarium serve` as a process of its own, and stop, kill and start it again on the same store and port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Self

from tests.stories.calling import Client, Project
from tests.stories.waiting import eventually

KEY = "the-operator-s-own-key"
LOOPBACK = "127.0.0.0/8:1024-65535"


class Server:
    """One server with its store in a folder; `settings` are those of `ANGARIUM_…`, in lower case."""

    _before: tuple[str, ...] = ()
    """What its command begins with, where it does not run here."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.client = Client(self.port, KEY)
        self._log = folder / "server.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "ANGARIUM_STORE": f"sqlite:///{folder / 'angarium.db'}",
            "ANGARIUM_LISTEN": f"127.0.0.1:{self.port}",
            "ANGARIUM_ADMIN_KEY": KEY,
            "ANGARIUM_EGRESS_ALLOW": LOOPBACK,
            **{f"ANGARIUM_{name.upper()}": text for name, text in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def runs(self, program: Path) -> Self:
        """Run the program that is installed in a folder, not the one that is tested with it."""
        self._environment["PYTHONPATH"] = str(program)
        return self

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        self._process = self.spawn()
        eventually(self._is_ready, told=self.told)
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the program, as often as wanted."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*self._before, sys.executable, "-m", "angarium", "serve"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def is_running(self) -> bool:
        """Say whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Return its process."""
        assert self._process is not None
        return self._process.pid

    def told(self) -> str:
        """Return the end of what it wrote to its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, as an operator would; return its exit code."""
        return self._end(signal.SIGTERM)

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=90)

    def close(self) -> None:
        """End it, however it is."""
        if self.is_running:
            self.kill()

    def project(self, name: str = "stories") -> Project:
        """Return a project of this server, made if need be."""
        return Project(self.client, name).create()

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self.wait()

    def _is_ready(self) -> bool:
        assert self.is_running, f"the server ended: {self.told()}"
        try:
            return self.client.call("GET", "/readyz").status == 200
        except (OSError, HTTPException):
            return False


def _free_port() -> int:
    """Return a port below those that outgoing connections take, so that a server finds it free again."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
