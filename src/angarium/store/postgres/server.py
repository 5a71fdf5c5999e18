"""Connect to a server and share the connections: the part of the store that its other parts read and write through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from angarium.core.partitioning import partition_of
from angarium.errors import StoreAway
from angarium.store.contract import Publish, Receipt, Settlement
from angarium.store.owning import Alone, SoleOwner
from angarium.store.postgres.accepting import accept_all
from angarium.store.postgres.connection import committing, connect, connect_pool, writing
from angarium.store.postgres.line import Line, Written
from angarium.store.postgres.migrating import admit, migrate
from angarium.store.postgres.names import Names
from angarium.store.postgres.settling import settle_all, weigh
from angarium.store.postgres.statements import load_migrations
from angarium.store.postgres.transaction import Transaction
from angarium.store.postgres.waking import Waker

if TYPE_CHECKING:
    from asyncio import Future

    from angarium.store.postgres.statements import Connection


T = TypeVar("T")

COMMITTERS = 2
"""How many connections accept publishes, each for its share of the partitions."""
READERS = 4
"""How many connections read, and change the registry."""
WEIGHT_MAX = 4000
"""How many events a commit takes; a large one counts for as many as it has lots of `EVENT_BYTES`."""
EVENT_BYTES = 2048
ROWS_MAX = 5000
"""How many rows of flushes a commit takes."""
_COLLIDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.InvalidCachedStatementError)
TRIES = 3
"""How often a change is tried that collided with another, or with a new schema."""


class Server:
    """A store's connections while it is open, and what the event loop knows of it."""

    def __init__(self, dsn: str, *, committers: int = COMMITTERS, readers: int = READERS) -> None:
        self._dsn = dsn
        self._readers = readers
        self._committer_count = committers
        self._woken: list[Callable[[Mapping[int, int]], None]] = []
        self._raised: list[Callable[[Collection[int]], None]] = []
        self._changed: list[Callable[[], None]] = []
        self._owner = SoleOwner()
        self._alone = Alone()
        self._is_open = False

    async def open(self) -> None:
        """Connect, bring the schema up to date, and start to write and read.

        `StoreWrong` when the database is none of ours or newer than we are, `StoreAway` when it cannot be reached.
        """
        await self._prepare()
        self._names = Names()
        self._waker = Waker(self._dsn)
        for woken in self._woken:
            self._waker.listen(woken)
        self._committers = [self._committer() for _ in range(self._committer_count)]
        self._settler: Line[Settlement] = Line(
            self._dsn, self._settle, self._waker.told, weigh=weigh, weight_max=ROWS_MAX
        )
        async with AsyncExitStack() as opened:  # What was opened last is closed first.
            await self._waker.open()
            opened.push_async_callback(self._waker.close)
            self._pool = await connect_pool(self._dsn, size=self._readers)
            opened.push_async_callback(self._pool.close)
            await self._settler.open()
            opened.push_async_callback(self._settler.close)
            for committer in self._committers:
                await committer.open()
                opened.push_async_callback(committer.close)
            self._opened = opened.pop_all()
        self._is_open = True

    async def _prepare(self) -> None:
        connection = await connect(self._dsn)
        try:
            with writing():
                await migrate(connection, load_migrations())
                await admit(connection)
        finally:
            await connection.close(timeout=2)

    async def close(self) -> None:
        """Write what waits, and let go."""
        if self._is_open:
            self._is_open = False
            await self._opened.aclose()

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken` with partitions that have moved, and their heads."""
        self._woken.append(woken)
        if self._is_open:
            self._waker.listen(woken)

    def listen_registry(self, raised: Callable[[Collection[int]], None]) -> None:
        """Call `raised` with partitions whose registry counter has grown."""
        self._raised.append(raised)

    def listen_changes(self, changed: Callable[[], None]) -> None:
        """Call `changed` when another process has changed what all remember."""
        self._changed.append(changed)

    @property
    def owner(self) -> SoleOwner:
        """Return this process's share of the partitions."""
        return self._owner

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep all others from being inside of `alone` with the same name."""
        return self._alone.hold(name)

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Append a publish's events, or answer what its key answered before."""
        share = partition_of(publish.project, publish.events[0].tenant) if publish.events else 0
        return self._committers[share % len(self._committers)].put(publish)

    def settle(self, settlement: Settlement) -> Future[None]:
        """Write one flush, grouped with others that wait."""
        return self._settler.put(settlement)

    def _committer(self) -> Line[Publish]:
        return Line(
            self._dsn,
            self._accept,
            self._waker.told,
            weigh=_weigh,
            weight_max=WEIGHT_MAX,
        )

    async def _accept(self, connection: Connection, publishes: Sequence[Publish]) -> Written:
        return await accept_all(connection, self._names, publishes)

    async def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> Written:
        await settle_all(connection, self._names, settlements)
        return Written([None] * len(settlements))

    # -- for the other parts ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection]:
        """Lend a connection."""
        if not self._is_open:
            raise StoreAway("the store is closed; open it again")
        with writing():
            async with self._pool.acquire() as connection:
                yield connection

    async def _change(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run something in a transaction, and tell who listens; it may be run again when it and another collided."""
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._change_once(run)
            except _COLLIDED as error:
                if not tries_left:
                    raise StoreAway(f"others changed the same at once, {TRIES} times ({error}); try again") from error
        raise AssertionError

    async def _change_once(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._reading() as connection:
            transaction = Transaction(connection, self._names)
            async with committing(connection):
                answer = await run(transaction)
        if transaction.moved:
            self._waker.told(transaction.moved)
        return answer


def _weigh(publish: Publish) -> int:
    return sum([1 + len(event.data) // EVENT_BYTES for event in publish.events])
