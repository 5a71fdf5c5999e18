"""Stand between a process and its database, and cut the two off from each other, as a switch that loses power would.

Nobody is told: connections stay open, and nothing comes through any more. New ones are taken and never answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

CHUNK = 65_536


class Relay:
    """A port for each of some ports, and a thread that carries bytes between them."""

    def __init__(self, targets: Sequence[int], *, host: str = "127.0.0.1") -> None:
        self.host = host
        self._is_open = threading.Event()
        self._is_open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self._thread.start()
        self._servers = [self._run(asyncio.start_server(partial(self._taken, to), host, 0)) for to in targets]
        self.ports: list[int] = [server.sockets[0].getsockname()[1] for server in self._servers]

    def cut(self) -> None:
        """Let nothing through."""
        self._is_open.clear()

    def mend(self) -> None:
        """Let everything through that comes from now on; what was under way is lost, and so are its connections."""
        self._run(self._drop())
        self._is_open.set()

    def close(self) -> None:
        """End it."""
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.close)
        self._run(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _drop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _taken(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            await self._opened()
            there, back = await asyncio.open_connection("127.0.0.1", target)
            ends.append(back)
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # One side is gone, or all is to end.
        finally:
            self._tasks.discard(task)
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._opened()
            writer.write(data)
            await writer.drain()
        await self._opened()
        with suppress(OSError):
            writer.write_eof()

    async def _opened(self) -> None:
        while not self._is_open.is_set():  # noqa: ASYNC110  the test that mends it runs in another thread
            await asyncio.sleep(0.01)
