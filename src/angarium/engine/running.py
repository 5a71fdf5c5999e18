"""Hold one job under way: which events it still waits for, and its progress."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.errors import Conflict, NotFound
from angarium.model.delivery import Open, State
from angarium.model.registry import JobState
from angarium.model.subscription import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.clock import Clock
    from angarium.model.delivery import Key, Settled
    from angarium.model.event import Entry, Kind
    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

ALONE = "jobs"
"""Whoever writes a job's progress or its end, having read its state, is alone under this name (`Store.alone`)."""

_NOTE_S = 0.5
_PAGE = 500
_ASK_MAX = 100

_Place = tuple[int, int]
"""A subscription and an offset of its partition."""


class Running:
    """One job under way. Its `total` is what was planned, until more has been asked for than that.

    Where others settle, too, it `asks` the store what has become of what it waits for.
    """

    def __init__(self, job: Job, store: Store, clock: Clock, *, asks: bool = False) -> None:
        self.job = job
        self._store, self._clock = store, clock
        self._outstanding: set[_Place] = set()
        self._open: set[_Place] = set()  # those among them that were sent, or wait behind what was
        self._asked = job.total
        self._planned = 0
        self._asks, self._asks_at = asks, 0.0
        self._keys: dict[Key, None] = {}  # of what others may settle, the one asked for longest ago first
        self._moved = asyncio.Event()

    def plan(self, total: int) -> None:
        """Take note of how many will be asked for, as far as one can say."""
        self._planned = total
        self._count_asked(0)

    def expect(self, subscription: int, offsets: Sequence[int], *, key: Key | None = None) -> None:
        """Take note that these offsets will be settled; they count towards the total. `key`: others may do so."""
        if key is not None and self._asks:
            self._keys[key] = None
        self._outstanding.update((subscription, offset) for offset in offsets)
        self._count_asked(len(offsets))

    def release(self, subscription: int, offsets: Sequence[int]) -> None:
        """Take note that these will not be settled after all."""
        self._outstanding.difference_update((subscription, offset) for offset in offsets)
        self._count_asked(-len(offsets))

    async def take_up(self, subscription: Subscription, kind: Kind, *, after: int) -> Sequence[Entry]:
        """Take up an interrupted job: find what it had appended to the log after an offset, and what of it has ended.

        Returns those entries.
        """
        appended = await self._appended(subscription, kind, after)
        # What is settled from here on is told of; what was before is read.
        self._outstanding = {(subscription.number, entry.offset) for entry in appended}
        self._asked = len(appended)
        self._count_asked(0)
        self.job = replace(self.job, done=0, failed=0)
        opens = [row for row in await self._store.opens() if row.key.subscription == subscription.number]
        self.flushed(opens, await self._store.settled_after(subscription.partition, after))
        return appended

    async def _appended(self, subscription: Subscription, kind: Kind, after: int) -> list[Entry]:
        found: list[Entry] = []
        while True:
            page = await self._store.read_tenant(subscription.project, subscription.tenant, after=after, limit=_PAGE)
            mine = [each for each in page.entries if each.kind is kind and each.target == subscription.number]
            found += [entry for entry in mine if entry.accepted_ms >= self.job.created_ms]
            if len(page.entries) < _PAGE:
                return found
            after = page.scanned_to

    def all_asked(self) -> None:
        """Take note that no more will be asked for: the total is what was."""
        self.plan(0)

    def _count_asked(self, more: int) -> None:
        self._asked += more
        self.job = replace(self.job, total=max(self._planned, self._asked))

    def flushed(self, opened: Sequence[Open], settled: Sequence[Settled]) -> None:
        """Count what was waited for among what was settled."""
        if not self._outstanding:
            return
        for row in opened:
            self._open.update(self._mine(row))
        for each in settled:
            if each.state is State.MERGED:
                continue  # What it held is in another now.
            mine = self._in_range(each) if each.count else self._mine(each)
            if mine:
                self._outstanding.difference_update(mine)
                self._open.difference_update(mine)
                self._count(len(mine), each.state)
        self._moved.set()

    def _mine(self, delivery: Open | Settled) -> list[_Place]:
        number = delivery.key.subscription
        places = ((number, offset) for offset in (*delivery.members, delivery.key.last_offset))
        return [place for place in places if place in self._outstanding]

    def _in_range(self, range_: Settled) -> list[_Place]:
        """Return what a range stands for: nothing that was ever sent."""
        first, last = range_.first_offset, range_.key.last_offset
        return [
            (number, offset)
            for number, offset in self._outstanding - self._open
            if number == range_.key.subscription and first <= offset <= last
        ]

    def _count(self, count: int, state: State) -> None:
        failed = 0 if state is State.DELIVERED else count
        self.job = replace(self.job, done=self.job.done + count, failed=self.job.failed + failed)

    async def wait(self, *, below: int) -> None:
        """Wait until fewer than so many are outstanding, noting progress on the way.

        `NotFound` or `Conflict` when its subscription was deleted or disabled meanwhile.
        """
        while len(self._outstanding) >= below:
            self._moved.clear()
            await self.note()
            try:
                async with asyncio.timeout(_NOTE_S):  # `wait_for` may swallow that it is cancelled.
                    await self._moved.wait()
            except TimeoutError:
                await self._check_is_sent_to()
            await self._ask()

    async def _ask(self) -> None:
        """Ask, now and then, what has become of some of what others may settle."""
        now = self._clock.now().mono
        if now < self._asks_at:
            return
        self._asks_at = now + _NOTE_S
        for key in list(islice(self._keys, _ASK_MAX)):
            del self._keys[key]
            found = await self._store.delivery(key)
            if isinstance(found, Open):
                self._keys[key] = None
            elif found is not None:
                self.flushed((), [found])

    async def _check_is_sent_to(self) -> None:
        if not self.job.subscription:
            return
        subscription = await self._store.subscription(self.job.subscription)
        if subscription is None:
            raise NotFound("its subscription has been deleted")
        if not subscription.is_served:
            is_barred = subscription.status in (Status.ACTIVE, Status.PAUSED)
            raise Conflict(f"its subscription is {'permitted nothing' if is_barred else subscription.status}")

    async def note(self, **changes: object) -> None:
        """Write the job's progress, unless it was cancelled meanwhile."""
        async with self._store.alone(ALONE):
            stored = await self._store.job(self.job.number)
            if stored is None or stored.state is not JobState.RUNNING:
                raise asyncio.CancelledError
            self.job = replace(self.job, updated_ms=self._clock.now().wall_ms, **changes)
            await self._store.put_job(self.job)
