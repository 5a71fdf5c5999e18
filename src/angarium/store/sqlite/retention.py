"""Drop what is old, a little at a time, so that publishes never wait for long.

Entries go in the order of commits, in which they lie in the file, so that whole pages become free. Their index by place
is in another order; it is cleaned up partition by partition afterwards. Readers pass over what it still names.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from angarium.model.delivery import Key
from angarium.store.sqlite.file import File
from angarium.store.sqlite.folding import fold, keep_named
from angarium.store.sqlite.settling import delete_settled, write_counts
from angarium.store.sqlite.statements import Row, run, run_each, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from angarium.store.sqlite.transaction import Transaction

ROWS_AT_ONCE = 500
"""How many rows are dropped between two commits."""
LOOKED_AT = 5000
"""How many entries are looked at between two commits, when those of some partitions are still needed."""
CLEANED_AT_ONCE = 2000
"""How many rows of indexes are cleaned up between two commits, or a partition's if that has more."""

_END = 2**63 - 1


class _Pass(Struct, frozen=True):
    """How far a call has come: up to which number in commit order, and which partitions it must leave alone from there.

    `floors` and `count` say what went by its last step. It is over once that had room for more.
    """

    before_ms: int
    now_ms: int
    looked_to: int = 0
    kept: frozenset[int] = frozenset()
    floors: tuple[tuple[int, int], ...] = ()
    count: int = 0
    is_over: bool = False


class Retention(File):
    """Retention's part of the store."""

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts; each commit drops a few."""
        dropped, floors = 0, dict[int, int]()
        step = _Pass(before_ms, now_ms)
        while dropped < limit and not step.is_over:
            room = min(limit - dropped, ROWS_AT_ONCE)
            step = await self._change(partial(_drop, step, room), rows=room, needs_index=not dropped)
            dropped += step.count
            floors |= dict(step.floors)
        left = list(floors.items())
        while left:
            left = await self._change(partial(_clean, left), rows=ROWS_AT_ONCE)
        return dropped


def _drop(step: _Pass, limit: int, transaction: Transaction) -> _Pass:
    """Drop at most so many rows."""
    connection = transaction.connection
    count = len(run(connection, "drop_kept", (step.now_ms, limit)))
    count += len(run(connection, "drop_once", (step.now_ms, limit - count)))
    step = _drop_entries(transaction, step, limit - count)
    count += step.count
    if step.is_over:
        count += _drop_settled(transaction, step.before_ms, limit - count)
        count += len(run(connection, "drop_attempts", (step.before_ms, limit - count)))
    return replace(step, count=count, is_over=step.is_over and count < limit)


def _drop_entries(transaction: Transaction, step: _Pass, limit: int) -> _Pass:
    """Drop the oldest entries that nobody needs any more; it is over when no old one is left beyond them."""
    connection = transaction.connection
    end = value(connection, "old_to", (step.before_ms,)) or 0
    needed: dict[int, int] = dict(run(connection, "needed_from", {"none": _END}))
    looked_to, kept, old = step.looked_to, set(step.kept), list[Row]()
    looked = run(connection, "old_entries", (looked_to, end, LOOKED_AT))
    is_over = len(looked) < LOOKED_AT
    for row in looked:
        if len(old) == limit:
            is_over = False
            break
        looked_to, partition, offset, _, accepted_ms = row
        if accepted_ms >= step.before_ms or offset >= needed[partition]:
            kept.add(partition)
        if partition not in kept:
            old.append(row)
    floors = {partition: offset for _, partition, offset, *_ in old}
    _drop_rows(transaction, old, floors)
    return replace(
        step, looked_to=looked_to, kept=frozenset(kept), floors=tuple(floors.items()), count=len(old), is_over=is_over
    )


def _drop_rows(transaction: Transaction, old: list[Row], floors: dict[int, int]) -> None:
    connection = transaction.connection
    transaction.floors |= floors
    sequences = [sequence for sequence, *_ in old]
    fold(transaction, to=max(sequences, default=0))
    keep_named(transaction, sequences)
    run_each(connection, "move_floors", _flat((partition, floor) for partition, floor in floors.items()))
    run_each(connection, "drop_events", sequences)
    run_each(connection, "drop_projects", _flat((project, sequence) for sequence, _, _, project, _ in old))
    if old:
        run(connection, "drop_zones")


def _drop_settled(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Drop deliveries of which no entry is left, then old tests."""
    connection = transaction.connection
    keys = [Key(*row) for row in run(connection, "old_settled", (limit,))]
    keys += [Key(*row) for row in run(connection, "old_tests", (before_ms, limit - len(keys)))]
    write_counts(connection, delete_settled(connection, longer_ago=keys))
    return len(keys)


def _clean(left: list[tuple[int, int]], transaction: Transaction) -> list[tuple[int, int]]:
    """Clean up after some partitions' entries; return which partitions are left."""
    connection, cleaned = transaction.connection, 0
    while left and cleaned < CLEANED_AT_ONCE:
        (partition, floor), *left = left
        for name in ("drop_places", "drop_members"):
            run(connection, name, (partition, floor))
            cleaned += connection.changes()
        run(connection, "drop_versions", {"partition": partition, "floor": floor})
    return left


def _flat(rows: Iterable[tuple[int, int]]) -> list[int]:
    return [each for row in rows for each in row]
