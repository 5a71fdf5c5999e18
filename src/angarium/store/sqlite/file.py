"""Open a file and hold it: the part of the store that its other parts read and write through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import apsw

from angarium.errors import StoreAway
from angarium.store.owning import Alone, SoleOwner
from angarium.store.sqlite.connection import connect_writer, translated
from angarium.store.sqlite.ledger import Ledger
from angarium.store.sqlite.migrating import admit, migrate
from angarium.store.sqlite.ownership import Ownership
from angarium.store.sqlite.readers import Readers
from angarium.store.sqlite.statements import load_migrations
from angarium.store.sqlite.writer import UNINDEXED_MAX, Change, Writer

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from angarium.store.sqlite.transaction import Transaction
    from angarium.store.sqlite.writer import Committed

T = TypeVar("T")


class File:
    """A store's file while it is open: its owner's lock, writer, readers, and what the event loop knows of it."""

    def __init__(self, path: Path, *, unindexed_max: int = UNINDEXED_MAX) -> None:
        self._path = path
        self._unindexed_max = unindexed_max
        self._ownership = Ownership(path)
        self._owner = SoleOwner()
        self._alone = Alone()
        self._woken: list[Callable[[Mapping[int, int]], None]] = []
        self._raised: list[Callable[[Collection[int]], None]] = []
        self._heads: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        self._registry: dict[int, int] = {}
        self._is_open = False

    async def open(self) -> None:
        """Take the file, bring its schema up to date, and start to write and read.

        `StoreInUse` when another process has it, `StoreWrong` when it is none of ours or newer than we are,
        `StoreDamaged` when entries are missing from its log, `StoreAway` when it cannot be opened.
        """
        await asyncio.to_thread(self._prepare)
        self._heads = dict(self._ledger.heads)
        self._floors = dict(self._ledger.floors)
        self._registry = dict(self._ledger.registry)
        self._readers = Readers(self._path)
        loop = asyncio.get_running_loop()
        self._writer = Writer(self._connection, self._ledger, loop, self._told, self._unindexed_max)
        self._writer.start()
        self._is_open = True

    def _prepare(self) -> None:
        self._ownership.take()
        try:
            self._connection = connect_writer(self._path)
            try:
                migrate(self._connection, load_migrations())
                admit(self._connection)
                self._ledger = Ledger(self._connection)
                self._ledger.load()
                # What a crash has left in the write-ahead log is written anew, and flushed, before anything follows it.
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except BaseException:
                self._connection.close()
                raise
        except apsw.Error as error:
            self._ownership.release()
            raise translated(error) from error
        except BaseException:
            self._ownership.release()
            raise

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        if self._is_open:
            self._is_open = False
            self._writer.stop()
            await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._writer.join()
        self._readers.close()
        self._connection.close()
        self._ownership.release()

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken` with partitions that have moved, and their heads."""
        self._woken.append(woken)

    def listen_registry(self, raised: Callable[[Collection[int]], None]) -> None:
        """Call `raised` with partitions whose registry counter has grown."""
        self._raised.append(raised)

    def _told(self, committed: Committed) -> None:
        """Take note of a commit, and answer those who waited for it."""
        if committed.transaction is not None:
            self._heads |= committed.transaction.heads
            self._floors |= committed.transaction.floors
            self._registry |= committed.transaction.registry
        for future, value, error in committed.answers:
            if future.done():  # Nobody waits any more; it is written all the same.
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        if committed.transaction is not None and committed.transaction.registry:
            for raised in self._raised:
                raised(committed.transaction.registry.keys())
        if committed.moved:
            for woken in self._woken:
                woken(committed.moved)

    # -- for the other parts ----------------------------------------------------------------------------------------

    async def _read(self, run: Callable[[apsw.Connection], T]) -> T:
        if not self._is_open:
            raise StoreAway("the store is closed; open it again")
        return await self._readers.read(run)

    async def _change(self, run: Callable[[Transaction], T], *, rows: int = 20, needs_index: bool = False) -> T:
        changed: Future[T] = self._writer.change(Change(run, rows, needs_index))
        return await changed
