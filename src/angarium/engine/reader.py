"""Read the log on for lanes that are behind, until they have caught up with the tail."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.engine.catchup import PAGE
from angarium.errors import StoreAway
from angarium.model.delivery import Key, Settled, State
from angarium.model.subscription import Owed
from angarium.telemetry import DELIVERY_EXHAUSTED, ENGINE_FAILED, STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from angarium.clock import Clock
    from angarium.engine.catchup import CatchUp
    from angarium.engine.courier import Courier
    from angarium.engine.registry import Registry, TenantSubscriptions
    from angarium.engine.ring import Ring
    from angarium.engine.settler import Settler
    from angarium.model.event import Entry

AWAY_S = 0.5
FEW = 8
"""How many entries are read at first: a probe needs one event, and a dead receiver costs its probes only."""

_REASONS = {State.EXHAUSTED: "lifetime", State.EXPIRED: "retention"}


class _Range(Struct):
    """Owed events that were looked at one after the other."""

    first: int = 0
    last: int = 0
    last_ms: int = 0
    count: int = 0
    scanned_to: int = 0


class Reader:
    """Reads for one lane at a time, each lane once at a time; `ready` is called when a lane may have more to send."""

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        *,
        clock: Clock,
        registry: Registry,
        catchup: CatchUp,
        ring: Ring,
        settler: Settler,
        position: Callable[[int], int],
        ready: Callable[[Courier], None],
        held_max: int,
    ) -> None:
        self._clock, self._registry, self._catchup = clock, registry, catchup
        self._ring, self._settler, self._position, self._ready = ring, settler, position, ready
        self._held_max = held_max
        self._tasks: set[asyncio.Task[None]] = set()

    def read(self, courier: Courier) -> None:
        """Read on for a lane; it joins the live ones when it has come to the tail."""
        self._begin(courier, partial(self._read, courier))

    def expire(self, courier: Courier, before_ms: int, state: State) -> None:
        """Settle, as one range, what was accepted before a moment and waits from the lane's cursor on."""
        self._begin(courier, partial(self._expire, courier, before_ms, state))

    async def close(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, courier: Courier, work: Callable[[], Awaitable[None]]) -> None:
        courier.is_reading = True
        task = asyncio.get_running_loop().create_task(self._guarded(courier, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, courier: Courier, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreAway as error:
            emit(STORE_FAILED, operation="read_tenant", detail=str(error), pause_ms=int(AWAY_S * 1000))
            await asyncio.sleep(AWAY_S)
        except Exception as error:  # noqa: BLE001  one lane's fault is not its neighbours'
            emit(ENGINE_FAILED, part="reader", subscription=courier.route.subscription.id, error=error)
            await asyncio.sleep(AWAY_S)
        courier.is_reading = False
        self._ready(courier)

    async def _read(self, courier: Courier) -> None:
        lane, subscription = courier.lane, courier.route.subscription
        limit = FEW
        while (wanted := lane.reads(self._clock.now())) > 0:
            after = lane.progress.read_to
            tenant = await self._registry.load(subscription.project, subscription.tenant)
            limit = min(max(limit, 2 * wanted), PAGE)
            page = await self._catchup.read(subscription.project, subscription.tenant, after=after, limit=limit)
            limit *= 4  # What is wanted seems to be rare.
            now = self._clock.now()
            wanted = lane.reads(now)
            if not wanted or lane.progress.read_to != after:
                return  # It was paused, closed or read otherwise meanwhile.
            end = min(page.scanned_to, self._position(lane.partition))
            owed = _owed(tenant, lane.number, page.entries, end)
            if len(owed) > wanted:
                owed, end = owed[:wanted], owed[wanted - 1].offset
            lane.read(owed, max(end, after), now)
            self._settler.lane(lane, is_urgent=False)
            if self._joins(courier, tenant) or lane.queue or end <= after:
                return

    def _joins(self, courier: Courier, tenant: TenantSubscriptions) -> bool:
        """Let a lane join the live ones when the rest is remembered; all in one turn of the loop."""
        lane, now = courier.lane, self._clock.now()
        position = self._position(lane.partition)
        rest = self._ring.since(lane.partition, lane.progress.read_to, position)
        if rest is None or not lane.can_join(now):
            return False
        owed = _owed(tenant, lane.number, rest, position)
        if len(lane.progress.unresolved) + len(owed) > self._held_max // 2:
            return False  # It would fall behind again at once: a live lane holds no more than so much.
        lane.read(owed, position, now)
        lane.join(position)
        self._ring.join(lane.partition, lane.progress.unresolved)
        self._settler.lane_gone(lane.partition, lane.number)
        return True

    async def _expire(self, courier: Courier, before_ms: int, state: State) -> None:
        lane, subscription = courier.lane, courier.route.subscription
        after = lane.progress.read_to
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        found = await self._range(courier, tenant, before_ms)
        if lane.is_closed or lane.progress.read_to != after:
            return
        lane.skip(found.scanned_to, found.count)
        if found.count:
            key = Key(lane.partition, found.last, lane.number, found.last_ms)
            self._settler.settle(
                Settled(
                    key,
                    state,
                    self._clock.now().wall_ms,
                    first_offset=found.first,
                    count=found.count,
                    reason=_REASONS[state],
                ),
                closes=False,
            )
            emit(DELIVERY_EXHAUSTED, subscription=subscription.id, events=found.count, reason=_REASONS[state])
        self._settler.lane(lane)

    async def _range(self, courier: Courier, tenant: TenantSubscriptions, before_ms: int) -> _Range:
        lane, subscription = courier.lane, courier.route.subscription
        found = _Range(scanned_to=lane.progress.read_to)
        end = self._position(lane.partition)
        limit = FEW  # Mostly the first is not old enough.
        while found.scanned_to < end:
            page = await self._catchup.read(
                subscription.project, subscription.tenant, after=found.scanned_to, limit=limit
            )
            limit = min(4 * limit, PAGE)
            for entry in page.entries:
                if entry.offset > end or entry.accepted_ms >= before_ms:
                    return found
                found.scanned_to = entry.offset
                if tenant.owed(lane.number, entry) is Owed.PUSH and entry.offset not in lane.progress.ahead:
                    found.first = found.first or entry.offset
                    found.last, found.last_ms = entry.offset, entry.accepted_ms
                    found.count += 1
            if page.scanned_to <= found.scanned_to and not page.entries:
                return found
            found.scanned_to = max(found.scanned_to, min(page.scanned_to, end))
        return found


def _owed(tenant: TenantSubscriptions, number: int, entries: Sequence[Entry], end: int) -> list[Entry]:
    return [entry for entry in entries if entry.offset <= end and tenant.owed(number, entry) is Owed.PUSH]
