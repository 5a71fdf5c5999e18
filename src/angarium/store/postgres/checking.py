"""Read a database, as it is at one moment, for a check of all that is in it. What is compared is `checking`'s.

Servers may go on meanwhile: each of their commits leaves everything whole, and a snapshot holds whole commits only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from angarium.store.copying import PROGRESS, Table, partition_sql, refuse_unfinished, rows_sql
from angarium.store.postgres.connection import connect, writing
from angarium.store.postgres.copying import WHOLE_S, DatabaseSource, decoded, encoded, source_of, sql
from angarium.store.postgres.migrating import expect_all
from angarium.store.postgres.statements import SQL, load_migrations, value
from angarium.store.rows import Row

if TYPE_CHECKING:
    from angarium.store.postgres.statements import Connection

_AT_ONCE: Final = 100


class DatabaseReader(DatabaseSource):
    """A database that is checked."""

    async def open(self) -> None:
        """Connect, and look from now on at what is there at this moment."""
        self.connection = await connect(self._dsn)
        try:
            with writing():
                await expect_all(self.connection, load_migrations())
                refuse_unfinished(await value(self.connection, "meta", name=PROGRESS))
                await self.connection.execute(sql()["look"])
                await self.connection.execute(sql()["look_long"])
                self._folded: dict[int, int] = dict(map(tuple, await self.connection.fetch(sql()["folded"])))
        except BaseException:
            await self.close()
            raise

    async def find(self, table: Table, keys: Sequence[Row]) -> Sequence[Row]:
        """Return the rows with these keys that are there."""
        found: list[Row] = []
        width = len(table.key)
        each = [f"({', '.join(f'${at * width + place + 1}' for place in range(width))})" for at in range(_AT_ONCE)]
        asked = rows_sql(table, source_of(table), ", ".join(each))
        for start in range(0, len(keys), _AT_ONCE):
            some = list(keys[start : start + _AT_ONCE])
            some += [some[-1]] * (_AT_ONCE - len(some))  # So that it is one statement, however many are asked for.
            values = [value for key in some for value in encoded(table, key)]
            with writing():
                found += decoded(table, map(tuple, await self.connection.fetch(asked, *values)))
        return found

    async def of_partition(self, table: Table, partition: int) -> Sequence[Row]:
        """Return a partition's rows."""
        with writing():
            rows = await self.connection.fetch(partition_sql(table, source_of(table), "$1"), partition)
        return decoded(table, map(tuple, rows))

    async def settled_counts(self) -> Mapping[tuple[int, int], int]:
        """Return how many deliveries the database says are settled."""
        with writing():
            rows = await self.connection.fetch(sql()["settled_counts"])
        return {(project, state): total for project, state, total in rows}

    def is_folded(self, row: Row) -> bool:
        """Say whether an entry is folded into its object."""
        return bool(row[1] <= self._folded[row[0]])

    async def damage(self) -> Sequence[str]:
        """Return how many objects lack their entries."""
        return await damage(self.connection)


async def damage(connection: Connection) -> list[str]:
    """Return how many objects consist of entries that are nowhere."""
    with writing():
        lost = await connection.fetchval(SQL["check_objects"].sql, timeout=WHOLE_S)
    return [f"{lost} objects consist of entries that are nowhere, expected none"] * bool(lost)
