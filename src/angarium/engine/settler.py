"""Write what became of deliveries, many in one transaction every few milliseconds.

What is added between two flushes goes together, with the cursors of the lanes that it moved and the watermarks. While
the store is away everything is kept and written later; nothing is ever written twice in parallel. What is dropped,
because its partition is others' now, is not written any more.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from angarium.errors import OwnershipLost, StoreAway
from angarium.store.contract import Settlement
from angarium.telemetry import STORE_FAILED, STORE_RECOVERED, emit

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection, Mapping

    from angarium.core.lane import Lane
    from angarium.engine.sleeping import Sleeper
    from angarium.model.delivery import Attempt, Key, Open, Settled
    from angarium.store.contract import Store

    Row = Lane | Sleeper

REST_S = 0.004
LAZY_S = 1.0
AWAY_S = 0.5
PENDING_MAX = 20_000


class Settler:
    """Gather what is to be written, and write it; `watermarks` tells those that have moved at each flush.

    `lost` is called when the store takes nothing of some partitions, which are to be dropped before it is tried again.

    `unsettled` counts the ends of deliveries that are not on disk yet: after a crash these are sent again.
    """

    def __init__(
        self,
        store: Store,
        *,
        watermarks: Callable[[], Mapping[int, int]],
        flushed: Callable[[Settlement], None],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._watermarks, self._flushed, self._lost = store, watermarks, flushed, lost
        self._settled: list[Settled] = []
        self._attempts: list[Attempt] = []
        self._opened: dict[Key, Open] = {}
        self._closed: set[Key] = set()
        self._lanes: dict[int, Row] = {}
        self._gone: set[tuple[int, int]] = set()
        self._after: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lazy: asyncio.TimerHandle | None = None
        self._writing: Settlement | None = None
        self._written_after: list[Callable[[], None]] = []
        self._dropped: set[int] = set()  # since what is being written was gathered
        self._away_since: float | None = None
        self._is_touched = False  # while something was being written
        self.unsettled = 0
        self.rows = 0

    @property
    def has_room(self) -> bool:
        """Say whether more may be added; the store is keeping up."""
        return len(self._settled) + len(self._opened) < PENDING_MAX

    @property
    def is_away(self) -> bool:
        """Say whether the last write failed."""
        return self._away_since is not None

    # -- what is to be written --------------------------------------------------------------------------------------

    def settle(self, settled: Settled, *, closes: bool) -> None:
        """Record how a delivery ended, and delete its row when it has one."""
        self._settled.append(settled)
        self.unsettled += 1
        if closes:
            self._opened.pop(settled.key, None)
            self._closed.add(settled.key)
        self._kick()

    def open(self, row: Open) -> None:
        """Write an open delivery's row."""
        self._opened[row.key] = row
        self._kick()

    def opened(self, key: Key) -> Open | None:
        """Return a row that may not have been written yet."""
        if key in self._opened:
            return self._opened[key]
        waiting = self._writing.opened if self._writing is not None else ()
        return next((row for row in waiting if row.key == key), None)

    def erase(self, key: Key) -> None:
        """Delete an open delivery's row without a record."""
        self._opened.pop(key, None)
        self._closed.add(key)
        self._kick()

    def attempt(self, attempt: Attempt) -> None:
        """Record a failed attempt."""
        self._attempts.append(attempt)
        self._kick()

    def lane(self, lane: Row, *, is_urgent: bool = True) -> None:
        """Write a behind lane's row as it stands at the flush."""
        self._gone.discard((lane.partition, lane.number))
        self._lanes[lane.number] = lane
        if is_urgent:
            self._kick()
        else:
            self.touch()

    def lane_gone(self, partition: int, number: int) -> None:
        """Delete a lane's row."""
        self._lanes.pop(number, None)
        self._gone.add((partition, number))
        self._kick()

    def touch(self) -> None:
        """See to it that watermarks are written in a while, when nothing else is."""
        if self._writing is not None:
            self._is_touched = True
        elif self._timer is None and self._lazy is None:
            self._lazy = asyncio.get_running_loop().call_later(LAZY_S, self._flush)

    def after(self, done: Callable[[], None]) -> None:
        """Call `done` once all that has been added so far is written."""
        self._after.append(done)
        self._kick()

    def is_closing(self, key: Key) -> bool:
        """Say whether a delivery's row is to be deleted, and may be there still."""
        return key in self._closed or (self._writing is not None and key in self._writing.closed)

    def drop(self, partitions: Collection[int]) -> None:
        """Write nothing more of these partitions."""
        kept = [each for each in self._settled if each.key.partition not in partitions]
        self.unsettled -= len(self._settled) - len(kept)
        self._settled = kept
        self._attempts = [each for each in self._attempts if each.key.partition not in partitions]
        self._opened = {key: row for key, row in self._opened.items() if key.partition not in partitions}
        self._closed = {key for key in self._closed if key.partition not in partitions}
        self._lanes = {number: row for number, row in self._lanes.items() if row.partition not in partitions}
        self._gone = {(partition, number) for partition, number in self._gone if partition not in partitions}
        if self._writing is not None:
            self._dropped.update(partitions)

    async def settle_all(self) -> None:
        """Wait until everything that was added is written."""
        future: Future[None] = asyncio.get_running_loop().create_future()
        self.after(partial(_finish, future))
        await future

    # -- writing ----------------------------------------------------------------------------------------------------

    def _kick(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(REST_S, self._flush)

    def _flush(self) -> None:
        for timer in (self._timer, self._lazy):
            if timer is not None:
                timer.cancel()
        self._timer = self._lazy = None
        if self._writing is None:
            self._writing, self._written_after = self._gather(), self._after
            self._after = []
            if _is_empty(self._writing):
                asyncio.get_running_loop().call_soon(self._is_written)  # The store, or our share of it, may be gone.
            else:
                self._write()

    def _gather(self) -> Settlement:
        settlement = Settlement(
            self._settled,
            self._attempts,
            list(self._opened.values()),
            list(self._closed),
            [lane.row() for lane in self._lanes.values() if lane.is_behind],
            list(self._gone),
            self._watermarks(),
        )
        self._settled, self._attempts, self._opened, self._closed = [], [], {}, set()
        self._lanes, self._gone = {}, set()
        return settlement

    def _write(self) -> None:
        assert self._writing is not None, "what is written is kept until it is"
        self._store.settle(self._writing).add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            self._is_away(error)
        else:
            self._is_written()

    def _is_written(self) -> None:
        if self._away_since is not None:
            away_s = asyncio.get_running_loop().time() - self._away_since
            emit(STORE_RECOVERED, operation="settle", away_ms=int(away_s * 1000))
            self._away_since = None
        written, after = self._writing, self._written_after
        assert written is not None, "what was written was kept"
        self.rows += len(written.settled)
        self.unsettled -= len(written.settled)
        self._writing, self._written_after = None, []
        self._dropped.clear()
        was_touched, self._is_touched = self._is_touched, False
        if self._settled or self._opened or self._closed or self._lanes or self._gone or self._after or self._attempts:
            self._kick()
        elif was_touched:
            self.touch()
        self._flushed(written)
        for done in after:
            done()

    def _is_away(self, error: BaseException) -> None:
        """Write the same again in a while: keys make that safe even when it had been written."""
        loop = asyncio.get_running_loop()
        if self._away_since is None:
            self._away_since = loop.time()
            pause_ms = int(AWAY_S * 1000)
            detail = str(error) if isinstance(error, StoreAway) else repr(error)
            emit(STORE_FAILED, operation="settle", detail=detail, pause_ms=pause_ms)
        self._timer = loop.call_later(AWAY_S, self._again)
        if isinstance(error, OwnershipLost):
            self._lost()

    def _again(self) -> None:
        self._timer = None
        assert self._writing is not None, "what is written is kept until it is"
        if self._dropped:
            kept = _without(self._writing, self._dropped)
            self.unsettled -= len(self._writing.settled) - len(kept.settled)
            self._writing = kept
            if _is_empty(kept):
                self._away_since = None  # Whether the store is back will be seen.
                self._is_written()
                return
        self._write()


def _without(settlement: Settlement, partitions: Collection[int]) -> Settlement:
    return Settlement(
        [each for each in settlement.settled if each.key.partition not in partitions],
        [each for each in settlement.attempts if each.key.partition not in partitions],
        [row for row in settlement.opened if row.key.partition not in partitions],
        [key for key in settlement.closed if key.partition not in partitions],
        [row for row in settlement.lanes if row.partition not in partitions],
        [(partition, number) for partition, number in settlement.lanes_gone if partition not in partitions],
        {partition: mark for partition, mark in settlement.watermarks.items() if partition not in partitions},
    )


def _is_empty(settlement: Settlement) -> bool:
    rows = settlement.settled or settlement.attempts or settlement.opened or settlement.closed
    return not (rows or settlement.lanes or settlement.lanes_gone or settlement.watermarks)


def _finish(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
