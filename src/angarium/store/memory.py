"""Keep everything in memory: the reference that the other stores are compared with, small rather than fast."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import AngariumError, Conflict, KeyReused, NotFound
from angarium.model.delivery import Open, Origin, Settled, State
from angarium.model.event import PARTITIONS, Entry, Kind, Place
from angarium.model.registry import Tenant
from angarium.model.subscription import Owed, Subscription, Version
from angarium.store.contract import KEY_LASTS_MS, Listing, Receipt, Slice
from angarium.store.paging import select, window

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from angarium.model.delivery import Attempt, Key, LaneRow
    from angarium.model.event import Event
    from angarium.model.registry import ApiKey, Job, JobState, Project
    from angarium.model.subscription import Status
    from angarium.store.contract import DeliveryQuery, EventQuery, Page, Publish, Settlement
    from angarium.store.paging import Cursor


class _Kept(Struct, frozen=True):
    """What an idempotency key answers, until when, and the digest of the body that it was used with."""

    digest: bytes
    receipt: Receipt
    expires_ms: int


class _Written(Struct, frozen=True):
    """An entry as it stands in the log, whose it is, and its number in the order of all commits."""

    entry: Entry
    owner: tuple[str, str]
    number: int


class MemoryStore:
    """A store that lasts as long as its process. Closing and opening it again loses nothing."""

    def __init__(self) -> None:
        self._woken: list[Callable[[Mapping[int, int]], None]] = []
        self._meta: dict[str, bytes] = {}
        self._numbers: Counter[str] = Counter()
        self._logs: defaultdict[int, dict[int, _Written]] = defaultdict(dict)
        self._heads: dict[int, int] = {}
        self._floors: dict[int, int] = dict.fromkeys(range(PARTITIONS), 0)
        self._registry: Counter[int] = Counter()
        self._kept: dict[tuple[str, str], _Kept] = {}
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

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Do nothing: what was kept is still here."""

    async def close(self) -> None:
        """Do nothing."""

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken` with partitions that have moved, and their heads."""
        self._woken.append(woken)

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        return self._meta.get(name)

    async def put_meta(self, name: str, value: bytes) -> None:
        """Keep a named value."""
        self._meta[name] = value

    # -- log --------------------------------------------------------------------------------------------------------

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Append a publish's events, or answer what its key answered before."""
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._replayed(publish) or self._accepted(publish))
        except AngariumError as error:
            future.set_exception(error)
        return future

    def _replayed(self, publish: Publish) -> Receipt | None:
        kept = self._kept.get((publish.project, publish.key)) if publish.key else None
        if kept is None or kept.expires_ms <= publish.now_ms:
            return None
        if kept.digest != publish.digest:
            raise KeyReused(
                f"idempotency key {publish.key!r} was used with another body; use a new key for a new request"
            )
        return replace(kept.receipt, is_replay=True)

    def _accepted(self, publish: Publish) -> Receipt:
        places = tuple(self._accept_one(event, publish.now_ms) for event in publish.events)
        receipt = Receipt(places, publish.matched)
        if publish.key:
            expires_ms = publish.now_ms + KEY_LASTS_MS
            self._kept[publish.project, publish.key] = _Kept(publish.digest, receipt, expires_ms)
        self._wake({place.partition for place in places})
        return receipt

    def _accept_one(self, event: Event, now_ms: int) -> Place:
        owner = (event.project, event.tenant)
        self._tenants.setdefault(owner, Tenant(event.project, event.tenant, now_ms))
        return self._write(Entry(partition_of(*owner), 0, now_ms, event), owner)

    def _write(self, entry: Entry, owner: tuple[str, str]) -> Place:
        offset = self._heads.get(entry.partition, 0) + 1
        self._heads[entry.partition] = offset
        self._numbers["entry"] += 1
        written = _Written(replace(entry, offset=offset), owner, self._numbers["entry"])
        self._logs[entry.partition][offset] = written
        return Place(entry.partition, offset, entry.accepted_ms)

    def _wake(self, partitions: set[int]) -> None:
        heads = {partition: self._heads.get(partition, 0) for partition in sorted(partitions)}
        for woken in self._woken:
            asyncio.get_running_loop().call_soon(woken, heads)

    async def append(self, entries: Sequence[Entry]) -> Sequence[Place]:
        """Append resync or replay entries."""
        owners = [self._owner(entry) for entry in entries]
        places = [
            self._write(replace(entry, event=None) if entry.kind == Kind.REPLAY else entry, owner)
            for entry, owner in zip(entries, owners, strict=True)
        ]
        self._wake({place.partition for place in places})
        return places

    def _owner(self, entry: Entry) -> tuple[str, str]:
        owner = self._owners.get(entry.target)
        if owner is None:
            raise NotFound(f"target {entry.target} was never a subscription; append entries for one that is or was")
        return owner

    async def read(self, partition: int, *, after: int, limit: int) -> Sequence[Entry]:
        """Return a partition's entries after an offset."""
        return [self._shown(written) for _, written in zip(range(limit), self._above(partition, after), strict=False)]

    async def read_tenant(self, project: str, tenant: str, *, after: int, limit: int) -> Slice:
        """Return one tenant's entries after an offset of its partition."""
        owner, partition = (project, tenant), partition_of(project, tenant)
        held = [self._shown(written) for written in self._above(partition, after) if written.owner == owner]
        if len(held) >= limit:
            return Slice(held[:limit], held[limit - 1].offset)
        return Slice(held, self._heads.get(partition, 0))

    async def entries(self, partition: int, offsets: Sequence[int]) -> Sequence[Entry]:
        """Return the entries at these offsets that are still there."""
        log = self._logs[partition]
        return [self._shown(log[offset]) for offset in sorted(set(offsets)) if offset in log]

    def _above(self, partition: int, after: int) -> Iterator[_Written]:
        return (written for offset, written in self._logs[partition].items() if offset > after)

    def _shown(self, written: _Written) -> Entry:
        """Return an entry, a replay's with the original's event filled in."""
        entry = written.entry
        if entry.kind != Kind.REPLAY:
            return entry
        original = self._logs[entry.partition].get(entry.of)
        return replace(entry, event=original.entry.event if original else None)

    async def heads(self) -> Mapping[int, int]:
        """Return each partition's last offset."""
        return dict(self._heads)

    async def floors(self) -> Mapping[int, int]:
        """Return the highest dropped offset of all partitions."""
        return dict(self._floors)

    async def events(self, query: EventQuery, page: Page) -> Listing[Entry]:
        """List events, newest first."""
        found = select(
            window("events", page),
            (written for log in self._logs.values() for written in log.values() if _is_listed(written.entry, query)),
            lambda written: (written.number,),
        )
        return Listing([written.entry for written in found.data], found.next, found.prev)

    # -- registry ---------------------------------------------------------------------------------------------------

    async def put_project(self, project: Project) -> bool:
        """Create or replace a project."""
        is_new = project.name not in self._projects
        self._projects[project.name] = project
        return is_new

    async def project(self, name: str) -> Project | None:
        """Return a project."""
        return self._projects.get(name)

    async def projects(self, page: Page) -> Listing[Project]:
        """List projects, newest first."""
        return select(
            window("projects", page), self._projects.values(), lambda project: (project.created_ms, project.name)
        )

    async def delete_project(self, name: str) -> None:
        """Delete a project's registry; its log stays."""
        for subscription in [each for each in self._subscriptions.values() if each.project == name]:
            await self.remove(subscription)
        for tenant in [owner for owner in self._tenants if owner[0] == name]:
            del self._tenants[tenant]
        for number in [key.number for key in self._keys.values() if key.project == name]:
            del self._keys[number]
        for number in [job.number for job in self._jobs.values() if job.project == name]:
            del self._jobs[number]
        self._projects.pop(name, None)

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Create or replace a tenant."""
        is_new = (tenant.project, tenant.name) not in self._tenants
        self._tenants[tenant.project, tenant.name] = tenant
        return is_new

    async def tenant(self, project: str, name: str) -> Tenant | None:
        """Return a tenant."""
        return self._tenants.get((project, name))

    async def tenants(self, project: str, page: Page) -> Listing[Tenant]:
        """List a project's tenants, newest first."""
        held = (tenant for tenant in self._tenants.values() if tenant.project == project)
        return select(window("tenants", page), held, lambda tenant: (tenant.created_ms, tenant.name))

    async def number(self, kind: str) -> int:
        """Give out the next number of a kind."""
        self._numbers[f"{kind} number"] += 1
        return self._numbers[f"{kind} number"]

    async def put_key(self, key: ApiKey) -> None:
        """Create or replace an API key."""
        self._keys[key.number] = key

    async def key_of(self, digest: bytes) -> ApiKey | None:
        """Return the API key with this digest."""
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def key(self, number: int) -> ApiKey | None:
        """Return an API key."""
        return self._keys.get(number)

    async def keys(self, project: str, page: Page) -> Listing[ApiKey]:
        """List a project's API keys, newest first."""
        held = (key for key in self._keys.values() if key.project == project)
        return select(window("keys", page), held, lambda key: (key.number,))

    async def delete_key(self, number: int) -> bool:
        """Delete an API key."""
        return self._keys.pop(number, None) is not None

    async def change(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        """Write a subscription and, when there is one, its new version with a marker."""
        stored = self._subscriptions.get(subscription.number)
        found = stored.revision if stored else 0
        if found != revision:
            raise Conflict(
                f"subscription {subscription.id} has revision {found}, expected {revision}; read it again and repeat"
            )
        self._subscriptions[subscription.number] = replace(subscription, revision=revision + 1)
        self._owners[subscription.number] = (subscription.project, subscription.tenant)
        self._registry[subscription.partition] += 1
        offset = self._mark(subscription, version) if version else None
        self._wake({subscription.partition})
        return offset

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription with a last marker."""
        stored = self._subscriptions.pop(subscription.number, None)
        if stored is None:
            return
        self._registry[stored.partition] += 1
        self._mark(
            replace(stored, updated_ms=subscription.updated_ms),
            Version(stored.number, 0, Owed.NOTHING, stored.rule, stored.dialect),
        )
        self._versions.pop(stored.number, None)
        self._lanes.pop((stored.partition, stored.number), None)
        for key in [key for key in self._opens if key.subscription == stored.number]:
            del self._opens[key]
        self._wake({stored.partition})

    def _mark(self, subscription: Subscription, version: Version) -> int:
        """Append a marker with a version that is in force from there on; return its offset."""
        offset = self._heads.get(subscription.partition, 0) + 1
        version = replace(version, from_offset=offset)
        marker = Entry(subscription.partition, 0, subscription.updated_ms, None, Kind.MARKER, version=version)
        self._write(marker, (subscription.project, subscription.tenant))
        self._versions.setdefault(subscription.number, []).append(version)
        return offset

    async def subscription(self, number: int) -> Subscription | None:
        """Return a subscription."""
        return self._subscriptions.get(number)

    async def subscriptions(
        self, project: str, page: Page, *, tenant: str | None = None, status: Status | None = None
    ) -> Listing[Subscription]:
        """List a project's subscriptions, newest first."""
        held = (
            each
            for each in self._subscriptions.values()
            if each.project == project and tenant in (None, each.tenant) and status in (None, each.status)
        )
        return select(window("subscriptions", page), held, lambda each: (each.number,))

    async def subscriptions_of(self, project: str, tenant: str) -> Sequence[Subscription]:
        """Return all subscriptions of a tenant."""
        held = (each for each in self._subscriptions.values() if (each.project, each.tenant) == (project, tenant))
        return sorted(held, key=lambda each: each.number)

    async def versions_of(self, project: str, tenant: str) -> Sequence[Version]:
        """Return all versions of a tenant's living subscriptions."""
        held = await self.subscriptions_of(project, tenant)
        return [version for each in held for version in self._versions.get(each.number, [])]

    async def registry(self) -> Mapping[int, int]:
        """Return each partition's registry counter."""
        return dict(self._registry)

    # -- lanes ------------------------------------------------------------------------------------------------------

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

    async def lanes(self) -> Sequence[LaneRow]:
        """Return the rows of all behind lanes."""
        return [self._lanes[key] for key in sorted(self._lanes)]

    async def lane(self, partition: int, subscription: int) -> LaneRow | None:
        """Return a behind lane's row."""
        return self._lanes.get((partition, subscription))

    async def opens(self) -> Sequence[Open]:
        """Return all deliveries that are not settled."""
        return sorted(self._opens.values(), key=lambda open_: _place(open_.key))

    async def settled_after(self, partition: int, offset: int) -> Sequence[Settled]:
        """Return what was settled above an offset."""
        held = (each for key, each in self._settled.items() if key.partition == partition and key.last_offset > offset)
        return sorted(held, key=lambda settled: _place(settled.key))

    async def reopen(self, open_: Open) -> bool:
        """Move a settled delivery back to the open ones, or add a new one."""
        if open_.key in self._opens:
            return False
        self._settled.pop(open_.key, None)
        self._opens[open_.key] = open_
        return True

    # -- inspection -------------------------------------------------------------------------------------------------

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
            and _is_within(key.last_ms, query.since_ms, query.until_ms)
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

    # -- jobs and retention -----------------------------------------------------------------------------------------

    async def put_job(self, job: Job) -> None:
        """Create or replace a job."""
        self._jobs[job.number] = job

    async def job(self, number: int) -> Job | None:
        """Return a job."""
        return self._jobs.get(number)

    async def jobs(self, project: str, page: Page, *, tenant: str | None = None) -> Listing[Job]:
        """List a project's jobs, newest first."""
        held = (job for job in self._jobs.values() if job.project == project and tenant in (None, job.tenant))
        return select(window("jobs", page), held, lambda job: (job.number,))

    async def jobs_in(self, state: JobState) -> Sequence[Job]:
        """Return all jobs in a state, by number."""
        return [self._jobs[number] for number in sorted(self._jobs) if self._jobs[number].state == state]

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts."""
        room = limit
        room -= self._drop_kept(now_ms, room)
        floors = dict(self._floors)
        room -= self._drop_entries(before_ms, room)
        room -= self._drop_settled(before_ms, room)
        room -= self._drop_attempts(before_ms, room)
        self._drop_versions({partition for partition, floor in self._floors.items() if floor > floors[partition]})
        return limit - room

    def _drop_kept(self, now_ms: int, room: int) -> int:
        expired = sorted(key for key, kept in self._kept.items() if kept.expires_ms <= now_ms)[:room]
        for key in expired:
            del self._kept[key]
        return len(expired)

    def _drop_entries(self, before_ms: int, room: int) -> int:
        dropped = 0
        for partition in range(PARTITIONS):
            log, last = self._logs[partition], self._needed_from(partition) - 1
            old = takewhile(lambda written: written.entry.accepted_ms < before_ms, log.values())
            for written in [each for each in old if each.entry.offset <= last][: room - dropped]:  # noqa: B023  same turn
                del log[written.entry.offset]
                self._floors[partition] = written.entry.offset
                dropped += 1
        return dropped

    def _needed_from(self, partition: int) -> int:
        """Return the lowest offset of a partition that somebody still needs."""
        cursors = [lane.cursor + 1 for lane in self._lanes.values() if lane.partition == partition]
        opens = [
            min((key.last_offset, *open_.members))
            for key, open_ in self._opens.items()
            if key.partition == partition and open_.origin != Origin.TEST
        ]
        return min([self._watermarks.get(partition, 0) + 1, *cursors, *opens])

    def _drop_settled(self, before_ms: int, room: int) -> int:
        past = sorted(
            (key for key, each in self._settled.items() if each.origin != Origin.TEST and self._is_past(key)),
            key=_place,
        )
        tests = sorted(
            (key for key, each in self._settled.items() if each.origin == Origin.TEST and key.last_ms < before_ms),
            key=lambda key: (key.last_ms, _place(key)),
        )
        for key in (dropped := [*past, *tests][:room]):
            del self._settled[key]
        return len(dropped)

    def _is_past(self, key: Key) -> bool:
        return key.last_offset <= self._floors[key.partition]

    def _drop_attempts(self, before_ms: int, room: int) -> int:
        held = (attempt for numbers in self._attempts.values() for attempt in numbers.values())
        old = sorted(
            (each for each in held if each.at_ms < before_ms),
            key=lambda each: (each.at_ms, _place(each.key), each.number),
        )
        for attempt in old[:room]:
            del self._attempts[attempt.key][attempt.number]
        return len(old[:room])

    def _drop_versions(self, moved: set[int]) -> None:
        held = {number: versions for number, versions in self._versions.items() if self._partition(number) in moved}
        for number, versions in held.items():
            floor = self._floors[self._partition(number)]
            in_force = max((version.from_offset for version in versions if version.from_offset <= floor + 1), default=0)
            self._versions[number] = [version for version in versions if version.from_offset >= in_force]

    def _partition(self, subscription: int) -> int:
        return self._subscriptions[subscription].partition


def _place(key: Key) -> tuple[int, int, int]:
    return key.partition, key.last_offset, key.subscription


def _by_moment(delivery: Settled | Open) -> Cursor:
    return delivery.key.last_ms, *_place(delivery.key)


def _state(delivery: Settled | Open) -> State:
    return State.RETRYING if isinstance(delivery, Open) else delivery.state


def _weight(delivery: Settled | Open) -> int:
    return 1 if isinstance(delivery, Open) else delivery.count or 1


def _is_within(moment_ms: int, since_ms: int | None, until_ms: int | None) -> bool:
    return (since_ms is None or moment_ms >= since_ms) and (until_ms is None or moment_ms < until_ms)


def _is_listed(entry: Entry, query: EventQuery) -> bool:
    event = entry.event
    return (
        entry.kind == Kind.EVENT
        and event is not None
        and event.project == query.project
        and query.tenant in (None, event.tenant)
        and query.object in (None, event.object)
        and query.object_id in (None, event.object_id)
        and query.action in (None, event.action)
        and _is_within(entry.accepted_ms, query.since_ms, query.until_ms)
    )
