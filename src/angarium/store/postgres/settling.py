"""Write flushes: what several of them say of one row comes down to what the last one says.

All is one statement, a small one for flushes that but settle deliveries and move watermarks, as most do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from angarium.store import bodies
from angarium.store.flushing import Flushes
from angarium.store.postgres.connection import writing
from angarium.store.postgres.statements import run
from angarium.store.rows import Row, attempt_row, key_columns, open_row, settled_row

if TYPE_CHECKING:
    from angarium.model.delivery import Open, Settled
    from angarium.store.contract import Settlement
    from angarium.store.postgres.names import Names
    from angarium.store.postgres.statements import Connection

Owners = Mapping[int, tuple[int, int]]

KEY = ("partition", "last_offset", "subscription", "last_ms")
"""A key's columns."""
_SETTLED = (*KEY, "project", "tenant", "state", "origin", "weight", "first_offset", "record")
_CLOSED = tuple(f"closed_{name}" for name in KEY)
_OPENED = tuple(f"opened_{name}" for name in (*KEY, "project", "tenant", "origin", "first_offset", "record"))
_MEMBER = ("member_partition", "member_offset", "member_last_offset", "member_subscription", "member_last_ms")
ATTEMPT = tuple(f"attempt_{name}" for name in (*KEY, "number", "at_ms", "body"))
"""An attempt's columns."""
_GONE = ("gone_partition", "gone_subscription")
_LANE = tuple(f"lane_{name}" for name in ("partition", "subscription", "cursor", "body"))


async def settle_all(connection: Connection, names: Names, settlements: Sequence[Settlement]) -> bool:
    """Write flushes, in their order, in one commit; return whether there was anything to write."""
    flush = Flush()
    for settlement in settlements:
        flush.add(settlement)
    if not flush.is_empty:
        await flush.write(connection, names)
    return not flush.is_empty


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
        """Write it all, with one statement."""
        with writing():
            owners = await names.owners_of(connection, {key.subscription for key in (*self._settled, *self._opens)})
        values = self._settled_values(owners)
        is_more = bool(self._opens or self._lanes or self._attempts)
        if is_more:
            values |= self._more_values(owners)
        with writing(connection) as checked:
            await run(connection, "flush" if is_more else "settle", **values)
        checked()

    def _settled_values(self, owners: Owners) -> dict[str, Any]:
        ends = [self._settled[key] for key in sorted(self._settled, key=key_columns)]
        members: list[Open | Settled] = [*ends, *(open_ for open_ in self._opens.values() if open_)]
        moved = sorted(self._watermarks.items())
        return {
            **columns(_SETTLED, [_settled_row(end, owners[end.key.subscription]) for end in ends]),
            **_moments([end.key.last_ms for end in ends]),
            **columns(_MEMBER, sorted(set(_member_rows(members)))),
            "moved": [partition for partition, _ in moved],
            "watermarks": [watermark for _, watermark in moved],
        }

    def _more_values(self, owners: Owners) -> dict[str, Any]:
        opens = [(key_columns(key), open_) for key, open_ in self._opens.items()]
        lanes = sorted(self._lanes.items())
        return {
            **columns(_CLOSED, sorted(key for key, open_ in opens if open_ is None)),
            **columns(_OPENED, sorted(open_row(each, owners[each.key.subscription]) for _, each in opens if each)),
            **columns(_GONE, [key for key, lane in lanes if lane is None]),
            **columns(_LANE, [(*key, lane.cursor, bodies.pack(lane)) for key, lane in lanes if lane]),
            **columns(ATTEMPT, sorted(attempt_row(each) for each in self._attempts.values())),
        }


def columns(names: Sequence[str], rows: Iterable[Row]) -> dict[str, Any]:
    """Return rows as the columns that a block names, empty ones when there is no row."""
    turned = list(zip(*rows, strict=True)) or [()] * len(names)
    return dict(zip(names, turned, strict=True))


def _moments(moments: Sequence[int]) -> dict[str, int]:
    """Return the first and the last: only the tables of the days between them are looked into."""
    return {"since_ms": min(moments, default=1), "until_ms": max(moments, default=0)}


def _settled_row(settled: Settled, owner: tuple[int, int]) -> Row:
    *before, first_offset, record = settled_row(settled, owner)
    return *before, settled.count or 1, first_offset, record


def _member_rows(deliveries: Iterable[Open | Settled]) -> Iterator[Row]:
    for delivery in deliveries:
        key = delivery.key
        for member in delivery.members:
            yield key.partition, member, key.last_offset, key.subscription, key.last_ms
