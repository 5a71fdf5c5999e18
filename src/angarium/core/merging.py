"""Merge a delivery that failed with what came since, for dialects that say it all again in one request.

From the first failure on such a lane seals nothing new. When the failed delivery is due again, the lane reads on in the
log, and what it finds goes with it: the old delivery is closed as merged, and a new one, which contains the old one's
events and the new ones, takes its place and its attempts. Where nothing has come, or no more fits, the same is sent
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core import effects, sealing
from angarium.core.coalescing import object_of
from angarium.core.effects import Delivery, Free, Settle, Write
from angarium.model.delivery import Key, Origin, State

if TYPE_CHECKING:
    from angarium.clock import Moment
    from angarium.core.lane import Lane
    from angarium.model.event import Entry


def is_held(lane: Lane) -> bool:
    """Say whether a delivery has failed with which all that comes from now on is to go."""
    if not lane.merges:
        return False
    return any(each.attempts and each.origin is Origin.LANE for each in lane.opened.deliveries.values())


def reads(lane: Lane, now: Moment, most: int) -> int:
    """Return how many events to read on before what is due goes again; 0 for none."""
    due_at = lane.opened.due_at()
    is_time = due_at is not None and due_at <= now.mono and not lane.in_flight
    return most if is_time and lane.has_unread and len(lane.queue) < most else 0


def next_due(lane: Lane, now: Moment) -> Delivery | None:
    """Take the delivery that is due, merged with what came since; None while that must be read first."""
    if is_held(lane) and lane.reads(now):
        return None
    due = lane.opened.next_due(now.mono)
    if due is None or not (lane.merges and due.attempts and due.origin is Origin.LANE) or lane.is_closed:
        return due
    entries = _taken(lane, due)
    return _merged(lane, due, entries, now) if entries else due


def _taken(lane: Lane, due: Delivery) -> list[Entry]:
    """Take what goes with a delivery from the queue, in the order of the log."""
    lane.queue.put_first([entry for each in due.objects for entry in lane.queue.unblock(each)])
    lane.queue.set_aside(lambda entry: _is_elsewhere(lane, due, entry))
    count, _ = sealing.fill(lane.queue.entries, lane.policy.batch, sealed=len(due.members) + 1, objects=due.objects)
    entries = sorted([lane.queue.pop() for _ in range(count)], key=lambda entry: entry.offset)
    if entries and entries[-1].offset < due.key.last_offset:
        lane.queue.put_first(entries)  # Its id would be the old one's.
        return []
    return entries


def _is_elsewhere(lane: Lane, due: Delivery, entry: Entry) -> bool:
    """Let an event wait if its object is in another delivery; say whether it is."""
    busy = object_of(entry)
    is_elsewhere = not lane.opened.is_free_for(due, busy)
    if is_elsewhere:
        lane.queue.block(entry, busy)
    return is_elsewhere


def _merged(lane: Lane, due: Delivery, entries: list[Entry], now: Moment) -> Delivery:
    last = entries[-1]
    old = (*due.members, due.key.last_offset)
    offsets = sorted({*old, *(entry.offset for entry in entries)})
    merged = Delivery(
        Key(lane.partition, last.offset, lane.number, last.accepted_ms),
        None,
        tuple(offsets[:-1]),
        tuple(dict.fromkeys((*due.objects, *map(object_of, entries)))),
        is_batch=True,
        attempts=due.attempts,
        has_row=True,
        opened_ms=due.opened_ms,
        is_merged=True,
    )
    lane.opened.replace(due, merged)
    freed = tuple(offset for offset in offsets if lane.progress.resolve(offset))
    lane.effects += [
        Settle(effects.closed(due, State.MERGED, "", now), closes=due.has_row, frees=False),
        Write(effects.row(merged, None, now.wall_ms), frees=False),
        Free(freed),
    ]
    return merged
