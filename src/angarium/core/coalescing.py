"""Fold the events of one delivery, oldest first. Which events go together is decided elsewhere.

| `coalesce` | what is sent |
|---|---|
| `none` | each event, as it was published |
| `operations` | each event, with the data of its object's last one |
| `latest` | the last event of each object, unless its dialect has an action that outlasts it |

An action that outlasts others stays when one of those follows it: the last event is then shown with that action.
Where an event that decides has no data, the state of its object at that moment may be given instead (`states`, by
offset): a receiver that is told of final states is told of those too.

Folding depends on the delivery's own members alone, so that it gives the same again after a crash.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from angarium.model.subscription import Coalesce

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.model.event import Entry, Event

Object = tuple[str, str]
"""Names one object of a tenant: its kind and its id."""

_NONE: Mapping[str, Sequence[str]] = MappingProxyType({})
_NO_STATES: Mapping[int, bytes] = MappingProxyType({})


def object_of(entry: Entry) -> Object:
    """Return what an entry's event happened to."""
    event = entry.event
    assert event is not None, "an entry that is sent has an event"
    return event.object, event.object_id


def lacking(entries: Sequence[Entry], how: Coalesce) -> list[Entry]:
    """Return those entries of a delivery whose data decides what is sent, and that have none."""
    if how is Coalesce.NONE:
        return [entry for entry in entries if not _event(entry).data]
    last = {object_of(entry): entry for entry in entries}
    return [entry for entry in last.values() if not _event(entry).data]


def fold(
    entries: Sequence[Entry],
    how: Coalesce,
    outlasts: Mapping[str, Sequence[str]] = _NONE,
    *,
    states: Mapping[int, bytes] = _NO_STATES,
) -> list[tuple[Entry, bytes | None]]:
    """Return what a delivery of these entries shows: each with its final state, None for the event's own data.

    `outlasts` are the actions that stay, each with those that they outlast.
    """
    match how:
        case Coalesce.NONE:
            return [(entry, states.get(entry.offset)) for entry in entries]
        case Coalesce.OPERATIONS:
            last = {object_of(entry): _event(entry).data or states.get(entry.offset, b"") for entry in entries}
            return [(entry, last[object_of(entry)]) for entry in entries]
        case Coalesce.LATEST:
            final = {object_of(entry): entry.offset for entry in entries}
            shown = _outlasting(entries, outlasts) if outlasts else entries
            return [(entry, states.get(entry.offset)) for entry in shown if final[object_of(entry)] == entry.offset]
        case _:
            assert_never(how)


def _outlasting(entries: Sequence[Entry], outlasts: Mapping[str, Sequence[str]]) -> list[Entry]:
    """Return entries, each with the action that stands for its object after it."""
    standing: dict[Object, str] = {}
    shown = []
    for entry in entries:
        event = _event(entry)
        before = standing.get(object_of(entry), "")
        action = before if event.action in outlasts.get(before, ()) else event.action
        standing[object_of(entry)] = action
        shown.append(entry if action == event.action else replace(entry, event=replace(event, action=action)))
    return shown


def _event(entry: Entry) -> Event:
    assert entry.event is not None, "an entry that is sent has an event"
    return entry.event
