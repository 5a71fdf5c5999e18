"""Let lanes that wait for long take next to no memory: what they held is on disk, and is read again when they wake.

A dead receiver's lane sends a probe every few minutes, a paused one nothing. In between only its row is kept, with the
moment at which it wakes and the count of what has come for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.engine.opened import ended, never_sent, objects_of, opens_of, wait_s
from angarium.errors import StoreAway
from angarium.model.delivery import Key, Origin, Settled, State
from angarium.telemetry import STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from angarium.clock import Clock, Moment
    from angarium.engine.alarm import Alarm
    from angarium.engine.courier import Courier
    from angarium.engine.registry import Registry
    from angarium.engine.settler import Settler
    from angarium.model.delivery import LaneRow, Open
    from angarium.model.registry import Project
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

LONG_S = 5.0
"""A lane that has nothing to do for at least so long may sleep."""

_TURNS = 6
_AWAY_S = 0.5


class Sleeper:
    """A lane that sleeps, as its row says that it stands."""

    __slots__ = (
        "_row",
        "is_counted",
        "is_paused",
        "number",
        "opened",
        "probe_at",
        "project",
        "revision",
        "rows",
        "tenant",
        "wakes_at",
        "waking",
    )
    is_behind = True

    def __init__(self, courier: Courier) -> None:
        lane, subscription = courier.lane, courier.route.subscription
        self.number = lane.number
        self.project, self.tenant = subscription.project, subscription.tenant
        self.revision = subscription.revision
        self._row = lane.row()
        self.is_counted = True  # what waits for it is as its row on disk says
        self.is_paused = lane.is_paused
        self.probe_at = lane.breaker.probe_at if lane.breaker.is_open else 0.0
        self.rows = len(lane.opened)
        deliveries = lane.opened.deliveries.values()
        self.opened = sum(len(each.members) + 1 for each in deliveries if each.origin is Origin.LANE)
        self.wakes_at: float | None = None
        self.waking: asyncio.Task[Courier | None] | None = None

    @property
    def partition(self) -> int:
        """Return its partition."""
        return self._row.partition

    @property
    def backlog(self) -> int:
        """Return how many owed events are not settled."""
        return self._row.waiting + self.opened

    @property
    def failing_since_ms(self) -> int:
        """Return since when its receiver has been failing, 0 when it has not."""
        return self._row.failing_since_ms

    def row(self) -> LaneRow:
        """Return its durable state."""
        return self._row

    def count(self, offset: int) -> None:
        """Take note that one more owed event lies in the log."""
        if offset > self._row.counted_to:
            self._row = replace(self._row, waiting=self._row.waiting + 1, counted_to=offset)
            self.is_counted = False


class Dormitory:
    """The lanes that sleep. `make` makes a lane anew, `ready` lets it have its turn."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        settler: Settler,
        make: Callable[[Subscription, Project | None, int], Courier],
        ready: Callable[[Courier], None],
    ) -> None:
        self._store, self._clock, self._registry, self._settler = store, clock, registry, settler
        self._make, self._ready = make, ready
        self.asleep: dict[int, Sleeper] = {}
        self._ending: dict[asyncio.Task[None], int] = {}  # by what is ended of which partition
        self._turn = 0

    def put(self, couriers: Iterable[Courier], alarm: Alarm, now: Moment) -> list[Courier]:
        """Let those sleep that have nothing to do for long; return them."""
        put: list[Courier] = []
        for courier in couriers:
            if not _may_sleep(courier):
                continue
            at = courier.lane.wakes_at(now)
            if at is None or at > now.mono + LONG_S:
                alarm.forget(courier)
                sleeper = self.asleep[courier.lane.number] = Sleeper(courier)
                if at is not None:
                    alarm.set(sleeper, at)
                put.append(courier)
        return put

    def count(self, sleeper: Sleeper, offset: int, alarm: Alarm, now: Moment) -> None:
        """Take note that something has come for a sleeper: it wakes when its next probe is due, unless it is paused."""
        sleeper.count(offset)
        if not sleeper.is_paused:
            alarm.set(sleeper, max(now.mono, sleeper.probe_at))

    def wake(self, sleeper: Sleeper) -> asyncio.Task[Courier | None]:
        """Wake a lane; the task returns it, None when its subscription is no more."""
        if sleeper.waking is None:
            sleeper.waking = asyncio.get_running_loop().create_task(self._wake(sleeper))
        return sleeper.waking

    def note(self) -> None:
        """Write what has come for every sixth of those who sleep: what a crash forgets is counted anew from the log."""
        self._turn += 1
        for number, sleeper in self.asleep.items():
            if not sleeper.is_counted and (number + self._turn) % _TURNS == 0:
                sleeper.is_counted = True
                self._settler.lane(sleeper, is_urgent=False)

    def end(self, sleeper: Sleeper, state: State, *, last_offset: int, last_ms: int) -> None:
        """Settle all that a lane still owes at an offset: what waits as one range, its open deliveries once read."""
        row, now = sleeper.row(), self._clock.now()
        del self.asleep[sleeper.number]
        if row.waiting:
            key = Key(row.partition, last_offset, row.subscription, last_ms)
            range_ = Settled(key, state, now.wall_ms, first_offset=row.cursor + 1, count=row.waiting, reason="disabled")
            self._settler.settle(range_, closes=False)
        self._settler.lane_gone(sleeper.partition, sleeper.number)
        if sleeper.rows:
            task = asyncio.get_running_loop().create_task(self._end_opens(sleeper, state, last_offset))
            self._ending[task] = sleeper.partition
            task.add_done_callback(self._ending.pop)

    async def _end_opens(self, sleeper: Sleeper, state: State, last_offset: int) -> None:
        await self._settler.settle_all()
        rows = await self._opens(sleeper)
        now = self._clock.now()
        for row in rows:  # Not those of a lane that has come into being since.
            if row.key.last_offset < last_offset or row.origin is Origin.TEST:
                self._settler.settle(ended(row, state, "disabled", now), closes=True)

    async def _opens(self, sleeper: Sleeper) -> Sequence[Open]:
        while True:
            try:
                return await opens_of(self._store, sleeper.project, sleeper.number)
            except StoreAway as error:
                emit(STORE_FAILED, operation="end", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)

    async def close(self) -> None:
        """Wake nobody any more, and write what has come for those who sleep."""
        waking = [sleeper.waking for sleeper in self.asleep.values() if sleeper.waking is not None]
        for task in (*waking, *self._ending):
            task.cancel()
        await asyncio.gather(*waking, *self._ending, return_exceptions=True)
        for sleeper in self.asleep.values():
            self._settler.lane(sleeper)

    def of(self, partitions: Collection[int]) -> list[Sleeper]:
        """Return the lanes of some partitions that sleep."""
        return [sleeper for sleeper in self.asleep.values() if sleeper.partition in partitions]

    def hold(self, partitions: Collection[int], alarm: Alarm) -> None:
        """Wake none of these partitions by itself any more, and write what has come for them."""
        for sleeper in self.of(partitions):
            alarm.forget(sleeper)
            self._settler.lane(sleeper)

    def drop(self, partitions: Collection[int], alarm: Alarm) -> None:
        """Forget those of these partitions; one that is just waking finds that it is gone."""
        for sleeper in self.of(partitions):
            alarm.forget(sleeper)
            del self.asleep[sleeper.number]
        for task, partition in self._ending.items():
            if partition in partitions:
                task.cancel()

    async def _wake(self, sleeper: Sleeper) -> Courier | None:
        while True:
            try:
                return await self._read(sleeper)
            except StoreAway as error:
                emit(STORE_FAILED, operation="wake", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)

    async def _read(self, sleeper: Sleeper) -> Courier | None:
        await self._settler.settle_all()  # Else the store would not know yet what the lane has done last.
        rows = await opens_of(self._store, sleeper.project, sleeper.number) if sleeper.rows else []
        objects = await objects_of(self._store, rows)
        tenant = await self._registry.load(sleeper.project, sleeper.tenant)
        subscription, now = tenant.subscriptions.get(sleeper.number), self._clock.now()
        if self.asleep.get(sleeper.number) is not sleeper:
            return None  # It was ended meanwhile.
        del self.asleep[sleeper.number]  # From here on nothing is awaited.
        if subscription is None:
            self._forget(sleeper, now)
            return None
        courier = self._make(subscription, tenant.project, sleeper.row().counted_to + 1)
        courier.lane.restore(sleeper.row(), now)
        courier.lane.breaker.probe_at = sleeper.probe_at
        for row in rows:
            courier.lane.adopt(row, objects.get(row.key, ()), now, wait_s=wait_s(row, courier.route.policy, now))
        self._ready(courier)
        return courier

    def _forget(self, sleeper: Sleeper, now: Moment) -> None:
        """End the lane of a subscription that was deleted: what waits is cancelled, as one range."""
        if sleeper.row().waiting:
            self._settler.settle(never_sent(sleeper.row(), State.CANCELLED, "deleted", now), closes=False)
        self._settler.lane_gone(sleeper.partition, sleeper.number)


def _may_sleep(courier: Courier) -> bool:
    """Say whether a lane holds nothing that is not on disk, or about to be."""
    lane = courier.lane
    is_busy = courier.is_ready or courier.is_reading or courier.is_stopped
    return lane.is_behind and not (is_busy or lane.in_flight or lane.queue.held or lane.is_closed)
