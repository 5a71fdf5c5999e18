"""Drop what is old, a little at a time, so that publishes never wait for long."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from angarium.model.delivery import Key
from angarium.store.sqlite.file import File
from angarium.store.sqlite.settling import delete_settled, write_counts
from angarium.store.sqlite.statements import Row, run, run_each

if TYPE_CHECKING:
    from angarium.store.sqlite.transaction import Transaction

ROWS_AT_ONCE = 500
"""How many rows are dropped between two commits."""

_END = 2**63 - 1


class Retention(File):
    """Retention's part of the store."""

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts; each commit drops a few."""
        dropped = 0
        while dropped < limit:
            room = min(limit - dropped, ROWS_AT_ONCE)
            count = await self._change(partial(_drop, before_ms, now_ms, room), rows=room, needs_index=True)
            dropped += count
            if count < room:
                break
        return dropped


def _drop(before_ms: int, now_ms: int, limit: int, transaction: Transaction) -> int:
    room = limit
    room -= len(run(transaction.connection, "drop_kept", (now_ms, room)))
    room -= _drop_entries(transaction, before_ms, room)
    room -= _drop_settled(transaction, before_ms, room)
    room -= len(run(transaction.connection, "drop_attempts", (before_ms, room)))
    for partition, floor in transaction.floors.items():
        run(transaction.connection, "drop_versions", {"partition": partition, "floor": floor})
    return limit - room


def _drop_entries(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Drop the oldest entries of each partition that nobody needs any more."""
    dropped = 0
    for partition, needed in run(transaction.connection, "needed_from", {"none": _END}):
        if dropped == limit:
            break
        old = []
        for row in run(transaction.connection, "old_entries", (partition, needed, limit - dropped)):
            if row[3] >= before_ms:
                break
            old.append(row)
        if old:
            _drop_from(transaction, partition, old)
            dropped += len(old)
    if dropped:
        run(transaction.connection, "drop_zones")
    return dropped


def _drop_from(transaction: Transaction, partition: int, old: list[Row]) -> None:
    floor = transaction.floors[partition] = old[-1][0]
    run(transaction.connection, "move_floor", (floor, partition))
    run(transaction.connection, "drop_places", (partition, floor))
    run(transaction.connection, "drop_members", (partition, floor))
    run_each(transaction.connection, "drop_events", [sequence for _, sequence, *_ in old])
    run_each(
        transaction.connection,
        "drop_projects",
        [value for _, sequence, project, _ in old for value in (project, sequence)],
    )


def _drop_settled(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Drop deliveries of which no entry is left, then old tests."""
    connection = transaction.connection
    keys = [Key(*row) for row in run(connection, "old_settled", (limit,))]
    keys += [Key(*row) for row in run(connection, "old_tests", (before_ms, limit - len(keys)))]
    write_counts(connection, delete_settled(connection, longer_ago=keys))
    return len(keys)
