"""Publish as fast as a server takes it, or at a rate, over several kept connections; note when each event went out."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

from angarium.cli.client import Unreachable
from angarium.cli.failing import Failure
from angarium.errors import FieldError

_BUSY = (429, 503)
_BUSY_PAUSE_S = 0.1


class Load(NamedTuple):
    """How much is published, and how: `batch` events a request, `size` bytes of text each, `per_second` events or 0."""

    events: int
    batch: int
    size: int
    connections: int
    per_second: float


class Target(NamedTuple):
    """Where to: the server's address, a key, the path of the project's events."""

    url: str
    key: str
    path: str


class _Request(NamedTuple):
    numbers: range
    due_s: float
    written: bytes


class Publisher:
    """Publish a load once; afterwards, `began_s` holds the moment each event first went out, by its number.

    An event's number is its object id. `busy` counts the answers that asked to come again later.
    """

    def __init__(self, load: Load, target: Target) -> None:
        parts = urlsplit(target.url)
        if parts.scheme != "http" or not parts.hostname:
            raise FieldError("--url", f"is {target.url}, expected http://…: TLS is not what is measured here")
        self.began_s = [0.0] * load.events
        self.busy = 0
        self._load = load
        self._address = (parts.hostname, parts.port or 80)
        self._next = 0
        self._first_s = 0.0
        self._data = {"title": "x" * load.size}
        self._head = (
            f"POST {target.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {target.key}\r\n"
            "content-type: application/json\r\ncontent-length: "
        )

    async def run(self) -> float:
        """Publish it all; return how many seconds that took, from the first request to the last answer."""
        loop = asyncio.get_running_loop()
        self._first_s = loop.time()
        connect = partial(loop.create_connection, partial(_Connection, self, loop), *self._address)
        connected = await asyncio.gather(*(connect() for _ in range(self._load.connections)))
        await asyncio.gather(*(connection.done for _, connection in connected))
        return loop.time() - self._first_s

    def take(self) -> _Request | None:
        """Return the next request, None when all are out."""
        numbers = range(self._next, min(self._next + self._load.batch, self._load.events))
        if not numbers:
            return None
        self._next = numbers.stop
        due_s = self._first_s + numbers.start / self._load.per_second if self._load.per_second else 0.0
        events = [
            {"object": "bench", "action": "update", "object_id": str(number), "data": self._data} for number in numbers
        ]
        body = json.dumps(events if self._load.batch > 1 else events[0]).encode()
        return _Request(numbers, due_s, f"{self._head}{len(body)}\r\n\r\n".encode() + body)


class _Connection(asyncio.Protocol):
    """One connection: the next request goes out when the last is answered. `done` ends when none is left."""

    def __init__(self, publisher: Publisher, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._publisher, self._loop = publisher, loop
        self._request: _Request | None = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a TCP connection can be written"
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(Unreachable("the server", f"it closed the connection ({exc or 'without a word'})"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # The parser calls what follows.

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), self._body.decode(errors="replace")
        self._body.clear()
        if status == 202:
            self._go_on()
        elif status in _BUSY:
            self._publisher.busy += 1
            self._loop.call_later(_BUSY_PAUSE_S, self._send)
        elif not self.done.done():
            self.done.set_exception(
                Failure(f"a publish was answered {status}", why=body[:300], fix="see: angarium publish --help")
            )

    def _go_on(self) -> None:
        self._request = self._publisher.take()
        if self._request is None:
            self.done.set_result(None)
            self._transport.close()
        elif (pause_s := self._request.due_s - self._loop.time()) > 0:
            self._loop.call_later(pause_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        assert self._request is not None, "there is one to send or to send again"
        now_s, began_s = self._loop.time(), self._publisher.began_s
        for number in self._request.numbers:
            began_s[number] = began_s[number] or now_s
        self._transport.write(self._request.written)
