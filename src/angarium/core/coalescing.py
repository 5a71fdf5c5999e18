"""Fold the events of one delivery, oldest first. Which events go together is decided elsewhere.

| `coalesce` | what is sent |
|---|---|
| `none` | each event, as it was published |
| `operations` | each event, with the data of its object's last one |
| `latest` | the last event of each object |

Folding depends on the delivery's own members alone, so that it gives the same again after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from angarium.model.subscription import Coalesce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.model.event import Entry, Event

Object = tuple[str, str]
"""Names one object of a tenant: its kind and its id."""


def object_of(entry: Entry) -> Object:
    """Return what an entry's event happened to."""
    event = entry.event
    assert event is not None, "an entry that is sent has an event"
    return event.object, event.object_id


def fold(entries: Sequence[Entry], how: Coalesce) -> list[tuple[Entry, bytes | None]]:
    """Return what a delivery of these entries shows: each with its final state, None for the event's own data."""
    match how:
        case Coalesce.NONE:
            return [(entry, None) for entry in entries]
        case Coalesce.OPERATIONS:
            last = {object_of(entry): _event(entry).data for entry in entries}
            return [(entry, last[object_of(entry)]) for entry in entries]
        case Coalesce.LATEST:
            final = {object_of(entry): entry.offset for entry in entries}
            return [(entry, None) for entry in entries if final[object_of(entry)] == entry.offset]
        case _:
            assert_never(how)


def _event(entry: Entry) -> Event:
    assert entry.event is not None, "an entry that is sent has an event"
    return entry.event
