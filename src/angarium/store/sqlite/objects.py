"""Say what objects are now, and what they were; append their state to the log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec import json

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound, StoreDamaged
from angarium.model.event import Entry, Event, Kind, ObjectState
from angarium.store.rows import entry_of
from angarium.store.sqlite.folding import Folding, fold
from angarium.store.sqlite.ledger import Numbers
from angarium.store.sqlite.places import find, indexed_between
from angarium.store.sqlite.statements import Row, first, run, value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from angarium.model.event import Place
    from angarium.store.sqlite.fresh import Fresh
    from angarium.store.sqlite.transaction import Transaction

LOOKED_AT = 10_000
"""How many of a partition's entries a search looks at in one go."""

_END = 2**63 - 1


class _Wanted(NamedTuple):
    """Whose state is looked for."""

    project: str
    tenant: str
    object: str
    object_id: str


class _Further(NamedTuple):
    """From which offset downward a search goes on."""

    offset: int


class Objects(Folding):
    """The objects' part of the store."""

    async def object(self, project: str, tenant: str, object_: str, object_id: str) -> ObjectState | None:
        """Return an object's state, as far as the log is folded."""

        def read(connection: apsw.Connection) -> ObjectState | None:
            number = _tenant(connection, project, tenant)
            return next(iter(_states(connection, run(connection, "object", (number, object_, object_id)))), None)

        return await self._read(read)

    async def objects(
        self, project: str, tenant: str, object_: str, *, after: str, limit: int
    ) -> Sequence[ObjectState]:
        """Return a tenant's next objects of one kind."""

        def read(connection: apsw.Connection) -> list[ObjectState]:
            asked = (_tenant(connection, project, tenant), object_, after, limit)
            return _states(connection, run(connection, "objects", asked))

        return await self._read(read)

    async def object_kinds(self, project: str, tenant: str) -> Sequence[str]:
        """Return which kinds of objects a tenant has or had."""

        def read(connection: apsw.Connection) -> list[str]:
            return [
                kind for (kind,) in run(connection, "object_kinds", {"tenant": _tenant(connection, project, tenant)})
            ]

        return await self._read(read)

    async def count_objects(self, project: str, tenant: str, object_: str) -> int:
        """Return how many objects of one kind a tenant has."""

        def read(connection: apsw.Connection) -> int:
            count: int = value(connection, "count_objects", (_tenant(connection, project, tenant), object_))
            return count

        return await self._read(read)

    async def data_at(self, project: str, tenant: str, object_: str, object_id: str, *, offset: int) -> bytes | None:
        """Return an object's data as the log up to and with an offset says."""
        wanted = _Wanted(project, tenant, object_, object_id)
        found = await self._read(lambda connection: _data_at(connection, self._ledger.fresh, wanted, offset))
        while isinstance(found, _Further):
            found = await self._read(partial(_search_index, wanted=wanted, offset=found.offset))
        return found

    async def append_states(
        self,
        project: str,
        tenant: str,
        ids: Sequence[tuple[str, str]],
        *,
        target: int,
        now_ms: int,
        event_of: Callable[[ObjectState], Event | None],
    ) -> Sequence[Place]:
        """Append a resync entry for each of these objects that is not deleted."""

        def append(transaction: Transaction) -> list[Place]:
            numbers = _numbers(transaction, project, tenant, target)
            fold(transaction)
            states = [_state_of(transaction.connection, numbers.tenant, *names) for names in ids]
            events = [event_of(state) for state in states if state and not state.is_deleted]
            entries = [
                Entry(numbers.partition, 0, now_ms, event, Kind.RESYNC, target=target) for event in events if event
            ]
            return [transaction.append(entry, numbers) for entry in entries]

        await self._fold_all()
        return await self._change(append, rows=len(ids))


def _numbers(transaction: Transaction, project: str, tenant: str, target: int) -> Numbers:
    """Return the numbers of a target's tenant; `NotFound` when it is none of this tenant's."""
    owner = transaction.ledger.owners([target])[target]
    found = first(transaction.connection, "tenant_number", (project, tenant))
    if found is None or owner != (found[1], found[0]):
        raise NotFound(
            f"target {target} was never a subscription of tenant {tenant}; append entries for one that is or was"
        )
    return Numbers(found[0], found[1], partition_of(project, tenant))


def _tenant(connection: apsw.Connection, project: str, tenant: str) -> int | None:
    """Return a tenant's number; None finds nothing."""
    found = first(connection, "tenant_number", (project, tenant))
    return found[0] if found else None


# -- states -----------------------------------------------------------------------------------------------------------


