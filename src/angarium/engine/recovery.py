"""Take up where the last process stopped: positions, lanes that were behind, open deliveries, and what was settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.engine.courier import Courier
from angarium.engine.opened import in_order, objects_of, wait_s
from angarium.engine.skipping import Skips
from angarium.model.delivery import Settled, State
from angarium.model.subscription import Owed, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.clock import Moment
    from angarium.engine.lanes import Lanes
    from angarium.engine.registry import Registry
    from angarium.engine.settler import Settler
    from angarium.model.delivery import Open
    from angarium.store.contract import Store


class Recovered(Struct):
    """Where the tail begins, how far the log reaches, and how much was taken up."""

    positions: Mapping[int, int]
    heads: Mapping[int, int]
    opens: int = 0
    behind: dict[int, tuple[Courier, int]] = {}


class Recovery:
    """Fill the lanes from the store, once, before anything is sent."""

    def __init__(self, store: Store, registry: Registry, lanes: Lanes, settler: Settler, now: Moment) -> None:
        self._store, self._registry, self._lanes, self._settler, self._now = store, registry, lanes, settler, now

    async def run(self) -> Recovered:
        """Return where the tail begins."""
        heads = dict(await self._store.heads())
        floors, marks = await self._store.floors(), await self._store.watermarks()
        found = Recovered({partition: max(marks.get(partition, 0), floors[partition]) for partition in heads}, heads)
        for partition, head in heads.items():
            position = found.positions[partition]
            if head > position:
                skips = self._lanes.skips[partition] = Skips(head)
                skips.add_settled(await self._store.settled_after(partition, position))
        await self._restore_lanes(found)
        await self._adopt_opens(found)
        return found

    async def _restore_lanes(self, found: Recovered) -> None:
        for row in await self._store.lanes():
            position = found.positions.get(row.partition, 0)
            courier = await self._courier(row.subscription, position)
            if courier is None:
                continue  # Its deletion took the row with it, or is about to.
            found.behind[row.subscription] = courier, row.counted_to
            courier.lane.restore(row, self._now)
            courier.lane.counted_to = max(courier.lane.counted_to, position)
            if courier.route.subscription.status in (Status.DISABLED, Status.UNVERIFIED):
                head = found.heads.get(row.partition, 0)
                state = State.EXHAUSTED if courier.route.subscription.owed is Owed.FEED else State.CANCELLED
                self._lanes.end_lane(courier, state, last_offset=head, last_ms=self._now.wall_ms)

    async def _adopt_opens(self, found: Recovered) -> None:
        rows = in_order(await self._store.opens())
        objects = await objects_of(self._store, rows)
        for row in rows:
            courier = await self._courier(row.key.subscription, found.positions.get(row.key.partition, 0))
            if courier is None or courier.is_stopped:
                self._settler.settle(_cancelled(row, self._now), closes=True)
                continue
            found.opens += 1
            waits_s = wait_s(row, courier.route.policy, self._now)
            courier.lane.adopt(row, objects.get(row.key, ()), self._now, wait_s=waits_s)
            courier.lane.breaker.start_slowly()
            if (skips := self._lanes.skips.get(row.key.partition)) is not None:
                skips.add_open(row)

    async def _courier(self, number: int, position: int) -> Courier | None:
        """Return a subscription's lane, made when it has none yet; None when the subscription is no more."""
        if number in self._lanes.couriers:
            return self._lanes.couriers[number]
        subscription = await self._store.subscription(number)
        if subscription is None:
            return None
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        return self._lanes.make(subscription, tenant.project, position + 1)


def _cancelled(row: Open, now: Moment) -> Settled:
    """Return the record of a delivery whose subscription was deleted or disabled while nobody was there."""
    return Settled(row.key, State.CANCELLED, now.wall_ms, row.members, attempts=row.attempts, origin=row.origin)
