"""Read each partition's log once, in order, and hand every entry to those whom it is owed.

What was just committed in this process is offered by whoever published it; when it is the very next entry and nothing
must be awaited it is matched at once, otherwise the partition is read from the store. Nothing is handed over twice, and
nothing is read on while there is no room: then the log itself is the queue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.errors import AngariumError, StoreAway
from angarium.model.event import Entry, Kind
from angarium.telemetry import ENGINE_FAILED, STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from angarium.engine.registry import Registry, TenantSubscriptions
    from angarium.engine.ring import Ring
    from angarium.model.event import Event, Place
    from angarium.store.contract import Store

READ_MAX = 500
SLICE = 1000
"""So many lanes are handed an entry in one turn of the loop."""

POISON_TRIES_MAX = 3
"""So often an entry is read that breaks our own code."""

_AWAY_S = 0.5


class Tail:
    """The one reader of all partitions.

    `deliver(entry, tenant, numbers)` hands an entry to lanes; `marked(entry)` tells of a marker once its version is
    known; `advanced()` that positions have moved; `has_room` says whether more may be read.
    """

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        store: Store,
        registry: Registry,
        ring: Ring,
        *,
        deliver: Callable[[Entry, TenantSubscriptions, Sequence[int]], None],
        marked: Callable[[Entry], None],
        advanced: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._store, self._registry, self._ring = store, registry, ring
        self._deliver, self._marked, self._has_room = deliver, marked, has_room
        self._advanced = advanced
        self.positions: dict[int, int] = {}
        self.heads: dict[int, int] = {}
        self._unread: dict[int, None] = {}
        self._stumbles: dict[int, tuple[int, int]] = {}  # by partition: at which offset, and how often
        self._reading = -1
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, positions: Mapping[int, int], heads: Mapping[int, int]) -> None:
        """Begin to read on from these positions."""
        self.positions = dict(positions)
        self.learn(heads)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def learn(self, heads: Mapping[int, int]) -> None:
        """Take note of partitions' committed heads."""
        for partition, head in heads.items():
            self.heads[partition] = max(head, self.heads.get(partition, 0))
            if head > self.positions.get(partition, 0):
                self._unread[partition] = None
                self._wake.set()

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Take what was just committed, if it comes next; else it is read."""
        for event, place in zip(events, places, strict=True):
            partition = place.partition
            if place.offset > self.heads.get(partition, 0):
                self.heads[partition] = place.offset
            if not self._take_offer(event, place):
                self._unread[partition] = None
                self._wake.set()

    def _take_offer(self, event: Event, place: Place) -> bool:
        partition = place.partition
        if self.positions.get(partition, 0) + 1 != place.offset or partition == self._reading:
            return place.offset <= self.positions.get(partition, 0)
        tenant = self._registry.held(event.project, event.tenant)
        if tenant is None or self._task is None or not self._has_room():
            return False
        entry = Entry(partition, place.offset, place.accepted_ms, event)
        try:
            numbers = tenant.push(entry)
        except Exception:  # noqa: BLE001  whoever published it has done nothing wrong; reading it tells what is
            return False
        if len(numbers) > SLICE:
            return False
        if numbers:
            self._deliver(entry, tenant, numbers)
        self._advance(entry)
        return True

    def _advance(self, entry: Entry) -> None:
        self.positions[entry.partition] = entry.offset
        self._ring.remember(entry)

    def resume(self) -> None:
        """Take note that there may be room again."""
        if self._unread:
            self._wake.set()

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._read_all()
            except AngariumError as error:
                emit(STORE_FAILED, operation="read", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)
                self._wake.set()
            except Exception as error:  # noqa: BLE001  the log must be read on whatever one entry does
                emit(ENGINE_FAILED, part="tail", partition=self._reading, error=error)
                self._stumbled(self._reading)
                await asyncio.sleep(_AWAY_S)
                self._wake.set()
            finally:
                self._reading = -1

    async def _read_all(self) -> None:
        while self._unread and self._has_room():
            partition = next(iter(self._unread))
            self._reading = partition
            await self._read(partition)
            self._advanced()
            self._reading = -1
            del self._unread[partition]
            if self.positions.get(partition, 0) < self.heads.get(partition, 0):
                self._unread[partition] = None  # to the end of the row, behind the others

    def _stumbled(self, partition: int) -> None:
        """Let the other partitions go first, and leave out the next entry if it has broken our code too often."""
        self._unread.pop(partition, None)
        self._unread[partition] = None
        next_ = self.positions.get(partition, 0) + 1
        offset, tries = self._stumbles.get(partition, (next_, 0))
        tries = tries + 1 if offset == next_ else 1
        self._stumbles[partition] = (next_, tries)
        if tries >= POISON_TRIES_MAX:
            self.positions[partition] = next_

    async def _read(self, partition: int) -> None:
        entries = await self._store.read(partition, after=self.positions.get(partition, 0), limit=READ_MAX)
        for entry in entries:
            if not self._has_room():
                return
            await self._hand_over(entry)
            self._advance(entry)
        if not entries:
            # Nobody owes what is not there: retention dropped it, or the head was learnt before it could be seen.
            floors = await self._store.floors()
            self.positions[partition] = max(self.positions.get(partition, 0), floors[partition])

    async def _hand_over(self, entry: Entry) -> None:
        if entry.kind is Kind.MARKER:
            assert entry.version is not None, "a marker carries a version"
            await self._registry.learn(entry.version)
            self._marked(entry)
            return
        event = entry.event
        if event is None:
            return  # A replay of what retention has dropped.
        tenant = await self._tenant(event)
        numbers = tenant.push(entry)
        for start in range(0, len(numbers), SLICE):
            part = numbers[start : start + SLICE]
            if start:
                await asyncio.sleep(0)
                tenant = await self._tenant(event)  # It may have changed meanwhile.
                part = [number for number in part if number in tenant.subscriptions]
            self._deliver(entry, tenant, part)

    async def _tenant(self, event: Event) -> TenantSubscriptions:
        while True:
            held = self._registry.held(event.project, event.tenant)
            if held is not None:
                return held
            try:
                return await self._registry.load(event.project, event.tenant)
            except StoreAway as error:  # Part of the entry's lanes may have it already: that is not done again.
                emit(STORE_FAILED, operation="subscriptions", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)
