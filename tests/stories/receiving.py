"""Receive what is pushed, on real sockets, and misbehave as a story's script says.

One `Receiver` listens, in a thread with a loop of its own, so that stories read from top to bottom; each story asks it
for hooks, addresses of its own. What has arrived is in `Hook.requests`, in order; `Hook.answer` says what to answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Self

from tests.stories.waiting import eventually

_GATE_PAUSE_S = 0.005
_HEAD_MAX = 1 << 20


class Received(NamedTuple):
    """One request as it came; `at_s` is monotonic, `beside` how many others of its hook were not yet answered."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float
    beside: int

    @property
    def id(self) -> str:
        """Return the `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: once `gate` is set where there is one, or else instead of an answer `raw` bytes, then the end.

    `raw` is sent piece by piece, as long as there is more and the other side listens; `None` resets the connection.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    gate: threading.Event | None = None
    raw: Callable[[], Any] | None = None
    is_reset: bool = False


OK = Answer()
RESET = Answer(is_reset=True)


class Hook:
    """One address of a receiver: what came to it, and what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Received] = []
        self.answer: Callable[[Received], Answer] = lambda _: OK
        self.answered_at_s: list[float] = []
        self.unanswered = 0

    def always(self, answer: Answer) -> Self:
        """Answer every request so from now on."""
        self.answer = lambda _: answer
        return self

    def script(self, *answers: Answer) -> Self:
        """Give these answers, one to each request from now on; the last one stays."""
        turns, place = list(answers), count()
        self.answer = lambda _: turns[min(next(place), len(turns) - 1)]
        return self

    @property
    def ids(self) -> list[str]:
        """Return the `webhook-id` of each request, in order of arrival."""
        return [request.id for request in list(self.requests)]

    @property
    def counted(self) -> Counter[str]:
        """Return how often each `webhook-id` came."""
        return Counter(self.ids)

    @property
    def bodies(self) -> list[Any]:
        """Return the parsed bodies, in order of arrival."""
        return [request.json for request in list(self.requests)]

    def wait_for(self, number: int) -> list[Received]:
        """Wait until so many requests have come; return all that have."""
        eventually(lambda: len(self.requests) >= number, told=lambda: self._told(number))
        return list(self.requests)

    def wait_for_ids(self, ids: Collection[str]) -> None:
        """Wait until a request with each of these `webhook-id`s has come."""
        eventually(lambda: set(self.ids) >= set(ids), told=lambda: self._told(len(set(ids))))

    def _told(self, expected: int) -> str:
        return f"{self.url} got {len(self.requests)} requests with {len(set(self.ids))} ids, expected {expected}"

    @property
    def most_at_once(self) -> int:
        """Return how many requests were on the wire together at most."""
        return 1 + max((request.beside for request in list(self.requests)), default=-1)


class Receiver:
    """A listening socket of this process with any number of hooks. `port` 0 takes a free one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._hooks: dict[str, Hook] = {}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver")
        self._thread.start()
        self._listener = self._run(asyncio.start_server(self._connected, host, port, ssl=tls, limit=_HEAD_MAX))
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def hook(self, *, host: str = "127.0.0.1") -> Hook:
        """Return an address of its own."""
        path = f"/hook-{len(self._hooks) + 1}"
        scheme = "https" if self._tls else "http"
        return self._hooks.setdefault(path, Hook(f"{scheme}://{host}:{self.port}{path}"))

    def close(self) -> None:
        """Stop listening, drop all connections, and end the thread."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=30)

    async def _close(self) -> None:
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The other side is gone, or this one is closing.
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request and answer it; say whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        hook = self._hooks.get(path.partition("?")[0])
        if hook is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return True
        request = Received(method, path, headers, body, time.monotonic(), hook.unanswered)
        hook.unanswered += 1
        hook.requests.append(request)
        try:
            return await _give(hook.answer(request), reader, writer)
        finally:
            hook.unanswered -= 1
            hook.answered_at_s.append(time.monotonic())


async def _give(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    while answer.gate is not None and not answer.gate.is_set() and not reader.at_eof():  # noqa: ASYNC110  the story that opens the gate runs in another thread
        await asyncio.sleep(_GATE_PAUSE_S)
    if answer.is_reset:
        # Lingering for no time makes the kernel send RST instead of FIN.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if answer.raw is not None:
        await _trickle(answer.raw(), writer)
        return False
    fields = {"content-length": str(len(answer.body)), **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {answer.status} As scripted\r\n{lines}\r\n".encode("latin-1") + answer.body)
    await writer.drain()
    return True


async def _trickle(pieces: Sequence[bytes], writer: asyncio.StreamWriter) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
