"""Say how a lane is doing that another process has: by its row, its open deliveries, and what the log owes it since.

What the owner knows to the event is read here as far as it has been written, and the log is looked at up to a bound: a
number for people, a moment old at most.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from angarium.engine.contract import LaneView
from angarium.model.delivery import Open, Origin, Settled, State
from angarium.model.subscription import Owed
from angarium.store.contract import DeliveryQuery, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.engine.heads import Heads
    from angarium.engine.registry import Registry
    from angarium.model.delivery import LaneRow
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

LOOKS_MAX: Final = 5_000
"""How many entries of a log are looked at for one number."""

_LASTS_S: Final = 0.5
_PAGE: Final = 500
_LISTED: Final = 250


class Standing:
    """Lanes as the store knows them."""

    def __init__(self, store: Store, registry: Registry, heads: Heads) -> None:
        self._store, self._registry, self._heads = store, registry, heads
        self._marks: Mapping[int, int] = {}
        self._marks_until = 0.0

    async def lane(self, subscription: Subscription) -> LaneView:
        """Return how a subscription's lane is doing."""
        row = await self._store.lane(subscription.partition, subscription.number)
        opens = await self._opens(subscription)
        since_ms = row.failing_since_ms if row is not None else 0
        backlog = sum(len(each.members) + 1 for each in opens if each.origin is Origin.LANE)
        backlog += row.waiting if row is not None else 0
        backlog += await self._unsettled(subscription, row, opens)
        return LaneView(backlog, since_ms or await self._failing_since(subscription, opens), is_behind=row is not None)

    async def _opens(self, subscription: Subscription) -> Sequence[Open]:
        """Return a subscription's open deliveries, the newest first."""
        query = DeliveryQuery(subscription.project, subscription=subscription.number, state=State.RETRYING)
        found: list[Open] = []
        after: str | None = None
        while True:
            listing = await self._store.deliveries(query, Page(limit=_LISTED, after=after))
            found += [each for each in listing.data if isinstance(each, Open)]
            after = listing.next
            if after is None:
                return found

    # -- what the log owes ------------------------------------------------------------------------------------------

    async def _unsettled(self, subscription: Subscription, row: LaneRow | None, opens: Sequence[Open]) -> int:
        """Count the owed events above the watermark, or what a row has counted, that are neither settled nor open."""
        partition = subscription.partition
        after = row.counted_to if row is not None else await self._watermark(partition)
        if self._heads.of(partition) <= after or not subscription.is_served:
            return 0
        owed = await self._owed(subscription, after)
        if not owed:
            return 0
        done = {offset for each in opens for offset in (*each.members, each.key.last_offset)}
        done.update(await self._settled(subscription, min(owed)))
        return len(owed - done)

    async def _watermark(self, partition: int) -> int:
        """Return a partition's watermark, or an earlier one: then more is looked at, and found settled."""
        now = asyncio.get_running_loop().time()
        if now >= self._marks_until:
            self._marks, self._marks_until = await self._store.watermarks(), now + _LASTS_S
        return self._marks.get(partition, 0)

    async def _owed(self, subscription: Subscription, after: int) -> set[int]:
        project, tenant = subscription.project, subscription.tenant
        known = await self._registry.load(project, tenant)
        owed: set[int] = set()
        for _ in range(LOOKS_MAX // _PAGE):
            page = await self._store.read_tenant(project, tenant, after=after, limit=_PAGE)
            owed.update(each.offset for each in page.entries if known.owed(subscription.number, each) is Owed.PUSH)
            after = page.scanned_to
            if len(page.entries) < _PAGE:
                break
        return owed

    async def _settled(self, subscription: Subscription, first: int) -> set[int]:
        """Return which offsets, from one on, a subscription's newest settled deliveries name."""
        query = DeliveryQuery(subscription.project, subscription=subscription.number)
        found: set[int] = set()
        after: str | None = None
        for _ in range(LOOKS_MAX // _LISTED):
            listing = await self._store.deliveries(query, Page(limit=_LISTED, after=after))
            for each in listing.data:
                if isinstance(each, Settled):
                    found.update(_offsets(each))
            after = listing.next
            if after is None or all(each.key.last_offset < first for each in listing.data):
                break
        return found

    # -- since when it fails ----------------------------------------------------------------------------------------

    async def _failing_since(self, subscription: Subscription, opens: Sequence[Open]) -> int:
        """Return since when the oldest delivery that failed does, unless another was delivered since; 0 for never."""
        failed = [each for each in opens if each.attempts and each.origin is Origin.LANE]
        return await failing_since(self._store, subscription, failed[-1]) if failed else 0


async def failing_since(store: Store, subscription: Subscription, row: Open) -> int:
    """Return when an open delivery began to fail, leaving out what was before another was delivered; 0 for never."""
    query = DeliveryQuery(subscription.project, subscription=subscription.number, state=State.DELIVERED)
    newest = (await store.deliveries(query, Page(limit=1))).data
    well_ms = max((each.settled_ms for each in newest if isinstance(each, Settled)), default=0)
    attempts = await store.attempts(row.key)
    return next((each.at_ms + each.took_ms for each in attempts if each.at_ms >= well_ms), 0)


def _offsets(settled: Settled) -> Sequence[int]:
    if settled.count:
        return range(settled.first_offset, settled.key.last_offset + 1)
    return (*settled.members, settled.key.last_offset)
