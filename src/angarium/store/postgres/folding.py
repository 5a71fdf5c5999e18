"""Fold the log into the current state of its objects, partition by partition.

Whoever folds a partition holds its row in `folded`, so that two processes never fold the same. A fold copies no data:
an object's row names the events that it consists of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.store.postgres.days import EVER
from angarium.store.postgres.packed import Packed
from angarium.store.postgres.settling import columns
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from angarium.store.postgres.statements import Connection
    from angarium.store.postgres.transaction import Transaction

FOLDED_AT_ONCE = 2000
"""How many entries are folded in one commit when all are to be."""

_RANGE = ("partition", "low", "high", "day")


class Folding(Packed):
    """What the parts of the store that need objects folded share."""

    async def fold_objects(self, *, limit: int) -> int:
        """Fold the next entries of the log, at most `limit`, into the current state of their objects."""
        async with self._reading() as connection:
            if not await value(connection, "unfolded"):
                return 0

        async def step(transaction: Transaction) -> int:
            return await fold(transaction.connection, limit=limit)

        return await self._change(step)

    async def _fold_all(self) -> None:
        """Fold what is committed, a little at a time, so that nobody waits long."""
        while await self.fold_objects(limit=FOLDED_AT_ONCE) == FOLDED_AT_ONCE:
            pass


async def fold(
    connection: Connection, *, limit: int | None = None, partition: int | None = None, to: int | None = None
) -> int:
    """Fold the next entries, at most so many, of one partition alone, up to an offset; return how many that were."""
    count, since, ranges = 0, EVER, list[tuple[int, int, int, int]]()
    for number, low, head, day, head_day in await run(connection, "lock_unfolded", partition=partition):
        high = head if to is None else min(head, to)
        if limit is not None:
            high = min(high, low + limit - count)
        if high > low:
            ranges.append((number, low, high, head_day if high == head else day))
            since = min(since, day)
            count += high - low
    if ranges:
        await run(connection, "fold", since=since, **columns(_RANGE, ranges))
        if await value(connection, "has_kept_entries"):
            await run(connection, "drop_kept_entries", since=since, **columns(_RANGE, ranges))
    return count
