"""Fold the log into the current state of its objects, say what they are and were, and append their state to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound
from angarium.model.event import Entry, Event, Kind, ObjectState, Place
from angarium.store.memory.held import Held, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Objects(Held):
    """The objects' part of the store."""

    async def fold_objects(self, *, limit: int) -> int:
        """Fold the next entries of the log, at most `limit`."""
        return self._fold(limit)

    async def object(self, project: str, tenant: str, object_: str, object_id: str) -> ObjectState | None:
        """Return an object's state, as far as the log is folded."""
        return self._objects.get((project, tenant, object_, object_id))

    async def objects(
        self, project: str, tenant: str, object_: str, *, after: str, limit: int
    ) -> Sequence[ObjectState]:
        """Return a tenant's next objects of one kind."""
        held = (state for state in self._living(project, tenant, object_) if state.object_id > after)
        return sorted(held, key=lambda state: state.object_id)[:limit]

    async def object_kinds(self, project: str, tenant: str) -> Sequence[str]:
        """Return which kinds of objects a tenant has or had."""
        return sorted({key[2] for key in self._objects if key[:2] == (project, tenant)})

    async def count_objects(self, project: str, tenant: str, object_: str) -> int:
        """Return how many objects of one kind a tenant has."""
        return len(self._living(project, tenant, object_))

    def _living(self, *kind: str) -> list[ObjectState]:
        return [state for key, state in self._objects.items() if key[:3] == kind and not state.is_deleted]

    async def data_at(self, project: str, tenant: str, object_: str, object_id: str, *, offset: int) -> bytes | None:
        """Return an object's data as the log up to and with an offset says."""
        name = (project, tenant, object_, object_id)
        state = self._objects.get(name)
        log = self._logs[partition_of(project, tenant)]
        if state and state.data_offset > offset:
            return _last_data(log.values(), name, offset)
        later = (written for written in log.values() if written.number > self._folded_to)
        found = _last_data(later, name, offset)
        return state.data if found is None and state and state.data_offset else found

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
        self._fold()
        owner, partition = (project, tenant), partition_of(project, tenant)
        if self._owners.get(target) != owner:
            raise NotFound(
                f"target {target} was never a subscription of tenant {tenant}; append entries for one that is or was"
            )
        states = [self._objects.get((*owner, *names)) for names in ids]
        events = [event_of(state) for state in states if state and not state.is_deleted]
        entries = [Entry(partition, 0, now_ms, event, Kind.RESYNC, target=target) for event in events if event]
        places = [self._write(entry, owner) for entry in entries]
        self._wake({place.partition for place in places})
        return places


def _last_data(held: Iterable[Written], name: tuple[str, str, str, str], offset: int) -> bytes | None:
    """Return the data of an object's last event that has any, up to an offset."""
    found = None
    for written in held:
        event = written.entry.event
        if (
            event
            and event.data
            and written.entry.kind == Kind.EVENT
            and written.entry.offset <= offset
            and name == (event.project, event.tenant, event.object, event.object_id)
        ):
            found = event.data
    return found
