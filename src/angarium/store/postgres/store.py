"""Put the parts of the PostgreSQL store together."""

from __future__ import annotations

from collections.abc import Sequence

from angarium.store.postgres.apps import Apps
from angarium.store.postgres.deliveries import Deliveries
from angarium.store.postgres.log import Log
from angarium.store.postgres.objects import Objects
from angarium.store.postgres.registry import Registry
from angarium.store.postgres.retention import Retention
from angarium.store.postgres.statements import run, value


class PostgresStore(Log, Registry, Apps, Objects, Deliveries, Retention):
    """Everything in one PostgreSQL database, which many processes share.

    `PostgresStore(dsn)` says where; nothing happens before `open`. `committers` says how many connections accept
    publishes, `readers` how many read and change the registry.
    """

    async def check(self) -> Sequence[str]:
        """Return what is wrong with the database, in sentences; nothing when it is whole. This reads the whole log."""
        async with self._reading() as connection:
            lost = await value(connection, "check_objects")
            gaps = await run(connection, "check_offsets")
        wrong = [f"{lost} objects consist of entries that are nowhere, expected none"] * bool(lost)
        return wrong + [
            f"partition {partition} has {count} entries, expected all from offset {floor + 1} to {head}"
            for partition, floor, head, count in gaps
        ]
