"""Append to the log, and read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound
from angarium.model.event import Entry, Kind, Place
from angarium.store.contract import EventQuery, Listing, Page, Slice
from angarium.store.paging import cut, encode, window
from angarium.store.postgres.days import NO_DAYS
from angarium.store.postgres.names import NOBODY, Numbers
from angarium.store.postgres.packed import END, Packed, way
from angarium.store.postgres.statements import first, run, value
from angarium.store.rows import entry_from

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.paging import Window
    from angarium.store.postgres.statements import Connection
    from angarium.store.postgres.transaction import Transaction

LOOKED_AT = 10_000
"""How many entries a page of a list looks at before it ends early."""


class Log(Packed):
    """The log's part of the store."""

    async def append(self, entries: Sequence[Entry]) -> Sequence[Place]:
        """Append resync or replay entries."""

        async def append(transaction: Transaction) -> list[Place]:
            owners = await self._names.owners_of(transaction.connection, {entry.target for entry in entries})
            for entry in entries:
                if owners[entry.target] == NOBODY:
                    raise NotFound(
                        f"target {entry.target} was never a subscription; append entries for one that is or was"
                    )
            numbers = [Numbers(owners[each.target][1], owners[each.target][0], each.partition) for each in entries]
            return await transaction.append(entries, numbers)

        return await self._change(append)

    async def read(self, partition: int, *, after: int, limit: int) -> Sequence[Entry]:
        """Return a partition's entries after an offset."""
        async with self._reading() as connection:
            since = self._days.since(partition, after + 1)
            rows = await run(connection, "read", partition=partition, after=after, since=since, limit=limit)
            self._days.learn_from(rows)
            return await self._entries(connection, rows)

    async def read_tenant(self, project: str, tenant: str, *, after: int, limit: int) -> Slice:
        """Return one tenant's entries after an offset of its partition."""
        partition = partition_of(project, tenant)
        async with self._reading() as connection:
            # The head comes first: whatever is committed by then is seen by the next statement.
            head: int = await value(connection, "head", partition=partition)
            number = await self._tenant_number(connection, project, tenant)
            since = self._days.since(partition, after + 1)
            asked = {"tenant": number, "after": after, "head": head, "since": since, "limit": limit}
            rows = await run(connection, "read_tenant", **asked)
            self._days.learn_from(rows)
            entries = await self._entries(connection, rows)
        return Slice(entries, entries[-1].offset if len(entries) >= limit else head)

    async def entries(self, partition: int, offsets: Sequence[int]) -> Sequence[Entry]:
        """Return the entries at these offsets that are still there."""
        async with self._reading() as connection:
            return await self._entries(connection, await self._at(connection, partition, offsets))

    async def heads(self) -> Mapping[int, int]:
        """Return each partition's last offset."""
        async with self._reading() as connection:
            return {partition: head for partition, head, _ in await run(connection, "standing") if head}

    async def floors(self) -> Mapping[int, int]:
        """Return the highest dropped offset of all partitions."""
        async with self._reading() as connection:
            return dict(map(tuple, await run(connection, "floors")))

    async def registry(self) -> Mapping[int, int]:
        """Return each partition's registry counter."""
        async with self._reading() as connection:
            return {partition: registry for partition, _, registry in await run(connection, "standing") if registry}

    async def events(self, query: EventQuery, page: Page) -> Listing[Entry]:
        """List events, newest first; a page may end before it is full when others had to be passed over."""
        wanted = window("events", page)
        async with self._reading() as connection:
            rows = await self._listed(connection, query, wanted)
            edge = rows[0]["edge"] if rows else None
            found = [row for row in rows if row["sequence"] is not None]
            listing = cut(wanted, found, lambda row: (row["sequence"],))
            if len(found) <= wanted.limit and edge is not None:
                beyond = encode(wanted.name, (edge,))
                listing = replace(listing, prev=beyond) if wanted.is_backward else replace(listing, next=beyond)
            entries = await self._entries(connection, listing.data)
        return Listing(entries, listing.next, listing.prev)

    async def _listed(self, connection: Connection, query: EventQuery, wanted: Window) -> list[Record]:
        """Return the events nearest to a page's cursor, each with up to where was looked for more."""
        scope = await self._scope(connection, query.project, query.tenant)
        if scope is None:
            return []
        since = -END if query.since_ms is None else query.since_ms
        until = END if query.until_ms is None else query.until_ms
        above, below = await _between(connection, wanted, since, until)
        asked = {
            "object": _bytes(query.object),
            "object_id": _bytes(query.object_id),
            "action": _bytes(query.action),
            "since": since,
            "until": until,
            "looked_at": LOOKED_AT,
            "limit": wanted.limit + 1,
        }
        if query.tenant is None:
            place = {"project": scope, "above": above, "below": below}
            return await run(connection, f"list_of_project_{way(wanted)}", **place, **asked)
        partition = partition_of(query.project, query.tenant)
        lowest = await _offset_of(connection, partition, scope, above)
        highest = await _offset_of(connection, partition, scope, below - 1)
        place = {"tenant": scope, "lowest": lowest, "highest": highest}
        return await run(connection, f"list_of_tenant_{way(wanted)}", **place, **asked)

    async def _entries(self, connection: Connection, rows: Sequence[Record]) -> list[Entry]:
        """Return rows' entries, with the originals' events of replays."""
        entries = await self._decoded(connection, rows)
        replays = [entry for entry in entries if entry.kind == Kind.REPLAY]
        if not replays:
            return entries
        rows = await self._at(connection, replays[0].partition, [entry.of for entry in replays])
        held = await self._decoded(connection, rows)
        originals = {each.offset: each.event for each in held}
        return [replace(each, event=originals.get(each.of)) if each.kind == Kind.REPLAY else each for each in entries]

    async def _at(self, connection: Connection, partition: int, offsets: Sequence[int]) -> list[Record]:
        """Return what is there of a partition's entries at these offsets."""
        days = self._days.of(partition, min(offsets), max(offsets)) if offsets else NO_DAYS
        rows = await run(connection, "entries", partition=partition, offsets=list(offsets), **days)
        self._days.learn_from(rows)
        return rows

    async def _decoded(self, connection: Connection, rows: Sequence[Record]) -> list[Entry]:
        names = await self._names.names_of(connection, {row["tenant"] for row in rows})
        found = []
        for row in rows:
            partition, offset, accepted_ms, kind, object_, action, object_id, extra, data, tenant, *_ = row
            columns = (
                partition,
                offset,
                accepted_ms,
                kind,
                object_.decode(),
                action.decode(),
                object_id.decode(),
                extra,
                data,
            )
            found.append(entry_from(columns, *names[tenant]))
        return found


async def _between(connection: Connection, wanted: Window, since: int, until: int) -> tuple[int, int]:
    """Return between which numbers a page lies, both excluded, as its cursor and the time that is asked for say."""
    above = int(wanted.before[0]) if wanted.before else 0
    below = int(wanted.after[0]) if wanted.after else END
    if (since, until) == (-END, END):
        return above, below
    row = await first(connection, "sequences_of_time", since=since, until=until)
    assert row
    lowest, highest = row
    return (above, 0) if lowest is None else (max(above, lowest - 1), min(below, highest + 1))


async def _offset_of(connection: Connection, partition: int, tenant: int, sequence: int) -> int:
    """Return a tenant's last offset whose number is not above one."""
    if sequence <= 0 or sequence >= END - 1:
        return min(max(sequence, 0), END)
    offset: int = await value(connection, "offset_of", partition=partition, tenant=tenant, sequence=sequence)
    return offset


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
