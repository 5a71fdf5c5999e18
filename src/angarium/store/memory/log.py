"""Append to the log, and read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import AngariumError, KeyReused, NotFound
from angarium.model.event import Entry, Kind, Place
from angarium.model.registry import Tenant
from angarium.store.contract import KEY_LASTS_MS, Listing, Receipt, Slice
from angarium.store.memory.held import Held, Kept, Written, is_within
from angarium.store.paging import select, window

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterator, Mapping, Sequence

    from angarium.model.event import Event
    from angarium.store.contract import EventQuery, Page, Publish


class Log(Held):
    """The log's part of the store."""

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
            self._kept[publish.project, publish.key] = Kept(publish.digest, receipt, expires_ms)
        self._wake({place.partition for place in places})
        return receipt

    def _accept_one(self, event: Event, now_ms: int) -> Place:
        owner = (event.project, event.tenant)
        self._tenants.setdefault(owner, Tenant(event.project, event.tenant, now_ms))
        return self._write(Entry(partition_of(*owner), 0, now_ms, event), owner)

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

    def _above(self, partition: int, after: int) -> Iterator[Written]:
        return (written for offset, written in self._logs[partition].items() if offset > after)

    def _shown(self, written: Written) -> Entry:
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
        and is_within(entry.accepted_ms, query.since_ms, query.until_ms)
    )
