"""Be a receiver on a real socket: read requests, answer handshakes, verify signatures, behave or misbehave as told.

`receive`, `demo` and `bench` run one each. What is shown of a request is theirs; what makes a signature right is
`core.checking`'s.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import parse_qs

import httptools

from angarium.core.checking import check
from angarium.core.handshakes import REQUEST_ORIGIN
from angarium.core.verifying import Problem, Verified, explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.core.checking import Expected, Found

_BODY_MAX = 64 * 1024 * 1024
_JOB_ID = re.compile(rb'"job_id":\s*(\d+),\s*"resync":')


class Received(NamedTuple):
    """One request: header names in lower case, the body as it came. `is_handshake`: nothing is delivered by it."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    is_handshake: bool = False

    @property
    def message_id(self) -> str:
        """What names the delivery, the same on every attempt; empty where the dialect has none."""
        if id_ := self.headers.get("webhook-id"):
            return id_
        found = _JOB_ID.search(self.body)  # RadioManager's: it grows with each message and stays on a retry.
        return f"job_id {found[1].decode()}" if found else ""

    def verify(self, secrets: Sequence[str]) -> Verified | Problem:
        """Check a signature by Standard Webhooks against these secrets."""
        return explain(self.body, self.headers, secrets, now_s=self.at)

    def check(self, expected: Expected) -> Found:
        """Check the request, in whichever dialect it is, against what is known of it."""
        return check(self.body, self.headers, expected, now_s=self.at)

    @property
    def validation(self) -> tuple[str, str] | None:
        """The subscription's id and token that CROWDMANAGER's handshake tells; None when this is none."""
        if self.method != "GET":
            return None
        match parse_qs(self.path.partition("?")[2]):
            case {"Id": [id_], "ValidationToken": [token]}:
                return id_, token
            case _:
                return None


class Answer(NamedTuple):
    """What the receiver answers, and after how long; `is_dropped` closes the connection without a word."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0
    is_dropped: bool = False


class Manners(NamedTuple):
    """How a receiver behaves: `flaky` is the share that fails (500), `per_second` the rate above which it says 429."""

    status: int = 200
    delay_s: float = 0.0
    flaky: float = 0.0
    per_second: float | None = None
    drops: bool = False


class Answering(Protocol):
    """Decide what a request is answered; it may note the request too."""

    def __call__(self, received: Received, /) -> Answer:
        """Return the answer."""


class Receiver:
    """Listen on one port of one address until closed."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.port = 0

    async def start(self, host: str, port: int = 0) -> None:
        """Begin to listen; `port` 0 takes a free one, which `port` then tells."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self._answering, self._connections), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and drop what is connected."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()


def handshake(received: Received) -> Answer | None:
    """Return the answer to a handshake; None when the request is none.

    "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4, for OPTIONS; a POST with a challenge is our own; a GET
    with an id and a token is CROWDMANAGER's, which wants a 200 and nothing else.
    """
    if received.validation is not None:
        return Answer(200)
    if received.method == "OPTIONS" and (origin := received.headers.get(REQUEST_ORIGIN)):
        return Answer(200, (("webhook-allowed-origin", origin), ("webhook-allowed-rate", "*"), ("allow", "POST")))
    if (challenge := _challenge(received)) is not None:
        return Answer(200, (("content-type", "application/json"),), json.dumps({"challenge": challenge}).encode())
    return None


def misbehave(manners: Manners, *, dice: float, is_over_rate: bool) -> Answer:
    """Return the answer that these manners give; `dice` is in [0, 1)."""
    if manners.drops:
        return Answer(is_dropped=True, delay_s=manners.delay_s)
    if is_over_rate:
        return Answer(429, (("retry-after", "1"),), b"too many requests\n", manners.delay_s)
    if dice < manners.flaky:
        return Answer(500, body=b"flaky\n", delay_s=manners.delay_s)
    return Answer(manners.status, delay_s=manners.delay_s)


class Gauge:
    """Say whether requests come faster than so many within a second."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._taken: deque[float] = deque()

    def is_over(self, now_s: float) -> bool:
        """Count a request at this moment, unless it is one too many."""
        if self._per_second is None:
            return False
        # Below one a second the window grows, so that the first request of each window still passes.
        window_s = max(1.0, 1 / self._per_second)
        while self._taken and self._taken[0] <= now_s - window_s:
            self._taken.popleft()
        if len(self._taken) >= max(1.0, self._per_second):
            return True
        self._taken.append(now_s)
        return False


def _challenge(received: Received) -> str | None:
    if received.method != "POST" or b'"challenge"' not in received.body:
        return None
    try:
        document = json.loads(received.body)
    except ValueError:
        return None
    if isinstance(document, dict) and document.get("type") == "verification":
        challenge = document.get("challenge")
        return challenge if isinstance(challenge, str) else None
    return None


class _Connection(asyncio.Protocol):
    """One connection: requests are answered one after the other, in the order in which they came."""

    def __init__(self, answering: Answering, connections: set[_Connection]) -> None:
        self._answering = answering
        self._connections = connections
        self._waiting: deque[Answer] = deque()
        self._is_delayed = False
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a TCP server has transports that can be written"
        self._transport = transport
        self._connections.add(self)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    def close(self) -> None:
        self._transport.abort()

    # The parser calls what follows.

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > _BODY_MAX:
            self._transport.abort()

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        received = Received(time.time(), method, self._path, self._headers, bytes(self._body))
        greeting = handshake(received)
        answer = self._answering(received._replace(is_handshake=greeting is not None))
        # A receiver that drops everything drops handshakes too.
        self._waiting.append(answer if greeting is None or answer.is_dropped else greeting)
        self._pump()

    def _begin(self) -> None:
        self._path = ""
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def _pump(self) -> None:
        while self._waiting and not self._is_delayed:
            answer = self._waiting.popleft()
            if answer.delay_s:
                self._is_delayed = True
                asyncio.get_running_loop().call_later(answer.delay_s, self._delayed, answer)
            else:
                self._write(answer)

    def _delayed(self, answer: Answer) -> None:
        self._is_delayed = False
        self._write(answer)
        self._pump()

    def _write(self, answer: Answer) -> None:
        if self._transport.is_closing():
            return
        if answer.is_dropped:
            self._transport.abort()
            return
        fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        head = (
            f"HTTP/1.1 {answer.status} {_phrase(answer.status)}\r\n{fields}content-length: {len(answer.body)}\r\n\r\n"
        )
        self._transport.write(head.encode("latin-1") + answer.body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
