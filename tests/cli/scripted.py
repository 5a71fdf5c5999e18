"""Answer real HTTP requests from a script: what a server does that is busy, broken or gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Answer(NamedTuple):
    """What is answered; `is_cut` closes the connection in its middle."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False


class Asked(NamedTuple):
    """A request that came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Script(ThreadingHTTPServer):
    """Give the answers in order, the last again and again; remember what was asked."""

    daemon_threads = True

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_answer(self) -> Answer:
        """Return the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Script

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.server.asked.append(Asked(self.command, self.path, headers, body))
        answer = self.server.next_answer()
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body) + answer.is_cut))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = answer.is_cut

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing."""


@contextmanager
def script(*answers: Answer) -> Iterator[Script]:
    """Lend a server that gives these answers."""
    server = Script(answers or [Answer()])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
