"""Write flushes: what several of them say of one row comes down to what the last one says.

A flush that settles deliveries and moves watermarks, as most do, is one statement; others are a transaction of a few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from angarium.store import bodies
from angarium.store.flushing import Flushes
from angarium.store.postgres.connection import committing, writing
from angarium.store.postgres.statements import run
from angarium.store.rows import Row, attempt_row, key_columns, open_row, settled_row

if TYPE_CHECKING:
    from angarium.model.delivery import Key, Open, Settled
    from angarium.store.contract import Settlement
    from angarium.store.postgres.names import Names
    from angarium.store.postgres.statements import Connection

Owners = Mapping[int, tuple[int, int]]

KEY = ("partition", "last_offset", "subscription", "last_ms")
"""A key's columns."""
_SETTLED = (*KEY, "project", "tenant", "state", "origin", "weight", "first_offset", "record")
_OPEN = (*KEY, "project", "tenant", "origin", "first_offset", "record")
_MEMBER = ("member_partition", "member_offset", "member_last_offset", "member_subscription", "member_last_ms")
ATTEMPT = (*KEY, "number", "at_ms", "body")
"""An attempt's columns."""
_LANE = ("partition", "subscription", "cursor", "body")


async def settle_all(connection: Connection, names: Names, settlements: Sequence[Settlement]) -> None:
    """Write flushes, in their order, in one commit."""
    flush = Flush()
    for settlement in settlements:
        flush.add(settlement)
    await flush.write(connection, names)


def weigh(settlement: Settlement) -> int:
    """Return how many rows a flush is."""
    return (
        len(settlement.settled)
        + len(settlement.attempts)
        + len(settlement.opened)
        + len(settlement.closed)
        + len(settlement.lanes)
        + len(settlement.lanes_gone)
        + len(settlement.watermarks)
    )


class Flush(Flushes):
    """What some flushes leave, and how it is written."""

    async def write(self, connection: Connection, names: Names) -> None:
        """Write it all."""
        with writing():
            owners = await names.owners_of(connection, {key.subscription for key in (*self._settled, *self._opens)})
        settled = self._settled_values(owners)
        if not (self._opens or self._lanes or self._attempts):
            with writing(connection) as checked:
                await run(connection, "settle", **settled)
            checked()
            return
        async with committing(connection):
            await self._write_opens(connection, owners)
            await self._write_lanes(connection)
            if self._settled or self._watermarks:
                await run(connection, "settle", **settled)
            if self._attempts:
                rows = [attempt_row(self._attempts[each]) for each in sorted(self._attempts, key=_attempt_order)]
                await run(connection, "add_attempts", **columns(ATTEMPT, rows))

    def _settled_values(self, owners: Owners) -> dict[str, Any]:
        ends = [self._settled[key] for key in sorted(self._settled, key=key_columns)]
        moved = sorted(self._watermarks.items())
        return {
            **columns(_SETTLED, [_settled_row(end, owners[end.key.subscription]) for end in ends]),
            **columns(_MEMBER, _member_rows(ends)),
            "moved": [partition for partition, _ in moved],
            "watermarks": [watermark for _, watermark in moved],
        }

    async def _write_opens(self, connection: Connection, owners: Owners) -> None:
        closed = sorted(key_columns(key) for key, open_ in self._opens.items() if open_ is None)
        if closed:
            await run(connection, "close", **columns(KEY, closed))
        opened = sorted((each for each in self._opens.values() if each), key=lambda each: key_columns(each.key))
        if opened:
            rows = [open_row(each, owners[each.key.subscription]) for each in opened]
            await run(connection, "write_opens", **columns(_OPEN, rows), **columns(_MEMBER, _member_rows(opened)))

    async def _write_lanes(self, connection: Connection) -> None:
        gone = sorted(key for key, lane in self._lanes.items() if lane is None)
        if gone:
            await run(connection, "delete_lanes", **columns(_LANE[:2], gone))
        lanes = [lane for _, lane in sorted(self._lanes.items()) if lane]
        if lanes:
            rows = [(lane.partition, lane.subscription, lane.cursor, bodies.pack(lane)) for lane in lanes]
            await run(connection, "put_lanes", **columns(_LANE, rows))


def columns(names: Sequence[str], rows: Iterable[Row]) -> dict[str, Any]:
    """Return rows as the columns that a block names, empty ones when there is no row."""
    turned = list(zip(*rows, strict=True)) or [()] * len(names)
    return dict(zip(names, turned, strict=True))


def _settled_row(settled: Settled, owner: tuple[int, int]) -> Row:
    *before, first_offset, record = settled_row(settled, owner)
    return *before, settled.count or 1, first_offset, record


def _member_rows(deliveries: Iterable[Open | Settled]) -> Iterator[Row]:
    for delivery in deliveries:
        key = delivery.key
        for member in delivery.members:
            yield key.partition, member, key.last_offset, key.subscription, key.last_ms


def _attempt_order(of: tuple[Key, int]) -> Row:
    key, number = of
    return *key_columns(key), number
