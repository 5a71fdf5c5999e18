"""Put the parts of the PostgreSQL store together."""

from __future__ import annotations

from collections.abc import Sequence

from angarium.store.postgres.apps import Apps
from angarium.store.postgres.checking import damage
from angarium.store.postgres.deliveries import Deliveries
from angarium.store.postgres.log import Log
from angarium.store.postgres.objects import Objects
from angarium.store.postgres.registry import Registry
from angarium.store.postgres.retention import Retention
from angarium.store.postgres.statements import run


class PostgresStore(Log, Registry, Apps, Objects, Deliveries, Retention):
    """Everything in one PostgreSQL database, which many processes share.

    `PostgresStore(dsn)` says where; nothing happens before `open`. `committers` says how many connections accept
    publishes, `readers` how many read and change the registry.
    """

    async def check(self) -> Sequence[str]:
        """Return what is wrong with the database's offsets and objects, in sentences; `checking` finds out more."""
        async with self._reading() as connection:
            gaps = await run(connection, "check_offsets")
            return await damage(connection) + [
                f"partition {partition} has {count} entries, expected all from offset {floor + 1} to {head}"
                for partition, floor, head, count in gaps
            ]