def _state_of(connection: apsw.Connection, tenant: int, object_: str, object_id: str) -> ObjectState | None:
    return next(iter(_states(connection, run(connection, "object", (tenant, object_, object_id)))), None)


def _states(connection: apsw.Connection, rows: Sequence[Row]) -> list[ObjectState]:
    """Return the states that objects' rows name, in their order."""
    sequences = {sequence for row in rows for sequence in row if sequence}
    entries = {row[-1]: entry_of(row[:-1]) for row in run(connection, "state_entries", _packed(sorted(sequences)))}
    if len(entries) != len(sequences):
        raise StoreDamaged("entries are missing that objects consist of; restore the file from a copy")
    return [_state(entries[sequence], entries.get(data_sequence)) for sequence, data_sequence in rows]


def _state(last: Entry, with_data: Entry | None) -> ObjectState:
    event = last.event
    assert event
    return ObjectState(
        event.project,
        event.tenant,
        event.object,
        event.object_id,
        last.partition,
        last.offset,
        last.accepted_ms,
        event.action,
        with_data.event.data if with_data and with_data.event else b"",
        with_data.offset if with_data else 0,
        event.url,
        event.attributes,
        event.occurred_us,
    )


# -- what they were ---------------------------------------------------------------------------------------------------


def _data_at(connection: apsw.Connection, fresh: Fresh, wanted: _Wanted, offset: int) -> bytes | _Further | None:
    """Return an object's data at an offset, or from where its partition's index is to be searched for it."""
    tenant = _tenant(connection, wanted.project, wanted.tenant)
    if tenant is None:
        return None
    partition = partition_of(wanted.project, wanted.tenant)
    state = _state_of(connection, tenant, wanted.object, wanted.object_id)
    if state and state.data_offset > offset:
        return _search(connection, fresh, wanted, offset)
    asked = {
        "above": value(connection, "folded_to"),
        "to": _sequence_at(connection, fresh, partition, offset),
        "tenant": tenant,
        "object": wanted.object,
        "object_id": wanted.object_id,
    }
    later = run(connection, "last_data_between", asked)
    if later:
        return _data_of(connection, later)
    return state.data if state and state.data_offset else None


def _sequence_at(connection: apsw.Connection, fresh: Fresh, partition: int, offset: int) -> int:
    """Return an entry's number in commit order: beyond all when it is still to come, 0 when it was dropped."""
    found = find(connection, fresh, partition, [offset])
    if found:
        return found[offset]
    floor, _ = indexed_between(connection, partition)
    return 0 if offset <= floor else _END


def _search(connection: apsw.Connection, fresh: Fresh, wanted: _Wanted, offset: int) -> bytes | _Further | None:
    """Search the log from an offset downward, as far as it is not indexed yet."""
    partition = partition_of(wanted.project, wanted.tenant)
    tenant = _tenant(connection, wanted.project, wanted.tenant)
    assert tenant is not None
    below = _sequence_at(connection, fresh, partition, offset)
    newer = fresh.listed("tenant", tenant, above=0, below=min(below + 1, _END))
    found = _first_with_data(connection, wanted, newer[::-1])
    return _data_of(connection, found) if found else _Further(offset)


def _search_index(connection: apsw.Connection, wanted: _Wanted, offset: int) -> bytes | _Further | None:
    """Search some of a partition's index from an offset downward."""
    partition = partition_of(wanted.project, wanted.tenant)
    floor, head = indexed_between(connection, partition)
    end = min(offset, head)
    if end <= floor:
        return None
    start = max(floor + 1, end - LOOKED_AT + 1)
    tenant = _tenant(connection, wanted.project, wanted.tenant)
    asked = (partition, start, end, tenant, LOOKED_AT)
    found = _first_with_data(connection, wanted, [row[0] for row in run(connection, "places_of_tenant_down", asked)])
    return _data_of(connection, found) if found else _Further(start - 1)


def _first_with_data(connection: apsw.Connection, wanted: _Wanted, sequences: Sequence[int]) -> list[Row]:
    asked = {"object": wanted.object, "object_id": wanted.object_id, **_packed(sequences)}
    return run(connection, "last_data", asked)


def _data_of(connection: apsw.Connection, found: Sequence[Row]) -> bytes:
    ((sequence,),) = found
    (row,) = run(connection, "state_entries", _packed([sequence]))
    event = entry_of(row[:-1]).event
    assert event
    return event.data


def _packed(sequences: Sequence[int]) -> dict[str, str]:
    return {"sequences": json.encode(sequences).decode()}
