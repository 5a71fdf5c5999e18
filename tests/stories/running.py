"""Run the receivers of `examples/` as programs of their own, and serve the little APIs that they fetch from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.stories.waiting import eventually

ROOT = Path(__file__).parents[2]


class Example:
    """A receiver that runs; `said` is what it has printed."""

    def __init__(self, system: str, folder: Path, *options: str) -> None:
        self._log = folder / f"{system}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "examples" / system / "receiver.py"), *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        """Return all that it has printed, and what went wrong."""
        return self._log.read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        """Return where it listens, once it does."""
        found: list[str] = eventually(lambda: re.findall(r"receiving on (\S+)", self.said), told=lambda: self.said)
        return found[-1]

    def says(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed a text so many times."""
        eventually(lambda: self.said.count(text) >= times, told=lambda: f"expected {text!r} {times} times: {self.said}")

    def close(self) -> None:
        """End it, as a crash would."""
        self._process.kill()
        self._process.wait(30)


class Fetched(NamedTuple):
    """A request that came to an `Api`: its path without and with the query, and its headers in lower case."""

    path: str
    target: str
    headers: Mapping[str, str]


class Api:
    """An API whose objects are JSON by path; `refusals` are answered first, one to each request of that path."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.objects: dict[str, Any] = {}
        self.refusals: dict[str, list[tuple[int, dict[str, str]]]] = defaultdict(list)
        self.fetched: list[Fetched] = []

    def answer(self, fetched: Fetched) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a request."""
        self.fetched.append(fetched)
        if self.refusals[fetched.path]:
            status, headers = self.refusals[fetched.path].pop(0)
            return status, headers, b""
        found = self.objects.get(fetched.path)
        return (404, {}, b"") if found is None else (200, {}, json.dumps(found).encode())


@contextmanager
def api() -> Iterator[Api]:
    """Lend an API that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, sent, body = lent.answer(Fetched(self.path.partition("?")[0], self.path, headers))
            self.send_response(status)
            for name, value in {**sent, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        lent = Api(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield lent
        finally:
            server.shutdown()
            thread.join()
