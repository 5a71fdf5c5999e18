"""Decide which of a lane's waiting events go into its next delivery, and when.

A single event goes at once. A batch goes when it is full (events or bytes) or when its first event has waited so long
as the policy says. Where only the last event of each object is sent, a batch is counted in objects, so that a burst of
changes of one object is one POST. What must wait for its object is taken out before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core.coalescing import object_of
from angarium.model.subscription import Coalesce

if TYPE_CHECKING:
    from collections.abc import Iterable

    from angarium.core.coalescing import Object
    from angarium.model.event import Entry
    from angarium.model.subscription import Batch

MEMBERS_MAX = 5000
"""How many events one delivery settles at most, those folded away included."""

_ENVELOPE_BYTES = 320


def size_of(entry: Entry) -> int:
    """Return about how many bytes an event takes in memory and in a body."""
    event = entry.event
    if event is None:
        return _ENVELOPE_BYTES
    return len(event.data) + len(event.actor) + len(event.attributes) + len(event.url) + _ENVELOPE_BYTES


def fill(
    waiting: Iterable[Entry], batch: Batch, *, sealed: int = 0, objects: Iterable[Object] = ()
) -> tuple[int, bool]:
    """Return how many of the waiting events, from the first on, fit into one batch, and whether that makes it full.

    `sealed` events, which happened to these `objects`, are in it already.
    """
    taken, held_bytes = sealed, sealed * _ENVELOPE_BYTES
    seen = set(objects)
    for entry in waiting:
        held_bytes += size_of(entry)
        seen.add(object_of(entry))
        shown = len(seen) if batch.coalesce is Coalesce.LATEST else taken + 1
        if taken and (shown > batch.max_events or held_bytes > batch.max_bytes or taken >= MEMBERS_MAX):
            return taken - sealed, True
        taken += 1
        if shown == batch.max_events and batch.coalesce is not Coalesce.LATEST:
            return taken - sealed, True
    return taken - sealed, False


def due_s(batch: Batch, *, first_mono: float, accepted_ms: int, now_mono: float, now_ms: int) -> float:
    """Return the monotonic second at which a batch that is not full goes.

    What counts is its first event's moment of acceptance; but should the wall clock have gone back, no longer than the
    wait since the lane took it (`first_mono`).
    """
    wait_s = batch.max_wait_ms / 1000
    aged_s = max(0.0, (now_ms - accepted_ms) / 1000)
    return min(first_mono + wait_s, now_mono + max(0.0, wait_s - aged_s))
