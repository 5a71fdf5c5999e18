"""Append to the log, and read it: what is not indexed yet is found through memory, the rest through its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound
from angarium.model.event import PARTITIONS, Entry, Kind
from angarium.store.contract import Listing, Slice
from angarium.store.paging import window
from angarium.store.sqlite.file import File
from angarium.store.sqlite.ledger import NOBODY, Numbers
from angarium.store.sqlite.listing import list_events
from angarium.store.sqlite.places import fetch, find, indexed_between
from angarium.store.sqlite.statements import first, run

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable, Mapping, Sequence

    import apsw

    from angarium.model.event import Place
    from angarium.store.contract import EventQuery, Page, Publish, Receipt
    from angarium.store.sqlite.fresh import Fresh
    from angarium.store.sqlite.transaction import Transaction

LOOKED_AT = 10_000
"""How many of a partition's entries a reader of one tenant looks at in one go."""


class Log(File):
    """The log's part of the store."""

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Append a publish's events, or answer what its key answered before."""
        return self._writer.accept(publish)

    async def append(self, entries: Sequence[Entry]) -> Sequence[Place]:
        """Append resync or replay entries."""
        return await self._change(lambda transaction: _append(transaction, entries), rows=len(entries))

    async def read(self, partition: int, *, after: int, limit: int) -> Sequence[Entry]:
        """Return a partition's entries after an offset."""
        return await self._read(lambda connection: _read(connection, self._ledger.fresh, partition, after, limit))

    async def read_tenant(self, project: str, tenant: str, *, after: int, limit: int) -> Slice:
        """Return one tenant's entries after an offset of its partition."""
        head = self._heads.get(partition_of(project, tenant), 0)

        def read(connection: apsw.Connection) -> Slice:
            held, looked_to = _read_tenant(connection, self._ledger.fresh, (project, tenant), after, limit)
            if len(held) >= limit:
                return Slice(held, held[-1].offset)
            return Slice(held, max([head, *(entry.offset for entry in held[-1:])]) if looked_to is None else looked_to)

        return await self._read(read)

    async def entries(self, partition: int, offsets: Sequence[int]) -> Sequence[Entry]:
        """Return the entries at these offsets that are still there."""

        def read(connection: apsw.Connection) -> list[Entry]:
            fresh = self._ledger.fresh
            return _shown(connection, fresh, _at(connection, fresh, partition, offsets))

        return await self._read(read)

    async def heads(self) -> Mapping[int, int]:
        """Return each partition's last offset."""
        return dict(self._heads)

    async def floors(self) -> Mapping[int, int]:
        """Return the highest dropped offset of all partitions."""
        return {partition: self._floors.get(partition, 0) for partition in range(PARTITIONS)}

    async def events(self, query: EventQuery, page: Page) -> Listing[Entry]:
        """List events, newest first."""
        wanted = window("events", page)
        return await self._read(lambda connection: list_events(connection, self._ledger.fresh, query, wanted))


def _append(transaction: Transaction, entries: Sequence[Entry]) -> Sequence[Place]:
    owners = transaction.ledger.owners(entry.target for entry in entries)
    for entry in entries:
        if owners[entry.target] == NOBODY:
            raise NotFound(f"target {entry.target} was never a subscription; append entries for one that is or was")
    numbers = [Numbers(owners[entry.target][1], owners[entry.target][0], entry.partition) for entry in entries]
    return [transaction.append(entry, whose) for entry, whose in zip(entries, numbers, strict=True)]


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(connection: apsw.Connection, fresh: Fresh, partition: int, after: int, limit: int) -> list[Entry]:
    """Read a partition on. The index is asked only for what lies below the first entry that it lacks."""
    first, places = fresh.first_offset(partition), []
    if first is None or after + 1 < first:
        places = run(connection, "places_after", {"partition": partition, "after": after, "limit": limit})
    last = places[-1][0] if places else after
    sequences = [sequence for _, sequence in places] + fresh.after(partition, last, limit - len(places))
    return _shown(connection, fresh, fetch(connection, sequences))


def _read_tenant(
    connection: apsw.Connection, fresh: Fresh, owner: tuple[str, str], after: int, limit: int
) -> tuple[list[Entry], int | None]:
    """Read a tenant on among its partition's entries; also return how far was looked when that is not to their end."""
    partition, found = partition_of(*owner), first(connection, "tenant_number", owner)
    if found is None:
        return [], None
    sequences: list[int] = []
    above = fresh.at(partition, after)
    if above is None:
        floor, head = indexed_between(connection, partition)
        start = max(after, floor) + 1
        end = min(head, start + LOOKED_AT - 1)
        asked = (partition, start, end, found[0], limit)
        sequences = [sequence for (sequence,) in run(connection, "places_of_tenant_up", asked)]
        if end < head:
            return _shown(connection, fresh, fetch(connection, sequences)), end
        above = 0
    newer = fresh.of_tenant(found[0], above=max([above, *sequences[-1:]]), limit=limit - len(sequences))
    entries = fetch(connection, sequences + newer)
    return _shown(connection, fresh, [entry for entry in entries if entry.offset > after]), None


def _at(connection: apsw.Connection, fresh: Fresh, partition: int, offsets: Iterable[int]) -> list[Entry]:
    """Return what stands at some offsets, replays without their events."""
    places = find(connection, fresh, partition, offsets)
    return fetch(connection, [places[offset] for offset in sorted(places)])


def _shown(connection: apsw.Connection, fresh: Fresh, entries: list[Entry]) -> list[Entry]:
    """Fill in the originals' events of replays."""
    replays = [entry for entry in entries if entry.kind == Kind.REPLAY]
    if not replays:
        return entries
    partition = replays[0].partition
    originals = {each.offset: each.event for each in _at(connection, fresh, partition, (each.of for each in replays))}
    return [replace(each, event=originals.get(each.of)) if each.kind == Kind.REPLAY else each for each in entries]
