"""Be the other side: receivers on loopback that answer as told, well or badly, over real sockets.

    async with receiver() as r:                          # 200 to everything
    async with receiver(Answer(500), Answer(204)) as r:  # the last one repeats
    async with receiver(hang) as r:                      # or any of the behaviours below, or one of your own

`r.url` is where it listens, `r.requests` what came, in order; `await r.arrived(3)` waits for that many. Behaviours are
coroutine functions of an `Exchange`; they return whether the connection stays open for another request.
`raw_receiver` hands over each connection before anything was read from it.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

SAFETY_S = 30.0
"""A safety net for waits that should end at once."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: header names lower-case, `arrived` in monotonic seconds, connections counted from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    connection: int


@dataclass(slots=True)
class Exchange:
    """A request, and the connection to answer it on."""

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send some bytes; `OSError` when the sender has gone, which ends the connection quietly."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the sender closes the connection."""
        while await self.reader.read(4096):
            pass

    def reset(self) -> None:
        """End the connection with a RST."""
        opened: socket.socket = self.writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[bool]]
RawBehaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A proper answer, after a delay; `keep` false closes the connection behind it."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0
    keep: bool = True

    async def __call__(self, exchange: Exchange) -> bool:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await exchange.send(self.head() + self.body)
        return self.keep

    def head(self) -> bytes:
        """Return the status line and headers, the empty line included."""
        known = {status.value: status.phrase for status in HTTPStatus}
        lines = [f"HTTP/1.1 {self.status} {known.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != 204:
            lines.append(f"content-length: {len(self.body)}")
        if not self.keep:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(slots=True)
class Receiver:
    """A receiver that runs. `behaviours` may be replaced at any moment; all but the last one serve one request each."""

    host: str
    port: int
    scheme: str
    behaviours: list[Behaviour]
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    lost: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Return where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/hook"

    async def arrived(self, count: int) -> list[Received]:
        """Wait until so many requests have come; return all there are."""
        async with asyncio.timeout(SAFETY_S):
            while len(self.requests) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.requests

    def close_connections(self) -> None:
        """Close all connections, as a receiver does that restarts."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while (request := await _read_request(reader, number)) is not None:
                self.requests.append(request)
                self._changed.set()
                behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
                if not await behaviour(Exchange(request, reader, writer)):
                    return
        except OSError:
            self.lost += 1  # The sender went away while it was being answered.
        finally:
            self._writers.discard(writer)


@asynccontextmanager
async def receiver(
    *behaviours: Behaviour, tls: SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Receiver]:
    """Run a receiver on a free port of loopback."""
    running = Receiver(host, port, "https" if tls else "http", list(behaviours) or [Answer()])
    async with _listen(running._serve, host, port, tls) as running.port:
        yield running


@asynccontextmanager
async def raw_receiver(behaviour: RawBehaviour, *, scheme: str = "http") -> AsyncIterator[Receiver]:
    """Run a receiver that hands each connection over as it comes; `requests` stays empty."""
    running = Receiver("127.0.0.1", 0, scheme, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        with suppress(OSError):
            await behaviour(reader, writer)

    async with _listen(serve, running.host, 0, None) as running.port:
        yield running


@asynccontextmanager
async def _listen(serve: RawBehaviour, host: str, port: int, tls: SSLContext | None) -> AsyncIterator[int]:
    """Serve each connection in a task; end them all at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            pass  # The end of the test; asyncio.streams would report it as an error.
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    """Return the next request; None when the sender has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Received(method, path, headers, body, time.monotonic(), connection)


# -- behaviours --------------------------------------------------------------------------------------------------------

_HEAD = b"HTTP/1.1 %d Status\r\ncontent-type: text/plain\r\n"


def redirect(status: int, location: str) -> Answer:
    """Ask the sender to go elsewhere."""
    return Answer(status, (("location", location),))


async def hang(exchange: Exchange) -> bool:
    """Take the request and never answer."""
    await exchange.gone()
    return False


def hang_after_head(status: int) -> Behaviour:
    """Send a head that promises a body, and nothing more."""

    async def behave(exchange: Exchange) -> bool:
        await exchange.send(_HEAD % status + b"content-length: 100\r\n\r\nhalf")
        await exchange.gone()
        return False

    return behave


def trickle(data: bytes, *, every_s: float = 0.05) -> Behaviour:
    """Send an answer one byte at a time."""

    async def behave(exchange: Exchange) -> bool:
        for byte in data:
            await exchange.send(bytes((byte,)))
            await asyncio.sleep(every_s)
        return True

    return behave


async def trickle_head_for_ever(exchange: Exchange) -> bool:
    """Send a head that never ends, one byte at a time."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        await exchange.send(b"a")
        await asyncio.sleep(0.05)


async def trickle_body_for_ever(exchange: Exchange) -> bool:
    """Send a body that never ends, one byte at a time."""
    await exchange.send(_HEAD % 200 + b"content-length: 1000000\r\n\r\n")
    while True:
        await exchange.send(b"a")
        await asyncio.sleep(0.05)


async def reset_at_once(exchange: Exchange) -> bool:
    """Take the request, and end the connection with a RST."""
    exchange.reset()
    return False


def reset_after(data: bytes) -> Behaviour:
    """Send part of an answer, and end the connection with a RST once it has been read."""

    async def behave(exchange: Exchange) -> bool:
        await exchange.send(data)
        await asyncio.sleep(0.1)  # A RST may overtake what is still unread.
        exchange.reset()
        return False

    return behave


def close_after(data: bytes) -> Behaviour:
    """Send these bytes, and close."""

    async def behave(exchange: Exchange) -> bool:
        await exchange.send(data)
        return False

    return behave


async def half_close(exchange: Exchange) -> bool:
    """Say that nothing will be answered, and go on reading."""
    exchange.writer.write_eof()
    await exchange.gone()
    return False


def endless(status: int, *, is_chunked: bool) -> Behaviour:
    """Send a body without an end, as fast as it is taken."""
    chunk = b"a" * 16_384
    framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk
    framing = b"transfer-encoding: chunked" if is_chunked else b"content-length: 1000000000"

    async def behave(exchange: Exchange) -> bool:
        await exchange.send(_HEAD % status + framing + b"\r\n\r\n")
        while True:
            await exchange.send(framed)

    return behave


def huge_head(status: int, *, size: int) -> Behaviour:
    """Send a head of so many bytes, in lines of 1 KiB."""
    line = b"x-filler: " + b"a" * 1012 + b"\r\n"

    async def behave(exchange: Exchange) -> bool:
        await exchange.send(b"HTTP/1.1 %d Status\r\n" % status)
        for _ in range(size // len(line)):
            await exchange.send(line)
        await exchange.send(b"content-length: 0\r\n\r\n")
        return True

    return behave


async def endless_interim(exchange: Exchange) -> bool:
    """Say 103 for ever."""
    while True:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n" * 100)


def gzip_bomb() -> Answer:
    """Answer with 10 MiB of zeros, compressed to 10 KiB."""
    return Answer(200, (("content-encoding", "gzip"),), gzip.compress(bytes(10 * 1024 * 1024)))
