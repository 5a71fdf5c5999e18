"""Change the registry and the log in one transaction, which holds what it changes in the one order that all keep.

That order is: idempotency keys, partitions, projects, how far partitions are folded, the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from angarium.model.event import Entry, Place
from angarium.store.postgres.appending import Batch, Moved
from angarium.store.postgres.statements import first, run, value
from angarium.store.postgres.waking import Change
from angarium.store.rows import entry_columns

if TYPE_CHECKING:
    from angarium.store.postgres.names import Names, Numbers
    from angarium.store.postgres.statements import Connection


class Transaction:
    """A transaction that is being made, and what it has moved."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self.connection = connection
        self.names = names
        self.moved: dict[int, Moved] = {}
        self.change: Change | None = None

    async def lock(self, partitions: Iterable[int]) -> dict[int, int]:
        """Hold partitions, all that this transaction will need; return their heads."""
        rows = await run(self.connection, "lock_partitions", partitions=sorted(set(partitions)))
        self._standing = {partition: Moved(head, head, registry) for partition, head, registry in rows}
        return {partition: each.head for partition, each in self._standing.items()}

    def head(self, partition: int) -> int:
        """Return the last offset of a partition that is held."""
        return (self.moved.get(partition) or self._standing[partition]).head

    async def touch(self, partition: int) -> None:
        """Raise the registry counter of a partition that is held."""
        head, registry = self.head(partition), await value(self.connection, "touch", partition=partition)
        self.moved[partition] = Moved(head, head, registry)

    async def count_change(self) -> None:
        """Let all processes know of a change of what they remember; to be called last, and once."""
        row = await first(self.connection, "count_change")
        assert row
        self.change = Change(*row)

    async def append(self, entries: Sequence[Entry], numbers: Sequence[Numbers]) -> list[Place]:
        """Append entries that are no published events, each with its owner's numbers."""
        batch = Batch()
        taken = [
            batch.add(whose, entry.accepted_ms, entry.kind, entry_columns(entry))
            for entry, whose in zip(entries, numbers, strict=True)
        ]
        moved = await batch.write(self.connection)
        self.moved |= moved
        return [
            Place(partition, moved[partition].before + distance, entry.accepted_ms)
            for (partition, distance), entry in zip(taken, entries, strict=True)
        ]
