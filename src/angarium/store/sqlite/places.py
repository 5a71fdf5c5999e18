"""Find entries by their place: through memory when they are not indexed yet, else through the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import json

from angarium.store.rows import entry_of
from angarium.store.sqlite.statements import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from angarium.model.event import Entry
    from angarium.store.sqlite.fresh import Fresh


def find(connection: apsw.Connection, fresh: Fresh, partition: int, offsets: Iterable[int]) -> dict[int, int]:
    """Return, by offset, the numbers in commit order of the entries that are there."""
    asked = set(offsets)
    places = {offset: sequence for offset in asked if (sequence := fresh.at(partition, offset)) is not None}
    if older := sorted(asked - places.keys()):
        wanted = {"partition": partition, "offsets": json.encode(older).decode()}
        places |= dict(run(connection, "places_at", wanted))
    return places


def fetch(connection: apsw.Connection, sequences: Sequence[int]) -> list[Entry]:
    """Return entries by their numbers in commit order, in the order in which they are asked for."""
    if not sequences:
        return []
    return [entry_of(row) for row in run(connection, "entries", (json.encode(sequences).decode(),))]


def indexed_between(connection: apsw.Connection, partition: int) -> tuple[int, int]:
    """Return above which offset, and up to which, a partition's entries are in the index, without gaps."""
    ((floor, head),) = run(connection, "places_between", (partition,))
    return floor, head
