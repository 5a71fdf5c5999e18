"""Read a file for a check of all that is in it. What is compared with what is `checking`'s."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from angarium.store.checking import ENTRY
from angarium.store.copying import PROGRESS, Page, Table, partition_sql, refuse_unfinished, rows_sql
from angarium.store.rows import Row, checksum
from angarium.store.sqlite.copying import FileSource, source_of, sql
from angarium.store.sqlite.ledger import Ledger
from angarium.store.sqlite.migrating import expect_all
from angarium.store.sqlite.statements import load_migrations, run, value

if TYPE_CHECKING:
    import apsw


_SUMMED: Final = Table(ENTRY.name, ENTRY.key, (*ENTRY.others, "crc"))
"""Entries with their checksums."""


class FileReader(FileSource):
    """A file that is checked; nothing of it is changed but what a server would index at its start."""

    def _prepare(self) -> None:
        expect_all(self.connection, load_migrations())
        refuse_unfinished(value(self.connection, "meta", (PROGRESS,)))
        self._ledger = Ledger(self.connection)
        self._ledger.load()
        self._changed: list[Row] = []

    async def pages(self, table: Table, after: Any) -> AsyncGenerator[Page, None]:  # noqa: ANN401  JSON
        """Yield a table's rows; of entries, take note of those that are not as they were written."""
        if table is not ENTRY:
            async for page in super().pages(table, after):
                yield page
            return
        async for page in super().pages(_SUMMED, after):
            self._changed += [row[:2] for row in page.rows if not _is_as_written(row)]
            yield Page([row[:-1] for row in page.rows], page.after)

    async def find(self, table: Table, keys: Sequence[Row]) -> Sequence[Row]:
        """Return the rows with these keys that are there."""
        if not keys:
            return []
        each = f"({', '.join('?' * len(table.key))})"
        asked = rows_sql(table, source_of(table), f"VALUES {', '.join([each] * len(keys))}")
        values = [value for key in keys for value in key]
        return await self._run(lambda connection: connection.execute(asked, values).fetchall())

    async def of_partition(self, table: Table, partition: int) -> Sequence[Row]:
        """Return a partition's rows."""
        asked = partition_sql(table, source_of(table), "?")
        return await self._run(lambda connection: connection.execute(asked, (partition,)).fetchall())

    async def settled_counts(self) -> Mapping[tuple[int, int], int]:
        """Return how many deliveries the file says are settled."""
        rows: list[Row] = await self._run(lambda connection: connection.execute(sql()["settled_counts"]).fetchall())
        return {(project, state): total for project, state, total in rows}

    def is_folded(self, row: Row) -> bool:
        """Say whether an entry is folded into its object."""
        return bool(row[ENTRY.columns.index("sequence")] <= self._ledger.folded_to)

    async def damage(self) -> Sequence[str]:
        """Return what SQLite finds, which entries are not as they were written, and which objects lack theirs."""
        return await self._run(damage) + [
            f"entry {offset} of partition {partition} is not as it was written; restore the file from a copy"
            for partition, offset in self._changed
        ]


def _is_as_written(row: Row) -> bool:
    partition, offset, _, tenant, _, accepted_ms, kind, object_, action, object_id, extra, data, crc = row
    place, columns = (partition, offset, tenant, accepted_ms, kind), (object_, action, object_id, extra, data)
    return bool(checksum(place, columns) == crc)


def damage(connection: apsw.Connection) -> list[str]:
    """Return what is wrong with a file's pages, and how many objects consist of entries that are nowhere."""
    wrong = [text for (text,) in run(connection, "check") if text != "ok"]
    lost = value(connection, "check_objects")
    return wrong + [f"{lost} objects consist of entries that are nowhere, expected none"] * bool(lost)
