"""Keep lanes and deliveries, and list them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from angarium.model.delivery import Open, Origin, Settled, State
from angarium.store.memory.held import Held, is_within, place_of
from angarium.store.paging import select, window

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Collection, Mapping, Sequence

    from angarium.model.delivery import Attempt, Key, LaneRow
    from angarium.model.event import Place
    from angarium.store.contract import DeliveryQuery, Listing, Page, Settlement
    from angarium.store.paging import Cursor


class Deliveries(Held):
    """The part of the store that settling and inspection use."""

    def settle(self, settlement: Settlement) -> Future[None]:
        """Write one flush: what it deletes first."""
        for closed in settlement.closed:
            self._opens.pop(closed, None)
        for gone in settlement.lanes_gone:
            self._lanes.pop(gone, None)
        self._opens.update({opened.key: opened for opened in settlement.opened})
        self._settled.update({settled.key: settled for settled in settlement.settled})
        self._lanes.update({(lane.partition, lane.subscription): lane for lane in settlement.lanes})
        self._watermarks.update(settlement.watermarks)
        for attempt in settlement.attempts:
            self._attempts.setdefault(attempt.key, {})[attempt.number] = attempt
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def watermarks(self) -> Mapping[int, int]:
        """Return the watermarks above 0."""
        return {partition: offset for partition, offset in self._watermarks.items() if offset}

    async def lanes(self, partitions: Collection[int] | None = None) -> Sequence[LaneRow]:
        """Return the rows of all behind lanes, or those of some partitions."""
        return [self._lanes[key] for key in sorted(self._lanes) if partitions is None or key[0] in partitions]

    async def lane(self, partition: int, subscription: int) -> LaneRow | None:
        """Return a behind lane's row."""
        return self._lanes.get((partition, subscription))

    async def failing(self, project: str) -> Sequence[int]:
        """Return the subscriptions of a project whose receivers may be failing."""
        rows = {number for (_, number), row in self._lanes.items() if row.failing_since_ms}
        failed = (each for each in self._opens.values() if each.attempts and each.origin is Origin.LANE)
        numbers = rows.union(each.key.subscription for each in failed)
        return sorted(each for each in numbers if self._owners.get(each, ("", ""))[0] == project)

    async def opens(self, partitions: Collection[int] | None = None) -> Sequence[Open]:
        """Return all deliveries that are not settled, or those of some partitions."""
        held = (each for each in self._opens.values() if partitions is None or each.key.partition in partitions)
        return sorted(held, key=lambda open_: place_of(open_.key))

    async def asked_for(self, partitions: Collection[int]) -> Sequence[Open]:
        """Return the open tests and redeliveries of some partitions."""
        return [each for each in await self.opens(partitions) if each.origin is not Origin.LANE]

    async def settled_after(self, partition: int, offset: int) -> Sequence[Settled]:
        """Return what was settled above an offset."""
        held = (each for key, each in self._settled.items() if key.partition == partition and key.last_offset > offset)
        return sorted(held, key=lambda settled: place_of(settled.key))

    async def reopen(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Move a settled delivery back to the open ones, or add a new one."""
        if open_.key in self._opens:
            return False
        self._settled.pop(open_.key, None)
        self._opens[open_.key] = open_
        if attempt is not None:
            self._attempts.setdefault(attempt.key, {})[attempt.number] = attempt
        self._touch(open_.key.partition)
        self._wake({open_.key.partition})
        return True

    async def deliveries(self, query: DeliveryQuery, page: Page) -> Listing[Settled | Open]:
        """List deliveries, open and settled, newest first."""
        held = (each for each in self._all_deliveries() if self._is_asked(each, query))
        return select(window("deliveries", page), held, _by_moment)

    def _all_deliveries(self) -> list[Settled | Open]:
        return [*self._settled.values(), *self._opens.values()]

    def _is_asked(self, delivery: Settled | Open, query: DeliveryQuery) -> bool:
        key = delivery.key
        project, tenant = self._owners.get(key.subscription, (None, None))
        return (
            project == query.project
            and query.tenant in (None, tenant)
            and query.subscription in (None, key.subscription)
            and query.state in (None, _state(delivery))
            and (query.event is None or self._settles(delivery, query.event))
            and is_within(key.last_ms, query.since_ms, query.until_ms)
        )

    def _settles(self, delivery: Settled | Open, event: Place) -> bool:
        if delivery.key.partition != event.partition:
            return False
        if event.offset == delivery.key.last_offset or event.offset in delivery.members:
            return True
        if isinstance(delivery, Open) or not delivery.count:
            return False
        written = self._logs[event.partition].get(event.offset)
        is_own = written is not None and written.owner == self._owners.get(delivery.key.subscription)
        return is_own and delivery.first_offset <= event.offset <= delivery.key.last_offset

    async def delivery(self, key: Key) -> Settled | Open | None:
        """Return a delivery, the open one if there are both."""
        return self._opens.get(key) or self._settled.get(key)

    async def attempts(self, key: Key) -> Sequence[Attempt]:
        """Return a delivery's failed attempts, oldest first."""
        return [attempt for _, attempt in sorted(self._attempts.get(key, {}).items())]

    async def counts(self, project: str) -> Mapping[str, int]:
        """Count a project's deliveries by state."""
        counts: Counter[str] = Counter()
        for delivery in self._all_deliveries():
            if self._owners.get(delivery.key.subscription, ("", ""))[0] == project:
                counts[_state(delivery).value] += _weight(delivery)
        return dict(counts)


def _by_moment(delivery: Settled | Open) -> Cursor:
    return delivery.key.last_ms, *place_of(delivery.key)


def _state(delivery: Settled | Open) -> State:
    return State.RETRYING if isinstance(delivery, Open) else delivery.state


def _weight(delivery: Settled | Open) -> int:
    return 1 if isinstance(delivery, Open) else delivery.count or 1
