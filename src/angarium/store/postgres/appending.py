"""Gather entries of the log as columns, and append them with one statement, which gives out their offsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from angarium.model.event import Kind
from angarium.store.postgres.days import DAY_MS
from angarium.store.postgres.statements import run
from angarium.store.rows import Row

if TYPE_CHECKING:
    from angarium.store.postgres.names import Numbers
    from angarium.store.postgres.statements import Connection

_COLUMNS = (
    "partition",
    "kind",
    "distance",
    "tenant",
    "project",
    "accepted_ms",
    "object",
    "action",
    "object_id",
    "extra",
    "data",
)


class Moved(NamedTuple):
    """Where a partition stood before some entries, where it stands behind them, and its registry counter."""

    before: int
    head: int
    registry: int


class Batch:
    """Entries that are appended together."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._counts: dict[int, int] = {}
        self._days: dict[int, int] = {}
        self._made: dict[int, int] = {}

    def add(self, numbers: Numbers, now_ms: int, kind: Kind, columns: Row) -> tuple[int, int]:
        """Take in an entry; return its partition and its distance from where that stands.

        An event's tenant comes into being with it.
        """
        tenant, project, partition = numbers
        distance = self._counts[partition] = self._counts.get(partition, 0) + 1
        self._days[partition] = max(self._days.get(partition, 0), now_ms // DAY_MS)
        object_, action, object_id, extra, data = columns
        self._rows.append(
            (
                partition,
                kind.value,
                distance,
                tenant,
                project,
                now_ms,
                object_.encode(),
                action.encode(),
                object_id.encode(),
                extra,
                data,
            )
        )
        if kind is Kind.EVENT:
            self._made.setdefault(tenant, now_ms)
        return partition, distance

    async def write(self, connection: Connection) -> Mapping[int, Moved]:
        """Append what was taken in; return which partitions have moved."""
        if not self._rows:
            return {}
        columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*self._rows, strict=True), strict=True))
        rows = await run(
            connection,
            "accept",
            partitions=list(self._counts),
            counts=list(self._counts.values()),
            days=list(self._days.values()),
            made=list(self._made),
            made_ms=list(self._made.values()),
            **columns,
        )
        return {
            partition: Moved(before, before + self._counts[partition], registry) for partition, before, registry in rows
        }
