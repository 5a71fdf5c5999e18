"""Write: one thread takes whatever waits, commits it at once, and tells the event loop of it in one call.

What comes while a commit runs goes into the next. One begins as soon as a turn of the loop brings nothing more: while
the loop is busy groups grow, for `GATHERS_S` at most, and nobody waits on an idle machine. A commit takes waiting
publishes first, then flushes and changes of the registry in the order in which they came, up to
`ROWS_MAX` rows. Between commits there is indexing, when there is enough to index, and checkpoints, when the write-ahead
log has grown or there is nothing else to do.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import apsw
from msgspec import Struct

from angarium.errors import AngariumError, StoreAway
from angarium.store.contract import Publish, Receipt, Settlement
from angarium.store.sqlite.accepting import accept_all
from angarium.store.sqlite.connection import PAGE_BYTES, ends_trust, translated
from angarium.store.sqlite.transaction import Transaction

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Iterable, Sequence

    from angarium.store.sqlite.ledger import Ledger

T = TypeVar("T")

EVENTS_MAX = 4000
"""How many events a commit takes."""
ROWS_MAX = 2000
"""How many rows of flushes and changes a commit takes, besides publishes."""
GATHERS_S = 0.003
"""How long a group grows while each turn of the loop brings more of it."""
GATHERED_MAX = 256
"""How many publishes and flushes together wait no longer: to wait for more would save nothing."""
UNINDEXED_MAX = 4096
"""How many rows wait for an index, unless it is told otherwise. Small lots would make many of them, and lists slow."""
WAL_PAGES_MAX = 8 * 1024 * 1024 // PAGE_BYTES
"""How many pages the write-ahead log may hold before the writer moves them into the file."""
RESTS_S = 0.5
"""After how long with nothing to do the writer makes a checkpoint."""


class Change(Struct):
    """Something else than a publish or a flush: what writes it, and how many rows that may be.

    It says that it cannot be done, by an `AngariumError`, before it writes anything.
    """

    run: Callable[[Transaction], Any]
    rows: int = 20
    needs_index: bool = False


class Answer(NamedTuple):
    """What is to be told to whom."""

    future: Future[Any]
    value: Any
    error: BaseException | None = None


class Committed(NamedTuple):
    """What a commit has done, for the event loop: answers in order, and what has moved."""

    answers: Sequence[Answer]
    moved: dict[int, int]
    transaction: Transaction | None


Waiting = tuple[Settlement | Change, "Future[Any]"]


class Writer:
    """The thread that writes. `accept`, `settle` and `change` are called on the event loop and never block it."""

    def __init__(
        self,
        connection: apsw.Connection,
        ledger: Ledger,
        loop: AbstractEventLoop,
        told: Callable[[Committed], None],
        unindexed_max: int,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._loop = loop
        self._told = told
        self._unindexed_max = unindexed_max
        self._publishes: deque[tuple[Publish, Future[Receipt]]] = deque()
        self._works: deque[Waiting] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_gathering = False
        self._is_writing = False
        self._gathered = 0
        self._begins_at = 0.0
        self._is_closing = False
        self._broken: str = ""
        self._wal_pages = 0
        self._checkpoint_at = WAL_PAGES_MAX
        self._thread = threading.Thread(target=self._run, name="angarium-writer", daemon=True)
        connection.set_wal_hook(self._count_wal)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def join(self) -> None:
        """Wait until what waits has been written. Blocks."""
        self._thread.join()

    # -- on the event loop ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take nothing more, and end when what waits has been written."""
        self._is_closing = True
        self._wake.put(None)

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Have a publish written."""
        future: Future[Receipt] = self._loop.create_future()
        if self._is_closing:
            future.set_exception(StoreAway("the store is closed; open it again"))
        else:
            self._publishes.append((publish, future))
            self._rouse()
        return future

    def settle(self, settlement: Settlement) -> Future[None]:
        """Have a flush written."""
        return self._have(settlement)

    def change(self, change: Change) -> Future[Any]:
        """Have something else written."""
        return self._have(change)

    def _have(self, work: Settlement | Change) -> Future[Any]:
        future: Future[Any] = self._loop.create_future()
        if self._is_closing:
            future.set_exception(StoreAway("the store is closed; open it again"))
        else:
            self._works.append((work, future))
            self._rouse()
        return future

    def _rouse(self) -> None:
        """Have a group written soon, if none is being written or gathered."""
        if not (self._is_writing or self._is_gathering):
            self._is_gathering = True
            self._gathered, self._begins_at = 0, self._loop.time() + GATHERS_S
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Let the writer begin once a turn of the loop has brought nothing more, or it is time."""
        count = len(self._publishes) + len(self._works)
        if self._gathered < count < GATHERED_MAX and self._loop.time() < self._begins_at:
            self._gathered = count
            self._loop.call_soon(self._gather)
        else:
            self._is_gathering, self._is_writing = False, True
            self._wake.put(None)

    def _written(self) -> None:
        """Take note that the writer is free for the next group."""
        self._is_writing = False
        if self._publishes or self._works:
            self._rouse()

    # -- on the writer's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closing:
            if self._is_woken():
                self._step()
        while self._publishes or self._works:
            self._step()

    def _step(self) -> None:
        """Commit one group, and tell of it."""
        publishes, works = self._take()
        self._tell(self._commit(publishes, works))
        if self._ledger.unindexed_count >= self._unindexed_max:
            self._guard(self._index)
        if self._wal_pages >= self._checkpoint_at:
            self._guard(self._checkpoint)

    def _is_woken(self) -> bool:
        """Sleep until there is a group to write; make a checkpoint when there is none for a while."""
        try:
            self._wake.get(timeout=RESTS_S if self._wal_pages and not self._broken else None)
        except Empty:
            self._guard(self._checkpoint)
            return False
        return True

    def _take(self) -> tuple[list[tuple[Publish, Future[Receipt]]], list[Waiting]]:
        publishes, events = [], 0
        while self._publishes and events < EVENTS_MAX:
            publishes.append(self._publishes.popleft())
            events += len(publishes[-1][0].events)
        works: list[Waiting] = []
        rows = 0
        while self._works and (not works or rows + _rows(self._works[0][0]) <= ROWS_MAX):
            works.append(self._works.popleft())
            rows += _rows(works[-1][0])
        return publishes, works

    def _commit(
        self, publishes: Sequence[tuple[Publish, Future[Receipt]]], works: Sequence[Waiting]
    ) -> list[Committed]:
        """Write a group in one transaction; when that fails for a reason of its own, each part in one of its own."""
        futures = [future for _, future in (*publishes, *works)]
        if self._broken:
            return [_refused(futures, StoreAway(self._broken))]
        try:
            if any(isinstance(work, Change) and work.needs_index for work, _ in works):
                self._index()
            return [self._write(publishes, works)]
        except StoreAway as error:
            return [_refused(futures, error)]
        except Exception as error:  # noqa: BLE001  whatever one part's fault is, the others are not to suffer from it
            if len(futures) == 1:
                return [_refused(futures, error)]
            alone = [self._commit([each], []) for each in publishes] + [self._commit([], [each]) for each in works]
            return [committed for each in alone for committed in each]

    def _write(self, publishes: Sequence[tuple[Publish, Future[Receipt]]], works: Sequence[Waiting]) -> Committed:
        """Write a group in one transaction, or nothing of it."""
        transaction = Transaction(self._connection, self._ledger)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            receipts = accept_all(transaction, [publish for publish, _ in publishes])
            answers = [
                Answer(future, None, receipt) if isinstance(receipt, AngariumError) else Answer(future, receipt)
                for (_, future), receipt in zip(publishes, receipts, strict=True)
            ]
            answers += [_done(transaction, work, future) for work, future in works]
            transaction.flush()
        except BaseException as error:
            self._roll_back()
            self._raise_known(error)
            raise
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            self._raise_known(error, at_commit=True)
            raise
        transaction.committed()
        return Committed(answers, transaction.moved, transaction)

    def _roll_back(self) -> None:
        self._ledger.forget()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._broken = f"a failed transaction could not be taken back ({error}); start again"

    def _raise_known(self, error: BaseException, *, at_commit: bool = False) -> None:
        """Raise our own error for one of SQLite's, if we have one; write no more after one that ends trust."""
        if not isinstance(error, apsw.Error):
            return
        if ends_trust(error):
            self._broken = f"the disk failed ({error}); nothing is written until the program was started again"
        known = translated(error, at_commit=at_commit)
        if known is not error:
            raise known from error

    def _tell(self, told: Iterable[Committed]) -> None:
        with suppress(RuntimeError):  # The loop was closed before the store: there is nobody left to tell.
            for committed in told:
                self._loop.call_soon_threadsafe(self._told, committed)
            self._loop.call_soon_threadsafe(self._written)

    # -- tidying ----------------------------------------------------------------------------------------------------

    def _guard(self, act: Callable[[], None]) -> None:
        """Do something that nobody waits for. What fails for want of room is tried again at the next occasion."""
        if self._broken:
            return
        try:
            act()
        except StoreAway:
            self._checkpoint_at = self._wal_pages + WAL_PAGES_MAX
        except Exception as error:  # noqa: BLE001  the thread must live to say so to whoever writes next
            self._broken = f"the file could not be tidied up ({error!r}); start again"

    def _index(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._ledger.index()
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            self._raise_known(error)
            raise
        self._ledger.indexed()

    def _checkpoint(self) -> None:
        try:
            held, moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._raise_known(error)
            raise
        if held == moved:
            self._wal_pages, self._checkpoint_at = 0, WAL_PAGES_MAX
        else:  # A reader of an older state holds the rest back.
            self._checkpoint_at = self._wal_pages + WAL_PAGES_MAX

    def _count_wal(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK


def _done(transaction: Transaction, work: Settlement | Change, future: Future[Any]) -> Answer:
    """Do a piece of work inside a transaction."""
    if isinstance(work, Settlement):
        transaction.settle(work)
        return Answer(future, None)
    transaction.flush()  # A change may read what was gathered before it.
    try:
        return Answer(future, work.run(transaction))
    except StoreAway:
        raise
    except AngariumError as error:
        return Answer(future, None, error)


def _refused(futures: Sequence[Future[Any]], error: BaseException) -> Committed:
    return Committed([Answer(future, None, error) for future in futures], {}, None)


def _rows(work: Settlement | Change) -> int:
    if isinstance(work, Change):
        return work.rows
    return (
        len(work.settled)
        + len(work.attempts)
        + len(work.opened)
        + len(work.closed)
        + len(work.lanes)
        + len(work.lanes_gone)
        + len(work.watermarks)
    )
