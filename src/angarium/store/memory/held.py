"""Hold what the reference store keeps, and what becomes of an entry: the parts that divide its methods share them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from angarium.model.event import PARTITIONS, Entry, Kind, ObjectState, Place
from angarium.store.contract import Receipt
from angarium.store.owning import Alone, SoleOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from angarium.model.delivery import Attempt, Key, LaneRow, Open, Settled
    from angarium.model.event import Event
    from angarium.model.registry import ApiKey, App, Grant, Job, Project, Tenant
    from angarium.model.subscription import Subscription, Version


class Kept(Struct, frozen=True):
    """What an idempotency key answers, until when, and the digest of the body that it was used with."""

    digest: bytes
    receipt: Receipt
    expires_ms: int


class Written(Struct, frozen=True):
    """An entry as it stands in the log, whose it is, and its number in the order of all commits."""

    entry: Entry
    owner: tuple[str, str]
    number: int


class Held:
    """All that is kept, as long as the process lasts."""

    def __init__(self) -> None:
        self._sole = SoleOwner()
        self._alone = Alone()
        self._woken: list[Callable[[Mapping[int, int]], None]] = []
        self._raised: list[Callable[[Collection[int]], None]] = []
        self._meta: dict[str, bytes] = {}
        self._numbers: Counter[str] = Counter()
        self._logs: defaultdict[int, dict[int, Written]] = defaultdict(dict)
        self._heads: dict[int, int] = {}
        self._floors: dict[int, int] = dict.fromkeys(range(PARTITIONS), 0)
        self._registry: Counter[int] = Counter()
        self._kept: dict[tuple[str, str], Kept] = {}
        self._projects: dict[str, Project] = {}
        self._tenants: dict[tuple[str, str], Tenant] = {}
        self._keys: dict[int, ApiKey] = {}
        self._owners: dict[int, tuple[str, str]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._versions: dict[int, list[Version]] = {}
        self._watermarks: dict[int, int] = {}
        self._lanes: dict[tuple[int, int], LaneRow] = {}
        self._opens: dict[Key, Open] = {}
        self._settled: dict[Key, Settled] = {}
        self._attempts: dict[Key, dict[int, Attempt]] = {}
        self._jobs: dict[int, Job] = {}
        self._apps: dict[int, App] = {}
        self._grants: dict[int, Grant] = {}
        self._once: dict[str, int] = {}
        self._objects: dict[tuple[str, str, str, str], ObjectState] = {}
        self._unfolded: deque[Written] = deque()
        self._folded_to = 0

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken` with partitions that have moved, and their heads."""
        self._woken.append(woken)

    def listen_registry(self, raised: Callable[[Collection[int]], None]) -> None:
        """Call `raised` with partitions whose registry counter has grown."""
        self._raised.append(raised)

    def _touch(self, partition: int) -> None:
        self._registry[partition] += 1
        for raised in self._raised:
            asyncio.get_running_loop().call_soon(raised, {partition})

    def _write(self, entry: Entry, owner: tuple[str, str]) -> Place:
        offset = self._heads.get(entry.partition, 0) + 1
        self._heads[entry.partition] = offset
        self._numbers["entry"] += 1
        written = Written(replace(entry, offset=offset), owner, self._numbers["entry"])
        self._logs[entry.partition][offset] = written
        self._unfolded.append(written)
        return Place(entry.partition, offset, entry.accepted_ms)

    def _fold(self, limit: int | None = None, *, to: int | None = None) -> int:
        """Fold the next entries, at most so many, up to a number in the order of commits; return how many."""
        count = 0
        while self._unfolded and count != limit and (to is None or self._unfolded[0].number <= to):
            written, count = self._unfolded.popleft(), count + 1
            self._folded_to = written.number
            event, project = written.entry.event, self._projects.get(written.owner[0])
            if event and written.entry.kind == Kind.EVENT and (project is None or project.keeps_objects):
                name = (event.project, event.tenant, event.object, event.object_id)
                self._objects[name] = _folded(self._objects.get(name), written.entry, event)
        return count

    def _wake(self, partitions: set[int]) -> None:
        heads = {partition: self._heads.get(partition, 0) for partition in sorted(partitions)}
        for woken in self._woken:
            asyncio.get_running_loop().call_soon(woken, heads)


def _folded(state: ObjectState | None, entry: Entry, event: Event) -> ObjectState:
    """Return an object's state after an event."""
    older = (state.data, state.data_offset) if state else (b"", 0)
    data, data_offset = (event.data, entry.offset) if event.data else older
    return ObjectState(
        event.project,
        event.tenant,
        event.object,
        event.object_id,
        entry.partition,
        entry.offset,
        entry.accepted_ms,
        event.action,
        data,
        data_offset,
        event.url,
        event.attributes,
        event.occurred_us,
    )


def place_of(key: Key) -> tuple[int, int, int]:
    """Return what orders deliveries in the log."""
    return key.partition, key.last_offset, key.subscription


def is_within(moment_ms: int, since_ms: int | None, until_ms: int | None) -> bool:
    """Say whether a moment lies between two, either of which may be left out."""
    return (since_ms is None or moment_ms >= since_ms) and (until_ms is None or moment_ms < until_ms)
