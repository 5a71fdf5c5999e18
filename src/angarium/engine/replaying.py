"""Append a subscription's past events to the log once more, for it alone, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.errors import NotFound
from angarium.model.delivery import Settled, State
from angarium.model.event import Entry, Kind
from angarium.model.subscription import Owed
from angarium.store.contract import DeliveryQuery, Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.clock import Clock
    from angarium.engine.registry import Registry
    from angarium.engine.running import Running
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

PAGE = 500
OUTSTANDING_MAX = 5000


class _Wanted(Struct):
    """Which offsets deliveries of one state stand for."""

    offsets: set[int]
    ranges: list[tuple[int, int]]

    def holds(self, offset: int) -> bool:
        return offset in self.offsets or any(first <= offset <= last for first, last in self.ranges)


class Replaying:
    """One replay: it scans its tenant's log once, from where it stands."""

    def __init__(self, store: Store, clock: Clock, registry: Registry, running: Running) -> None:
        self._store, self._clock, self._registry, self._running = store, clock, registry, running
        self._spec = running.job.spec

    async def run(self) -> None:
        """Append all that is wanted; `NotFound` when the subscription is no more."""
        job = self._running.job
        subscription = await self._store.subscription(job.subscription)
        if subscription is None:
            raise NotFound("its subscription has been deleted")
        has_begun = "end" in self._spec
        end = await self._end(subscription)
        wanted = await self._wanted(subscription)
        appended: set[int] = set()
        if has_begun:  # Its last page may have been appended, and not noted.
            appended = {entry.of for entry in await self._running.take_up(subscription, Kind.REPLAY, after=end)}
        while self._running.job.cursor < end:
            await self._running.wait(below=OUTSTANDING_MAX)
            await self._page(subscription, end, wanted, appended)

    async def _end(self, subscription: Subscription) -> int:
        """Return the offset up to which the log is scanned, fixed when the job began."""
        if "end" not in self._spec:
            heads = await self._store.heads()
            self._spec = {**self._spec, "end": heads.get(subscription.partition, 0)}
            await self._running.note(spec=self._spec)
        return int(self._spec["end"])

    async def _wanted(self, subscription: Subscription) -> _Wanted | None:
        """Return what deliveries of the wanted state stand for; None when any event will do."""
        if self._spec.get("first_offset"):
            return _Wanted(set(), [(self._spec["first_offset"], self._spec["last_offset"])])
        if not self._spec.get("state"):
            return None
        query = DeliveryQuery(subscription.project, subscription=subscription.number, state=State(self._spec["state"]))
        wanted, after = _Wanted(set(), []), None
        while True:
            listing = await self._store.deliveries(query, Page(limit=250, after=after))
            for each in listing.data:
                if isinstance(each, Settled) and each.count:
                    wanted.ranges.append((each.first_offset, each.key.last_offset))
                else:
                    wanted.offsets.update((*each.members, each.key.last_offset))
            after = listing.next
            if after is None:
                return wanted

    async def _page(self, subscription: Subscription, end: int, wanted: _Wanted | None, appended: set[int]) -> None:
        job = self._running.job
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        page = await self._store.read_tenant(subscription.project, subscription.tenant, after=job.cursor, limit=PAGE)
        chosen = [
            entry
            for entry in page.entries
            if entry.offset <= end
            and entry.kind is Kind.EVENT
            and self._is_asked(entry, wanted)
            and entry.offset not in appended
            and tenant.owed(subscription.number, entry) is not Owed.NOTHING
        ]
        if chosen:
            await self._append(subscription, chosen)
        await self._running.note(cursor=max(page.scanned_to, job.cursor + 1))

    def _is_asked(self, entry: Entry, wanted: _Wanted | None) -> bool:
        if wanted is not None and not wanted.holds(entry.offset):
            return False
        from_ms, until_ms = self._spec.get("from_ms"), self._spec.get("until_ms")
        is_after = from_ms is None or entry.accepted_ms >= from_ms
        return is_after and (until_ms is None or entry.accepted_ms < until_ms)

    async def _append(self, subscription: Subscription, chosen: Sequence[Entry]) -> None:
        now_ms = self._clock.now().wall_ms
        places = await self._store.append(
            [
                Entry(
                    entry.partition,
                    0,
                    now_ms,
                    None,
                    Kind.REPLAY,
                    target=subscription.number,
                    of=entry.offset,
                    of_ms=entry.accepted_ms,
                )
                for entry in chosen
            ]
        )
        self._running.expect(subscription.number, [place.offset for place in places])
