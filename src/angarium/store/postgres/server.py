"""Connect to a server and share the connections: the part of the store that its other parts read and write through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from angarium.core.partitioning import partition_of
from angarium.errors import OwnershipLost, StoreAway
from angarium.store.contract import Publish, Receipt, Settlement
from angarium.store.postgres.accepting import accept_all
from angarium.store.postgres.connection import committing, connect, connect_pool, writing
from angarium.store.postgres.days import Days, make_days
from angarium.store.postgres.excluding import Excluding
from angarium.store.postgres.fencing import Session, boottime
from angarium.store.postgres.line import Lasting, Line, Written
from angarium.store.postgres.migrating import admit, migrate
from angarium.store.postgres.names import Names
from angarium.store.postgres.owning import SharingOwner
from angarium.store.postgres.settling import settle_all, weigh
from angarium.store.postgres.statements import load_migrations
from angarium.store.postgres.transaction import Transaction
from angarium.store.postgres.waking import Listeners, Waker

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

    def __init__(
        self,
        dsn: str,
        *,
        committers: int = COMMITTERS,
        readers: int = READERS,
        now: Callable[[], float] = boottime,
    ) -> None:
        self._dsn = dsn
        self._readers = readers
        self._committer_count = committers
        self._listeners = Listeners()
        self._session = Session(dsn, now=now)
        self._owner = SharingOwner(self._session, self._flushed)
        self._session.when_ended(self._refuse)
        self._excluding = Excluding(dsn)
        self._is_open = False

    async def open(self) -> None:
        """Connect, bring the schema up to date, and start to write and read.

        `StoreWrong` when the database is none of ours or newer than we are, `StoreAway` when it cannot be reached.
        """
        await self._prepare()
        self._names = Names()
        self._days = Days()
        self._waker = Waker(self._dsn, self._listeners)
        self._settler: Line[Settlement] = Line(
            self._session, self._settle, self._waker.told, weigh=weigh, weight_max=ROWS_MAX
        )
        self._committers: list[Line[Publish]] = []
        async with AsyncExitStack() as opened:  # What was opened last is closed first.
            await self._waker.open()
            opened.push_async_callback(self._waker.close)
            self._pool = await connect_pool(self._dsn, size=self._readers)
            opened.push_async_callback(self._pool.close)
            await self._excluding.open()
            opened.push_async_callback(self._excluding.close)
            self._settler.open()
            opened.push_async_callback(self._settler.close)
            for _ in range(self._committer_count):
                self._committers.append(await self._committer())
                opened.push_async_callback(self._committers[-1].close)
            self._opened = opened.pop_all()
        self._is_open = True

    async def _prepare(self) -> None:
        connection = await connect(self._dsn)
        try:
            with writing():
                await migrate(connection, load_migrations())
                await admit(connection)
                await make_days(connection)
        finally:
            await connection.close(timeout=2)

    async def close(self) -> None:
        """Write what waits, and let go."""
        if self._is_open:
            self._is_open = False
            await self._opened.aclose()

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken` with partitions that have moved, and their heads."""
        self._listeners.woken.append(woken)

    def listen_registry(self, raised: Callable[[Collection[int]], None]) -> None:
        """Call `raised` with partitions whose registry counter has grown."""
        self._listeners.raised.append(raised)

    def listen_changes(self, changed: Callable[[], None]) -> None:
        """Call `changed` when another process has changed what all remember."""
        self._listeners.changed.append(changed)

    def say(self, words: str) -> None:
        """Say something to the other processes, soon."""
        if self._is_open:
            self._waker.say(words)

    def listen_said(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with what other processes say."""
        self._listeners.heard.append(heard)

    @property
    def owner(self) -> SharingOwner:
        """Return this process's share of the partitions."""
        return self._owner

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep all others from being inside of `alone` with the same name."""
        return self._excluding.hold(name)

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Append a publish's events, or answer what its key answered before."""
        share = partition_of(publish.project, publish.events[0].tenant) if publish.events else 0
        return self._committers[share % len(self._committers)].put(publish)

    def settle(self, settlement: Settlement) -> Future[None]:
        """Write one flush, grouped with others that wait."""
        return self._settler.put(settlement)

    async def _flushed(self) -> None:
        """Wait until what was to be settled by now is."""
        await self._settler.put(Settlement())

    def _refuse(self) -> None:
        if self._is_open:
            self._settler.refuse(OwnershipLost("all partitions were lost before this was written; drop them"))

    async def _committer(self) -> Line[Publish]:
        link = Lasting(self._dsn)
        await link.open()
        made = Line(link, self._accept, self._waker.told, weigh=_weigh, weight_max=WEIGHT_MAX)
        made.open()
        return made

    async def _accept(self, connection: Connection, publishes: Sequence[Publish]) -> Written:
        return await accept_all(connection, self._names, publishes)

    async def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> Written:
        began_at = self._session.now()
        answers = [self._owner.refusal(settlement) for settlement in settlements]
        owned = [each for each, refusal in zip(settlements, answers, strict=True) if refusal is None]
        if await _insisting(lambda: settle_all(connection, self._names, owned)):
            self._session.acknowledged(began_at)
        return Written(answers)

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
        return await _insisting(lambda: self._change_once(run))

    async def _change_once(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._reading() as connection:
            transaction = Transaction(connection, self._names)
            async with committing(connection):
                answer = await run(transaction)
        if transaction.moved:
            self._waker.told(transaction.moved)
        if transaction.change:
            self._waker.changed(transaction.change)
        return answer


async def _insisting(run: Callable[[], Awaitable[T]]) -> T:
    """Run something until it does not collide with what others do."""
    for tries_left in reversed(range(TRIES)):
        try:
            return await run()
        except _COLLIDED as error:
            if not tries_left:
                raise StoreAway(f"others changed the same at once, {TRIES} times ({error}); try again") from error
    raise AssertionError


def _weigh(publish: Publish) -> int:
    return sum([1 + len(event.data) // EVENT_BYTES for event in publish.events])
