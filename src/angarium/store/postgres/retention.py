"""Drop what is old, a little at a time, so that nobody waits for long: entries partition by partition, in their order.

It deletes rows, which leaves work for the server's vacuum.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from angarium.store.postgres.folding import fold
from angarium.store.postgres.packed import Packed
from angarium.store.postgres.settling import KEY, columns
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.postgres.transaction import Transaction

ROWS_AT_ONCE = 500
"""How many rows are dropped in one commit."""


class Retention(Packed):
    """Retention's part of the store."""

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts; each commit drops a few."""
        room = limit
        for name in ("drop_expired", "drop_once"):
            room -= await self._drop(name, now_ms, room)
        room -= await self._drop_entries(before_ms, room)
        for name in ("old_settled", "old_tests"):
            room -= await self._drop_settled(name, before_ms, room)
        room -= await self._drop("drop_attempts", before_ms, room)
        return limit - room

    async def _drop(self, name: str, moment_ms: int, room: int) -> int:
        """Drop what a block drops by itself."""
        dropped, count = 0, 1
        while count and dropped < room:
            async with self._reading() as connection:
                asked = {"now_ms": moment_ms, "before_ms": moment_ms, "limit": min(room - dropped, ROWS_AT_ONCE)}
                count = len(await run(connection, name, **asked))
            dropped += count
        return dropped

    async def _drop_entries(self, before_ms: int, room: int) -> int:
        dropped, count = 0, 1
        while count and dropped < room:
            count = 0
            async with self._reading() as connection:
                droppable = await run(connection, "droppable", before_ms=before_ms)
            for row in droppable:
                limit = min(room - dropped - count, ROWS_AT_ONCE)
                if limit > 0:
                    count += await self._change(partial(_drop_entries, row, before_ms, limit))
            dropped += count
        return dropped

    async def _drop_settled(self, name: str, before_ms: int, room: int) -> int:
        dropped, count = 0, 1
        while count and dropped < room:
            limit = min(room - dropped, ROWS_AT_ONCE)

            async def drop(transaction: Transaction, limit: int = limit) -> int:
                rows = await run(transaction.connection, name, before_ms=before_ms, limit=limit)
                keys = columns(KEY, sorted(map(tuple, rows)))
                gone: int = await value(transaction.connection, "delete_settled", **keys)
                return gone

            count = await self._change(drop)
            dropped += count
        return dropped


async def _drop_entries(row: Record, before_ms: int, limit: int, transaction: Transaction) -> int:
    """Drop some of a partition's entries, unless another process is at it or has been."""
    connection, (partition, floor, needed) = transaction.connection, row
    asked = {"partition": partition, "floor": floor, "needed": needed, "before_ms": before_ms, "limit": limit}
    to: int | None = await value(connection, "old_to", **asked)
    if to is None or to <= floor:
        return 0
    await fold(connection, partition=partition, to=to)
    if await value(connection, "lock_retained", partition=partition) != floor:
        return 0
    place = {"partition": partition, "floor": floor, "to": to}
    for name in ("delete_gone_objects", "keep_entries", "drop_events", "move_floor", "drop_members", "drop_versions"):
        await run(connection, name, **place)
    return to - int(floor)
