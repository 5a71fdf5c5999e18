"""List events: candidates come in commit order, from memory and an index, and are then held against the filter.

A list of one tenant's looks through its partition, one of a project's through the project's index. Either looks at so
many at most; the page ends early then, and its cursor goes on behind what was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import json
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.store.contract import Listing
from angarium.store.paging import cut, encode
from angarium.store.sqlite.places import fetch, indexed_between
from angarium.store.sqlite.statements import first, run, value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from angarium.model.event import Entry
    from angarium.store.contract import EventQuery
    from angarium.store.paging import Window
    from angarium.store.sqlite.fresh import Fresh

LOOKED_AT = 2000
"""How many entries a page looks at before it ends early."""

_END = 2**63 - 1


class _Bounds(NamedTuple):
    """The numbers in commit order, both excluded, between which a page lies, and from which end it is filled."""

    above: int
    below: int
    is_backward: bool

    @property
    def way(self) -> str:
        return "up" if self.is_backward else "down"


class _Looked(NamedTuple):
    """Candidates, those nearest to the cursor first; when there may be more, the last number that was looked at."""

    sequences: Sequence[int]
    edge: int | None


def list_events(connection: apsw.Connection, fresh: Fresh, query: EventQuery, wanted: Window) -> Listing[Entry]:
    """Return a page of the events that a query asks for."""
    bounds = _bounds(connection, fresh, query, wanted)
    if query.tenant is None:
        looked = _look_in_project(connection, fresh, query.project, bounds)
    else:
        looked = _look_in_tenant(connection, fresh, (query.project, query.tenant), bounds)
    asked = _filter(query, looked.sequences, wanted.limit + 1)
    found = [sequence for (sequence,) in run(connection, "fitting", asked)]
    listing = cut(wanted, found, lambda sequence: (sequence,))
    if len(found) <= wanted.limit and looked.edge is not None:
        beyond = encode(wanted.name, (looked.edge,))
        listing = replace(listing, prev=beyond) if wanted.is_backward else replace(listing, next=beyond)
    return Listing(fetch(connection, listing.data), listing.next, listing.prev)


def _bounds(connection: apsw.Connection, fresh: Fresh, query: EventQuery, wanted: Window) -> _Bounds:
    """Return where a page may lie, as its cursor and the zones of the time that is asked for say."""
    above = int(wanted.before[0]) if wanted.before else 0
    below = int(wanted.after[0]) if wanted.after else _END
    if query.since_ms is not None or query.until_ms is not None:
        ((lowest, highest),) = run(connection, "sequences_of_time", _time(query))
        if lowest is not None:
            above = max(above, lowest - 1)
        if not fresh.count:
            below = min(below, 0 if highest is None else highest + 1)
    return _Bounds(above, below, wanted.is_backward)


def _look_in_project(connection: apsw.Connection, fresh: Fresh, name: str, bounds: _Bounds) -> _Looked:
    project = value(connection, "project_number", (name,))
    if project is None:
        return _Looked([], None)
    newer = fresh.listed("project", project, above=bounds.above, below=bounds.below)
    asked = (project, bounds.above, bounds.below, LOOKED_AT + 1)
    older = [sequence for (sequence,) in run(connection, f"listed_by_project_{bounds.way}", asked)]
    found = _merged(newer, older, bounds)
    return _Looked(found[:LOOKED_AT], found[LOOKED_AT - 1] if len(found) > LOOKED_AT else None)


def _look_in_tenant(connection: apsw.Connection, fresh: Fresh, owner: tuple[str, str], bounds: _Bounds) -> _Looked:
    found = first(connection, "tenant_number", owner)
    if found is None:
        return _Looked([], None)
    tenant, partition = found[0], partition_of(*owner)
    newer = fresh.listed("tenant", tenant, above=bounds.above, below=bounds.below)
    floor, head = indexed_between(connection, partition)
    lowest = _last_not_above(connection, partition, bounds.above, floor, head) + 1
    highest = _last_not_above(connection, partition, bounds.below - 1, floor, head)
    start, end = _nearest(lowest, highest, bounds)
    asked = (partition, start, end, tenant, LOOKED_AT)
    older = [sequence for (sequence,) in run(connection, f"places_of_tenant_{bounds.way}", asked)]
    if (start, end) == (lowest, highest):
        return _Looked(_merged(newer, older, bounds), None)
    if bounds.is_backward:  # What memory knows lies beyond what was not looked at.
        return _Looked(older, value(connection, "place", (partition, end)))
    return _Looked(_merged(newer, older, bounds), value(connection, "place", (partition, start)))


def _nearest(lowest: int, highest: int, bounds: _Bounds) -> tuple[int, int]:
    """Return the offsets between two that are looked at, those nearest to the cursor."""
    if bounds.is_backward:
        return lowest, min(highest, lowest + LOOKED_AT - 1)
    return max(lowest, highest - LOOKED_AT + 1), highest


def _last_not_above(connection: apsw.Connection, partition: int, sequence: int, floor: int, head: int) -> int:
    """Return a partition's last indexed offset whose number in commit order is not above one; the floor for none."""
    low, high = floor, head
    middle = head  # Most lists begin with the newest.
    while low < high:
        if value(connection, "place", (partition, middle)) <= sequence:
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def _merged(newer: Sequence[int], older: Sequence[int], bounds: _Bounds) -> list[int]:
    """Put together what memory and an index say, which may overlap."""
    return sorted({*newer, *older}, reverse=not bounds.is_backward)


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
