"""Read open deliveries back from the store, with what their events happened to, and say how long they still wait."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from angarium.core.coalescing import Object, object_of
from angarium.model.delivery import Key, LaneRow, Open, Origin, Settled, State
from angarium.store.contract import DeliveryQuery, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.clock import Moment
    from angarium.model.subscription import Policy
    from angarium.store.contract import Store

_CHUNK = 500
_PAGE = 250


async def opens_of(store: Store, project: str, number: int) -> list[Open]:
    """Return a subscription's open deliveries, in the order of their first events."""
    query = DeliveryQuery(project, subscription=number, state=State.RETRYING)
    found, after = [], None
    while True:
        listing = await store.deliveries(query, Page(limit=_PAGE, after=after))
        found += [each for each in listing.data if isinstance(each, Open)]
        after = listing.next
        if after is None:
            return in_order(found)


def in_order(rows: Sequence[Open]) -> list[Open]:
    """Return open deliveries in the order of their first events: so one that waits comes behind what it waits for."""
    return sorted(rows, key=lambda row: min((row.key.last_offset, *row.members)))


async def objects_of(store: Store, rows: Sequence[Open]) -> Mapping[Key, Sequence[Object]]:
    """Return what the events of each open delivery happened to; tests and redeliveries wait for nobody."""
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for row in rows:
        if row.origin is Origin.LANE:
            wanted[row.key.partition].update((row.key.last_offset, *row.members))
    known: dict[tuple[int, int], Object] = {}
    for partition, offsets in wanted.items():
        ordered = sorted(offsets)
        for start in range(0, len(ordered), _CHUNK):
            entries = await store.entries(partition, ordered[start : start + _CHUNK])
            known |= {(partition, entry.offset): object_of(entry) for entry in entries if entry.event is not None}
    return {row.key: [known[place] for place in _places(row) if place in known] for row in rows}


def ended(row: Open, state: State, reason: str, now: Moment) -> Settled:
    """Return the record of an open delivery whose lane is no more."""
    return Settled(row.key, state, now.wall_ms, row.members, attempts=row.attempts, reason=reason, origin=row.origin)


def never_sent(row: LaneRow, state: State, reason: str, now: Moment) -> Settled:
    """Return the range that stands for what waits for a lane which is no more."""
    key = Key(row.partition, max(row.counted_to, row.cursor + 1), row.subscription, now.wall_ms)
    return Settled(key, state, now.wall_ms, first_offset=row.cursor + 1, count=row.waiting, reason=reason)


def wait_s(row: Open, policy: Policy, now: Moment) -> float:
    """Return how long a row still waits: never longer than its schedule's longest delay, whatever the clock says."""
    longest = max(policy.retry.delays_s, default=0.0)
    return min(max(0.0, (row.next_ms - now.wall_ms) / 1000), longest * (1 + policy.retry.jitter))


def _places(row: Open) -> list[tuple[int, int]]:
    return [(row.key.partition, offset) for offset in (*row.members, row.key.last_offset)]
