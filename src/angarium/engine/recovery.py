"""Take up partitions where their last owner stopped: positions, lanes that were behind, open deliveries, what ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.engine.courier import Courier
from angarium.engine.opened import ended, in_order, never_sent, objects_of, wait_s
from angarium.engine.skipping import Skips
from angarium.model.delivery import Origin, Settled, State
from angarium.model.event import PARTITIONS
from angarium.model.subscription import Owed
from angarium.store.contract import DeliveryQuery, Page

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from angarium.clock import Moment
    from angarium.engine.lanes import Lanes
    from angarium.engine.registry import Registry
    from angarium.engine.settler import Settler
    from angarium.model.delivery import Open
    from angarium.store.contract import Store


class Recovered(Struct):
    """Where the tail begins, how far all partitions reach, and how much was taken up."""

    positions: Mapping[int, int]
    heads: Mapping[int, int]
    opens: int = 0
    behind: dict[int, tuple[Courier, int]] = {}


class Recovery:
    """Fill the lanes of some partitions from the store, before anything of these is sent."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        lanes: Lanes,
        settler: Settler,
        now: Moment,
        *,
        partitions: Collection[int],
    ) -> None:
        self._store, self._registry, self._lanes, self._settler, self._now = store, registry, lanes, settler, now
        self._partitions = partitions
        self._named = None if len(partitions) == PARTITIONS else partitions

    async def run(self) -> Recovered:
        """Return where the tail begins."""
        heads = await self._store.heads()
        floors, marks = await self._store.floors(), await self._store.watermarks()
        found = Recovered({each: max(marks.get(each, 0), floors[each]) for each in self._partitions}, heads)
        for partition, position in found.positions.items():
            head = heads.get(partition, 0)
            if head > position:
                skips = self._lanes.skips[partition] = Skips(head)
                skips.add_settled(await self._store.settled_after(partition, position))
        opens = in_order(await self._store.opens(self._named))
        for row in opens:
            if row.key.partition in self._lanes.skips:
                self._lanes.skips[row.key.partition].add_open(row)
        await self._restore_lanes(found)
        await self._adopt_opens(found, opens)
        return found

    async def _restore_lanes(self, found: Recovered) -> None:
        for row in await self._store.lanes(self._named):
            position = found.positions.get(row.partition, 0)
            courier = await self._courier(row.subscription, position)
            if courier is None:
                if row.waiting:
                    state = await self._end_state(row.subscription)
                    self._settler.settle(never_sent(row, state, "disabled", self._now), closes=False)
                self._settler.lane_gone(row.partition, row.subscription)
                continue
            found.behind[row.subscription] = courier, row.counted_to
            courier.lane.restore(row, self._now)

    async def _adopt_opens(self, found: Recovered, rows: Sequence[Open]) -> None:
        objects = await objects_of(self._store, rows)
        failed: dict[int, Open] = {}
        for row in rows:
            courier = await self._courier(row.key.subscription, found.positions.get(row.key.partition, 0))
            if courier is None:
                state = await self._end_state(row.key.subscription)
                self._settler.settle(ended(row, state, "disabled", self._now), closes=True)
                continue
            found.opens += 1
            waits_s = wait_s(row, courier.route.policy, self._now)
            courier.lane.adopt(row, objects.get(row.key, ()), self._now, wait_s=waits_s)
            courier.lane.breaker.start_slowly()
            if row.attempts and row.origin is Origin.LANE:
                failed.setdefault(row.key.subscription, row)
        for number, row in failed.items():
            await self._recall(self._lanes.couriers[number], row)

    async def _recall(self, courier: Courier, row: Open) -> None:
        """Have a lane know since when it is failing, which has no row of its own: by its oldest delivery's attempts."""
        breaker = courier.lane.breaker
        if breaker.failing_since_ms:
            return
        query = DeliveryQuery(
            courier.route.subscription.project, subscription=row.key.subscription, state=State.DELIVERED
        )
        newest = (await self._store.deliveries(query, Page(limit=1))).data
        well_ms = max((each.settled_ms for each in newest if isinstance(each, Settled)), default=0)
        attempts = await self._store.attempts(row.key)
        breaker.failing_since_ms = next((each.at_ms + each.took_ms for each in attempts if each.at_ms >= well_ms), 0)

    async def _courier(self, number: int, position: int) -> Courier | None:
        """Return a subscription's lane, made when it has none yet; None when nothing is to be sent any more.

        One that was disabled is still to come to its marker, which ends it, if that lies above the tail's position.
        """
        if number in self._lanes.couriers:
            return self._lanes.couriers[number]
        subscription = await self._store.subscription(number)
        if subscription is None:
            return None
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        if not subscription.is_served and tenant.latest_of(number) <= position:
            return None
        return self._lanes.make(subscription, tenant.project, position + 1)

    async def _end_state(self, number: int) -> State:
        subscription = await self._store.subscription(number)
        return State.EXHAUSTED if subscription is not None and subscription.owed is Owed.FEED else State.CANCELLED
