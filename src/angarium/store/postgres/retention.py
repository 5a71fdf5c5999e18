"""Drop what is old: whole days at once where all of a day is old and hardly anything of it is needed.

A day has tables of its own. What it says of objects is kept first, then what was dropped is moved past it, partition by
partition; then its tables go, and what is needed still moves to the default ones. What lies there, or in a day of which
much is needed, is deleted row by row, which leaves work for the server's vacuum. A day that is not all old stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from angarium.store.postgres.days import DAY_MS, EVER, make_days
from angarium.store.postgres.folding import fold
from angarium.store.postgres.packed import Packed
from angarium.store.postgres.settling import KEY, columns
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.postgres.transaction import Transaction

ROWS_AT_ONCE = 500
"""How many rows are dropped in one commit."""
PASSED_AT_ONCE = 5000
"""How many entries of a day that goes whole are passed in one commit."""
MOVED_MAX = 2000
"""How many of a day's entries may be needed still when it goes: all wait while they are moved."""


class _Days(NamedTuple):
    """Which days have tables: the one that can go now, where there is one, and those that no row is deleted from."""

    going: int | None
    whole: Sequence[int]


class Retention(Packed):
    """Retention's part of the store."""

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts; each commit drops a few.

        A day that goes whole counts by its entries, whatever the limit.
        """
        room = limit
        for name in ("drop_expired", "drop_once"):
            room -= await self._drop(name, now_ms, room)
        days = await self._look_at_days(before_ms)
        room -= await self._drop_entries(before_ms, days.whole, room)
        if days.going is not None and room > 0:
            room -= await self._drop_day(days.going)
        for name in ("old_settled", "old_tests"):
            room -= await self._drop_settled(name, before_ms, room)
        room -= await self._drop("drop_attempts", before_ms, room)
        return limit - room

    async def _look_at_days(self, before_ms: int) -> _Days:
        """Make the next days' tables; say which day is old and hardly needed, one an hour."""
        going, whole = None, list[int]()
        async with self._reading() as connection:
            await make_days(connection)
            for day, has_gone in await run(connection, "days"):
                if (day + 1) * DAY_MS <= before_ms:
                    ends = await run(connection, "ends_of_day", day=day)
                    if sum(row["needed"] for row in ends) > MOVED_MAX:
                        continue
                    if going is None and not has_gone:
                        going = day
                whole.append(day)
        return _Days(going, whole)

    async def _drop(self, name: str, moment_ms: int, room: int) -> int:
        """Drop what a block drops by itself."""
        dropped, count = 0, 1
        while count and dropped < room:
            async with self._reading() as connection:
                asked = {"now_ms": moment_ms, "before_ms": moment_ms, "limit": min(room - dropped, ROWS_AT_ONCE)}
                count = len(await run(connection, name, **asked))
            dropped += count
        return dropped

    async def _drop_entries(self, before_ms: int, whole: Sequence[int], room: int) -> int:
        asked = {"before_ms": before_ms, "whole": whole}
        dropped, count = 0, 1
        while count and dropped < room:
            count = 0
            async with self._reading() as connection:
                droppable = await run(connection, "droppable", **asked)
            for row in droppable:
                limit = min(room - dropped - count, ROWS_AT_ONCE)
                if limit > 0:
                    count += await self._change(partial(_drop_entries, row, {**asked, "limit": limit}))
            dropped += count
        return dropped

    async def _drop_day(self, day: int) -> int:
        """Pass a day's entries, keeping what objects name, and drop its tables; return how many entries that were."""
        async with self._reading() as connection:
            ends = await run(connection, "ends_of_day", day=day)
        passed = 0
        for partition, floor, end, *_ in ends:
            for low in range(floor, end, PASSED_AT_ONCE):
                high = min(low + PASSED_AT_ONCE, end)
                passed += await self._change(partial(_pass_entries, day, partition, low, high))
        async with self._reading() as connection:
            left = await run(connection, "ends_of_day", day=day)
            if sum(row["left"] for row in left) <= MOVED_MAX:
                with suppress(asyncpg.LockNotAvailableError):  # Somebody reads for long; it is tried again.
                    await run(connection, "drop_day", day=day)
        return passed

    async def _drop_settled(self, name: str, before_ms: int, room: int) -> int:
        dropped, count = 0, 1
        while count and dropped < room:
            limit = min(room - dropped, ROWS_AT_ONCE)

            async def drop(transaction: Transaction, limit: int = limit) -> int:
                rows = await run(transaction.connection, name, before_ms=before_ms, limit=limit)
                gone: int = await value(
                    transaction.connection, "delete_settled", **columns(KEY, sorted(map(tuple, rows)))
                )
                return gone

            count = await self._change(drop)
            dropped += count
        return dropped


async def _drop_entries(row: Record, asked: dict[str, object], transaction: Transaction) -> int:
    """Drop some of a partition's entries, unless another process is at it or has been."""
    connection, (partition, floor, needed) = transaction.connection, row
    to: int | None = await value(connection, "old_to", partition=partition, floor=floor, needed=needed, **asked)
    if to is None or to <= floor:
        return 0
    await fold(connection, partition=partition, to=to)
    if await value(connection, "lock_retained", partition=partition) != floor:
        return 0
    place = {"partition": partition, "floor": floor, "to": to, "since": 0, "until": EVER}
    for name in ("delete_gone_objects", "keep_entries", "drop_events", "move_floor", "drop_members", "drop_versions"):
        await run(connection, name, **place)
    return to - int(floor)


async def _pass_entries(day: int, partition: int, floor: int, to: int, transaction: Transaction) -> int:
    """Say that some of a partition's entries are dropped, which go with their day's table."""
    connection = transaction.connection
    await fold(connection, partition=partition, to=to)
    if await value(connection, "lock_retained", partition=partition) != floor:
        return 0
    place = {"partition": partition, "floor": floor, "to": to, "since": day, "until": day}
    for name in ("delete_gone_objects", "keep_entries", "move_floor", "drop_versions"):
        await run(connection, name, **place)
    return to - floor
