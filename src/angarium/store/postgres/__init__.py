"""Keep everything in a PostgreSQL database that any number of processes share.

Publishes are accepted in groups by several connections, each for its share of the partitions (`line`, `accepting`);
flushes are written by one of their own (`settling`); the rest shares a few (`server`). Offsets are given out under the
partition's row lock (`appending`). Who listens is told by `waking`. The methods of the contract are divided by its
sections: `log`, `registry`, `apps`, `objects`, `deliveries`, `retention`; `store` puts them together.
"""

from angarium.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
