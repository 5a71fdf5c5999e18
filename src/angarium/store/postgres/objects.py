"""Say what objects are now, and what they were; append their state to the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound, StoreDamaged
from angarium.model.event import Entry, Event, Kind, ObjectState, Place
from angarium.store.postgres.folding import Folding, fold
from angarium.store.postgres.statements import first, run, value
from angarium.store.rows import extra_of

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.postgres.transaction import Transaction


class Objects(Folding):
    """The objects' part of the store."""

    async def object(self, project: str, tenant: str, object_: str, object_id: str) -> ObjectState | None:
        """Return an object's state, as far as the log is folded."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
            asked = {"object": object_.encode(), "object_id": object_id.encode()}
            row = await first(connection, "object", tenant=number, **asked)
        return _state(project, tenant, row) if row else None

    async def objects(
        self, project: str, tenant: str, object_: str, *, after: str, limit: int
    ) -> Sequence[ObjectState]:
        """Return a tenant's next objects of one kind."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
            asked = {"object": object_.encode(), "after": after.encode(), "limit": limit}
            rows = await run(connection, "objects", tenant=number, **asked)
        return [_state(project, tenant, row) for row in rows]

    async def object_kinds(self, project: str, tenant: str) -> Sequence[str]:
        """Return which kinds of objects a tenant has or had."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
            return [kind.decode() for (kind,) in await run(connection, "object_kinds", tenant=number)]

    async def count_objects(self, project: str, tenant: str, object_: str) -> int:
        """Return how many objects of one kind a tenant has."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
            count: int = await value(connection, "count_objects", tenant=number, object=object_.encode())
        return count

    async def data_at(self, project: str, tenant: str, object_: str, object_id: str, *, offset: int) -> bytes | None:
        """Return an object's data as the log up to and with an offset says."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
            asked = {"tenant": number, "object": object_.encode(), "object_id": object_id.encode()}
            partition = partition_of(project, tenant)
            # How far it is folded comes first: what is folded meanwhile is then in the row, or looked at twice.
            folded_to = await value(connection, "folded_to", partition=partition)
            row = await first(connection, "object", **asked)
            if row and row["data_offset"] > offset:
                days = self._days.of(partition, 1, offset)
                found: bytes | None = await value(connection, "last_data", above=0, to=offset, **days, **asked)
                return found
            days = self._days.of(partition, folded_to + 1, offset)
            later: bytes | None = await value(connection, "last_data", above=folded_to, to=offset, **days, **asked)
        if later is not None:
            return later
        return _state(project, tenant, row).data if row and row["data_offset"] else None

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
        partition = partition_of(project, tenant)

        async def append(transaction: Transaction) -> list[Place]:
            connection = transaction.connection
            numbers = await self._names.find(connection, project, tenant)
            owner = (await self._names.owners_of(connection, [target]))[target]
            if numbers is None or owner != (numbers.project, numbers.tenant):
                raise NotFound(
                    f"target {target} was never a subscription of tenant {tenant}; "
                    "append entries for one that is or was"
                )
            await transaction.lock([partition])
            await fold(connection, partition=partition)
            rows = await run(
                connection,
                "some_objects",
                tenant=numbers.tenant,
                objects=[object_.encode() for object_, _ in ids],
                object_ids=[object_id.encode() for _, object_id in ids],
            )
            states = {(each.object, each.object_id): each for each in (_state(project, tenant, row) for row in rows)}
            events = [event_of(state) for name in ids if (state := states.get(name)) and not state.is_deleted]
            entries = [Entry(partition, 0, now_ms, event, Kind.RESYNC, target=target) for event in events if event]
            return await transaction.append(entries, [numbers] * len(entries))

        await self._fold_all()  # Most of it, while nobody waits for the partition.
        return await self._change(append)


def _state(project: str, tenant: str, row: Record) -> ObjectState:
    _, object_, object_id, partition, offset, data_offset, _, accepted_ms, action, packed, data = row
    if action is None or (data_offset and data is None):
        raise StoreDamaged("entries are missing that objects consist of; restore the store from a copy")
    extra = extra_of(packed)
    return ObjectState(
        project,
        tenant,
        object_.decode(),
        object_id.decode(),
        partition,
        offset,
        accepted_ms,
        action.decode(),
        data if data_offset else b"",
        data_offset,
        extra.url,
        extra.attributes,
        extra.occurred_us,
    )
