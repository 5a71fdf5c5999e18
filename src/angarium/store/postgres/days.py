"""Know between which days a partition's entries were accepted, and make days' tables ahead.

The log and its records lie in a table for each day, so that retention drops a day at once. Whoever asks by offset must
say between which days the answer lies, or all days' tables are searched. A partition's day grows with its offsets, so a
few offsets whose day was seen bound the days of all others; what nobody has seen yet is searched for everywhere, once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.postgres.statements import Connection

DAY_MS = 86_400_000
EVER = 2**31 - 1
"""Later than all days."""
NO_DAYS = {"since": 1, "until": 0}
"""Between these days nothing was accepted."""
AHEAD = 1
"""How many days have tables before they begin."""
_PUT_OFF = (asyncpg.LockNotAvailableError, asyncpg.CheckViolationError)


class Days:
    """What was seen of partitions' days: the first and the last offset of each."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[list[int], list[int]]] = {}

    def learn(self, partition: int, offset: int, day: int) -> None:
        """Take in that an entry is of a day."""
        offsets, days = self._seen.setdefault(partition, ([], []))
        at = bisect_left(offsets, offset)
        if at < len(offsets) and offsets[at] == offset:
            return
        begins, ends = bisect_left(days, day), bisect_right(days, day)
        if ends - begins < 2:
            offsets.insert(at, offset)
            days.insert(at, day)
        elif offset < offsets[begins]:
            offsets[begins] = offset
        elif offset > offsets[ends - 1]:
            offsets[ends - 1] = offset

    def learn_from(self, rows: list[Record]) -> None:
        """Take in the days of entries of one partition, in their order."""
        for row in rows[:1] + rows[1:][-1:]:
            self.learn(row["partition"], row["offset"], row["day"])

    def since(self, partition: int, offset: int) -> int:
        """Return a day before which no entry from an offset on was accepted."""
        offsets, days = self._seen.get(partition, ((), ()))
        at = bisect_right(offsets, offset)
        return days[at - 1] if at else 0

    def until(self, partition: int, offset: int) -> int:
        """Return a day after which no entry up to an offset was accepted."""
        offsets, days = self._seen.get(partition, ((), ()))
        at = bisect_left(offsets, offset)
        return days[at] if at < len(offsets) else EVER

    def of(self, partition: int, lowest: int, highest: int | None = None) -> dict[str, int]:
        """Return between which days the entries between two offsets were accepted, or the one at an offset."""
        highest = lowest if highest is None else highest
        return {"since": self.since(partition, lowest), "until": self.until(partition, highest)}


async def make_days(connection: Connection) -> None:
    """Make the tables of today and the next day, unless somebody keeps us waiting: then the default ones hold it.

    Where those are large already, they are looked through for the next day before all have to wait for its tables.
    """
    for ahead in range(AHEAD + 1):
        with suppress(*_PUT_OFF):
            if await value(connection, "make_day", ahead=ahead) is None and ahead:
                await _make_shielded(connection, ahead)


async def _make_shielded(connection: Connection, ahead: int) -> None:
    await run(connection, "shield_day", ahead=ahead)
    try:
        await run(connection, "validate_shields")
        await value(connection, "make_day", ahead=ahead)
    finally:
        await run(connection, "drop_shields")
