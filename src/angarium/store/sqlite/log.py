"""Append to the log, and read it: what is not indexed yet is found through memory, the rest through its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import json
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound
from angarium.model.event import PARTITIONS, Entry, Kind
from angarium.store.contract import Listing, Slice
from angarium.store.paging import cut, encode, window
from angarium.store.sqlite.file import File
from angarium.store.sqlite.ledger import NOBODY, Numbers
from angarium.store.sqlite.places import find
from angarium.store.sqlite.rows import entry_of
from angarium.store.sqlite.statements import first, run, value

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable, Mapping, Sequence

    import apsw

    from angarium.model.event import Place
    from angarium.store.contract import EventQuery, Page, Publish, Receipt
    from angarium.store.paging import Window
    from angarium.store.sqlite.fresh import Fresh
    from angarium.store.sqlite.transaction import Transaction

LOOKED_AT = 2000
"""How many entries a page of events looks at before it ends early."""

_END = 2**63 - 1


class _Scope(NamedTuple):
    """Whose events a list shows: `tenant` or `project`, and its number."""

    name: str
    number: int


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
            held = _read_tenant(connection, self._ledger.fresh, (project, tenant), after, limit)
            if len(held) >= limit:
                return Slice(held, held[-1].offset)
            return Slice(held, max(head, held[-1].offset) if held else head)

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
        return await self._read(lambda connection: _list(connection, self._ledger.fresh, query, wanted))


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
        places = run(connection, "places_after", (partition, after, limit))
    last = places[-1][0] if places else after
    sequences = [sequence for _, sequence in places] + fresh.after(partition, last, limit - len(places))
    return _shown(connection, fresh, _fetch(connection, sequences))


def _read_tenant(
    connection: apsw.Connection, fresh: Fresh, owner: tuple[str, str], after: int, limit: int
) -> list[Entry]:
    partition, found = partition_of(*owner), first(connection, "tenant_number", owner)
    if found is None:
        return []
    above, sequences = fresh.at(partition, after), []
    if above is None:
        asked = {"tenant": found[0], "partition": partition, "after": after, "limit": limit}
        sequences = [sequence for (sequence,) in run(connection, "tenant_after", asked)]
        above = sequences[-1] if sequences else 0
    sequences += fresh.of_tenant(found[0], above=above, limit=limit - len(sequences))
    return _shown(connection, fresh, [entry for entry in _fetch(connection, sequences) if entry.offset > after])


def _at(connection: apsw.Connection, fresh: Fresh, partition: int, offsets: Iterable[int]) -> list[Entry]:
    """Return what stands at some offsets, replays without their events."""
    places = find(connection, fresh, partition, offsets)
    return _fetch(connection, [places[offset] for offset in sorted(places)])


def _fetch(connection: apsw.Connection, sequences: Sequence[int]) -> list[Entry]:
    if not sequences:
        return []
    return [entry_of(row) for row in run(connection, "entries", (json.encode(sequences).decode(),))]


def _shown(connection: apsw.Connection, fresh: Fresh, entries: list[Entry]) -> list[Entry]:
    """Fill in the originals' events of replays."""
    replays = [entry for entry in entries if entry.kind == Kind.REPLAY]
    if not replays:
        return entries
    partition = replays[0].partition
    originals = {each.offset: each.event for each in _at(connection, fresh, partition, (each.of for each in replays))}
    return [replace(each, event=originals.get(each.of)) if each.kind == Kind.REPLAY else each for each in entries]


# -- listing ----------------------------------------------------------------------------------------------------------


def _list(connection: apsw.Connection, fresh: Fresh, query: EventQuery, wanted: Window) -> Listing[Entry]:
    """List events: numbers in commit order come from an index, and are then held against the filter."""
    scope = _scope(connection, query)
    if scope is None:
        return Listing([])
    candidates = _candidates(connection, fresh, scope, *_bounds(connection, fresh, query, wanted), wanted=wanted)
    looked_at = candidates[:LOOKED_AT]
    found = [sequence for (sequence,) in run(connection, "fitting", _filter(query, looked_at, wanted.limit + 1))]
    listing = cut(wanted, found, lambda sequence: (sequence,))
    if len(found) <= wanted.limit and len(candidates) > LOOKED_AT:
        beyond = encode(wanted.name, (looked_at[-1],))
        listing = replace(listing, prev=beyond) if wanted.is_backward else replace(listing, next=beyond)
    return Listing(_fetch(connection, listing.data), listing.next, listing.prev)


def _scope(connection: apsw.Connection, query: EventQuery) -> _Scope | None:
    if query.tenant is not None:
        found = first(connection, "tenant_number", (query.project, query.tenant))
        return _Scope("tenant", found[0]) if found else None
    number = value(connection, "project_number", (query.project,))
    return _Scope("project", number) if number is not None else None


def _bounds(connection: apsw.Connection, fresh: Fresh, query: EventQuery, wanted: Window) -> tuple[int, int]:
    """Return between which numbers, both excluded, a page may lie."""
    above = int(wanted.before[0]) if wanted.before else 0
    below = int(wanted.after[0]) if wanted.after else _END
    if query.since_ms is not None or query.until_ms is not None:
        ((lowest, highest),) = run(connection, "sequences_of_time", _time(query))
        if lowest is not None:
            above = max(above, lowest - 1)
        if not fresh.count:
            below = min(below, 0 if highest is None else highest + 1)
    return above, below


def _candidates(
    connection: apsw.Connection, fresh: Fresh, scope: _Scope, above: int, below: int, *, wanted: Window
) -> list[int]:
    """Return the numbers nearest to the cursor, one more than are looked at."""
    way = "up" if wanted.is_backward else "down"
    asked = (scope.number, above, below, LOOKED_AT + 1)
    newer = fresh.listed(scope.name, scope.number, above=above, below=below)
    block = "listed_by_tenant" if scope.name == "tenant" else "listed_by_project"
    older = [sequence for (sequence,) in run(connection, f"{block}_{way}", asked)]
    return sorted({*newer, *older}, reverse=not wanted.is_backward)[: LOOKED_AT + 1]


def _time(query: EventQuery) -> dict[str, int]:
    return {
        "since": 0 if query.since_ms is None else query.since_ms,
        "until": _END if query.until_ms is None else query.until_ms,
    }


def _filter(query: EventQuery, sequences: Sequence[int], limit: int) -> dict[str, int | str | None]:
    return {
        "sequences": json.encode(sequences).decode(),
        "object": query.object,
        "object_id": query.object_id,
        "action": query.action,
        "limit": limit,
        **_time(query),
    }
