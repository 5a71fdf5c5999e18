"""Read the log of each partition of ours once, in order, and hand every entry to those whom it is owed.

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
    from collections.abc import Callable, Collection, Mapping, Sequence

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
_NOTHING = -1
_NOT_OURS = -2
"""The position of a partition that is not read here: no offset comes next to it."""


class Tail:
    """The one reader of the partitions that have a position; of all others only the heads are known.

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
        self._held: dict[int, int] = {}  # positions at which partitions stand that are to be handed over
        self._unread: dict[int, None] = {}
        self._stumbles: dict[int, tuple[int, int]] = {}  # by partition: at which offset, and how often
        self._reading = _NOTHING
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to read."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def take_up(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, too, from these positions on, as far as is known that they reach."""
        self.positions |= positions
        self.learn({partition: self.heads.get(partition, 0) for partition in positions})

    def hold(self, partitions: Collection[int]) -> None:
        """Read no more of these partitions; how far they were read is still known."""
        for partition in partitions:
            if partition in self.positions:
                self._held[partition] = self.positions[partition]
        self._forget(partitions)

    def drop(self, partitions: Collection[int]) -> None:
        """Read no more of these partitions, and forget how far they were read."""
        for partition in partitions:
            self._held.pop(partition, None)
        self._forget(partitions)

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self.positions.pop(partition, None)
            self._unread.pop(partition, None)
            self._stumbles.pop(partition, None)
        if self._reading in partitions:
            self._reading = _NOTHING  # What is being read of it now is handed to nobody.

    def position(self, partition: int) -> int:
        """Return how far a partition was read; 0 when it is not read here."""
        found = self.positions.get(partition)
        return self._held.get(partition, 0) if found is None else found

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
            if partition in self.positions and head > self.positions[partition]:
                self._unread[partition] = None
                self._wake.set()

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Take what was just committed, if it comes next; else it is read."""
        for event, place in zip(events, places, strict=True):
            partition = place.partition
            if place.offset > self.heads.get(partition, 0):
                self.heads[partition] = place.offset
            if not self._take_offer(event, place) and partition in self.positions:
                self._unread[partition] = None
                self._wake.set()

    def _take_offer(self, event: Event, place: Place) -> bool:
        partition = place.partition
        if self.positions.get(partition, _NOT_OURS) + 1 != place.offset or partition == self._reading:
            return place.offset <= self.positions.get(partition, _NOT_OURS)
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
                self._reading = _NOTHING

    async def _read_all(self) -> None:
        while self._unread and self._has_room():
            partition = next(iter(self._unread))
            self._reading = partition
            await self._read(partition)
            self._advanced()
            is_dropped, self._reading = self._reading != partition, _NOTHING
            if is_dropped:
                continue
            del self._unread[partition]
            if self.positions[partition] < self.heads.get(partition, 0):
                self._unread[partition] = None  # to the end of the row, behind the others

    def _stumbled(self, partition: int) -> None:
        """Let the other partitions go first, and leave out the next entry if it has broken our code too often."""
        if partition not in self.positions:
            return
        self._unread.pop(partition, None)
        self._unread[partition] = None
        next_ = self.positions[partition] + 1
        offset, tries = self._stumbles.get(partition, (next_, 0))
        tries = tries + 1 if offset == next_ else 1
        self._stumbles[partition] = (next_, tries)
        if tries >= POISON_TRIES_MAX:
            self.positions[partition] = next_

    async def _read(self, partition: int) -> None:
        entries = await self._store.read(partition, after=self.positions[partition], limit=READ_MAX)
        for entry in entries:
            if not self._has_room():
                return
            await self._hand_over(entry)
            if self._reading != partition:
                return
            self._advance(entry)
        if not entries:
            # Nobody owes what is not there: retention dropped it, or the head was learnt before it could be seen.
            floors = await self._store.floors()
            if self._reading == partition:
                self.positions[partition] = max(self.positions[partition], floors[partition])

    async def _hand_over(self, entry: Entry) -> None:
        if entry.kind is Kind.MARKER:
            assert entry.version is not None, "a marker carries a version"
            await self._registry.learn(entry.version)
            if self._reading == entry.partition:
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
            if self._reading != entry.partition:
                return  # It was dropped while something was awaited.
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
