"""Commit what stands in line, in groups, on a connection of its own.

What comes while a commit runs goes into the next, so groups grow with the load. Under load a line waits a little more,
for the size of a commit sets its cost; when it is idle it never waits. When a group fails for a reason of its own, each
of its parts is tried alone, once; when the connection is lost, all are told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import asyncpg

from angarium.errors import StoreAway
from angarium.store.postgres.appending import Moved
from angarium.store.postgres.connection import CLOSE_S, COMMIT_S, connect

if TYPE_CHECKING:
    from asyncio import Future

    from asyncpg import Connection

W = TypeVar("W")

WAITS_S = 0.001
"""How long a line waits for more at a time."""
WAITS = 3
"""How often it does, under load."""
PATIENCE_S = 0.5
"""How long publishes wait for a connection to be made anew."""
RESTS_S = 0.1
"""How long the next attempt is put off after one that failed."""


class Written(NamedTuple):
    """What a group has done: answers in order, an error among them where one is refused, and what has moved."""

    answers: Sequence[Any]
    moved: Mapping[int, Moved] = {}


class Link(Protocol):
    """A connection that a line writes on."""

    def lend(self) -> AbstractAsyncContextManager[Connection]:
        """Lend it for one group. One on which a group's end is unknown is given up."""

    async def close(self) -> None:
        """Let go of it."""


class Lasting:
    """A connection that is made anew whenever it is lost."""

    def __init__(self, dsn: str, *, rests_s: float = RESTS_S) -> None:
        self._dsn, self._rests_s = dsn, rests_s
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._tries_at = 0.0

    async def open(self) -> None:
        """Connect."""
        self._connection = await connect(self._dsn, command_s=COMMIT_S)

    async def _reopen(self) -> None:
        """Connect anew; `StoreAway` soon when that takes long, as with a machine that is gone. It is tried on.

        What failed is not tried again at once, so that a flood of publishes does not become one of connections.
        """
        loop = asyncio.get_running_loop()
        if self._connecting is None or (self._connecting.done() and loop.time() >= self._tries_at):
            self._connecting = loop.create_task(connect(self._dsn, command_s=COMMIT_S), name="angarium-connect")
            self._connecting.add_done_callback(self._rest)
        done, _ = await asyncio.wait([self._connecting], timeout=PATIENCE_S)
        if not done:
            raise StoreAway("the database has not let us in yet; repeat")
        self._connection = self._connecting.result()
        self._connecting = None

    def _rest(self, connecting: asyncio.Task[Connection]) -> None:
        if not connecting.cancelled() and connecting.exception() is not None:
            self._tries_at = asyncio.get_running_loop().time() + self._rests_s

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend it."""
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            await self._reopen()
        assert self._connection
        try:
            yield self._connection
        except StoreAway as error:
            if error.is_unknown:
                self._connection.terminate()  # Whether it is still the primary that is at its end is unknown too.
            raise

    async def close(self) -> None:
        """Let go of it."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._connection.close(timeout=CLOSE_S)


class Line(Generic[W]):
    """Works that wait to be written, and the task that writes them."""

    def __init__(
        self,
        link: Link,
        write: Callable[[Connection, Sequence[W]], Awaitable[Written]],
        told: Callable[[Mapping[int, Moved]], None],
        *,
        weigh: Callable[[W], int],
        weight_max: int,
    ) -> None:
        self._link = link
        self._write = write
        self._told = told
        self._weigh = weigh
        self._weight_max = weight_max
        self._waiting: deque[tuple[W, Future[Any]]] = deque()
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._last_size = 0

    def open(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="angarium-line")

    async def close(self) -> None:
        """Take nothing more, write what waits, and let go of the connection."""
        self._is_closing = True
        self._has_work.set()
        await self._task
        await self._link.close()

    def put(self, work: W) -> Future[Any]:
        """Have something written; the future has its answer."""
        future: Future[Any] = asyncio.get_running_loop().create_future()
        if self._is_closing:
            future.set_exception(StoreAway("the store is closed; open it again"))
        else:
            self._waiting.append((work, future))
            self._has_work.set()
        return future

    def refuse(self, error: StoreAway) -> None:
        """Tell all that wait that they are not written."""
        waiting, self._waiting = self._waiting, deque()
        self._tell([future for _, future in waiting], Written([error] * len(waiting)))

    async def _run(self) -> None:
        while self._waiting or not self._is_closing:
            if not self._waiting:
                self._last_size = 0
                self._has_work.clear()
                await self._has_work.wait()
                continue
            await self._gather()
            if group := self._take():  # All may have been refused meanwhile.
                self._last_size = len(group)
                await self._commit(group)

    async def _gather(self) -> None:
        """Wait a little for as many as came last time, while they keep coming."""
        await asyncio.sleep(0)  # Whoever else is about to put something in this turn of the loop.
        for _ in range(WAITS):
            count = len(self._waiting)
            if self._last_size <= 1 or count >= self._last_size or self._is_closing:
                return
            await asyncio.sleep(WAITS_S)
            if len(self._waiting) == count:
                return

    def _take(self) -> list[tuple[W, Future[Any]]]:
        group: list[tuple[W, Future[Any]]] = []
        weight = 0
        while self._waiting and (not group or weight + self._weigh(self._waiting[0][0]) <= self._weight_max):
            group.append(self._waiting.popleft())
            weight += self._weigh(group[-1][0])
        return group

    async def _commit(self, group: Sequence[tuple[W, Future[Any]]]) -> None:
        """Write a group in one transaction; when that fails for a reason of its own, each part in one of its own."""
        works, futures = [work for work, _ in group], [future for _, future in group]
        try:
            async with self._link.lend() as connection:
                written = await self._write(connection, works)
        except StoreAway as error:
            self._tell(futures, Written([error] * len(group)))
        except Exception as error:  # noqa: BLE001  whatever one part's fault is, the others are not to suffer from it
            if len(group) == 1:
                self._tell(futures, Written([error]))
            else:
                for each in group:
                    await self._commit([each])
        else:
            self._tell(futures, written)

    def _tell(self, futures: Sequence[Future[Any]], written: Written) -> None:
        for future, answer in zip(futures, written.answers, strict=True):
            if future.done():  # Nobody waits any more; it is written all the same.
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if written.moved:
            self._told(written.moved)
