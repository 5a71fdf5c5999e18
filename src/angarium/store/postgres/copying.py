"""Read a database's rows for a copy, and write those of another store into an empty one. `copying` says which and when.

Nobody else starts on the database meanwhile: whoever does takes the lock under which its schema is changed, and a copy
holds that. Who has started before is seen among the server's sessions. Rows go in by COPY.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from heapq import heapify, heappop, heappush
from time import time
from typing import TYPE_CHECKING, Any, Final

from angarium.errors import StoreInUse
from angarium.store.copying import (
    MARK,
    PAGE_BYTES,
    PROGRESS,
    ROWS_MAX,
    TABLES,
    Pace,
    Page,
    Partition,
    Standing,
    Table,
    blocks,
    page_sql,
    quoted,
    refuse_unfinished,
    size_of,
)
from angarium.store.postgres.connection import committing, connect, writing
from angarium.store.postgres.days import AHEAD, DAY_MS
from angarium.store.postgres.folding import FOLDED_AT_ONCE, fold
from angarium.store.postgres.migrating import migrate
from angarium.store.postgres.statements import load_migrations, run, value
from angarium.store.rows import Row, weight_of
from angarium.store.sql import load_blocks

if TYPE_CHECKING:
    import asyncpg

WHOLE_S: Final = 3600.0
"""How long a question may take that reads a whole table."""
_ENTRIES_BYTES: Final = 64 * 1024
"""How much of each partition's log is read at a time: all 256 are read side by side."""
_ZONE_MS: Final = 600_000
_DAYS_MAX: Final = 400
"""What is older than so many days gets no tables of its own."""


@cache
def sql() -> Mapping[str, str]:
    """Return the SQL of copies and checks."""
    return dict(load_blocks(__package__, "copying.sql"))


class CopiedDatabase:
    """A store's database that is held for a copy, through one connection."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def open(self) -> None:
        """Take the database; `StoreInUse` when anybody else is at it, and what opening a store raises."""
        self.connection: asyncpg.Connection = await connect(self._dsn)
        try:
            with writing():
                await self._hold()
                await migrate(self.connection, load_migrations())
                await self._prepare()
        except BaseException:
            await self.connection.close(timeout=2)
            raise

    async def _hold(self) -> None:
        if not await self.connection.fetchval(sql()["hold_schema"]):
            raise StoreInUse("another process copies this database, or starts on it; wait until it has ended")
        if others := await self.connection.fetchval(sql()["others"]):
            raise StoreInUse(
                f"{others} sessions of Angarium use this database, expected none while it is copied; stop its servers"
            )

    async def _prepare(self) -> None:
        """Do what is to be done before the copy."""

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        with writing():
            found: bytes | None = await value(self.connection, "meta", name=name)
        return found

    async def close(self) -> None:
        """Let go of it."""
        await self.connection.close(timeout=2)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with committing(self.connection):
            yield self.connection


# -- from --------------------------------------------------------------------------------------------------------------


class DatabaseSource(CopiedDatabase):
    """A database that is copied."""

    async def _prepare(self) -> None:
        refuse_unfinished(await value(self.connection, "meta", name=PROGRESS))
        count = FOLDED_AT_ONCE
        while count == FOLDED_AT_ONCE:
            async with self._transaction() as connection:
                count = await fold(connection, limit=FOLDED_AT_ONCE)

    async def mark(self) -> str:
        """Return what the database knows by that it has not changed."""
        async with self._transaction() as connection:
            found: bytes | None = await value(connection, "meta", name=MARK)
            if not found:
                found = secrets.token_hex(16).encode()
                await run(connection, "put_meta", name=MARK, value=found)
        return found.decode()

    async def counts(self) -> Mapping[str, int]:
        """Return how many rows each table has."""
        with writing():
            return {
                table.name: await self.connection.fetchval(
                    blocks()["count"].format(source=source_of(table)), timeout=WHOLE_S
                )
                for table in TABLES
            }

    async def pages(self, table: Table, after: Any) -> AsyncGenerator[Page, None]:  # noqa: ANN401  JSON
        """Yield a table's rows."""
        if table.name == "event":
            async for entries in self._entries(dict(after or ())):
                yield entries
            return
        pace = Pace()
        while (page := await self._page(table, after, pace)) is not None:
            yield page
            after = page.after

    async def _page(self, table: Table, after: Sequence[Any] | None, pace: Pace) -> Page | None:
        question = page_sql(table.columns, table.key, source_of(table), lambda place: f"${place + 1}", after)
        asked = encoded(table, after or ())
        with writing():
            found = await self.connection.fetch(question, *asked, pace.limit)
        if not found:
            return None
        rows = decoded(table, map(tuple, found))
        pace.took(rows)
        return Page(rows, list(rows[-1][: len(table.key)]))

    async def standing(self) -> Standing:
        """Return where the log stands."""
        with writing():
            rows = await self.connection.fetch(sql()["partitions"])
            last = await self.connection.fetchval(sql()["last_sequence"])
        return Standing([Partition(*row) for row in rows], last)

    async def _entries(self, after: dict[int, int]) -> AsyncGenerator[Page, None]:
        """Yield all partitions' entries in the order of commits: within a partition that is the order of offsets."""
        with writing():
            heads = await self.connection.fetch(sql()["partitions"])
        logs = [_Log(partition, after.get(partition, 0)) for partition, head, *_ in heads if head]
        first = [(sequence, log.partition, log) for log in logs if (sequence := await log.next(self.connection))]
        heapify(first)
        rows: list[Row] = []
        size = 0
        while first:
            _, partition, log = heappop(first)
            rows.append(row := log.take())
            size += size_of([row])
            after[partition] = log.after
            if sequence := await log.next(self.connection):
                heappush(first, (sequence, partition, log))
            if len(rows) == ROWS_MAX or size > PAGE_BYTES or not first:
                yield Page(decoded(_EVENT, rows), list(after.items()))
                rows, size = [], 0


class _Log:
    """One partition's entries, read some at a time."""

    def __init__(self, partition: int, after: int) -> None:
        self.partition = partition
        self.after = after
        self._rows: list[Row] = []
        self._pace = Pace(page_bytes=_ENTRIES_BYTES, rows=4)

    async def next(self, connection: asyncpg.Connection) -> int | None:
        """Return the number in commit order of the next entry, reading on when there is none in hand."""
        if not self._rows:
            with writing():
                found = await connection.fetch(sql()["entries"], self.partition, self.after, self._pace.limit)
            self._rows = [tuple(row) for row in reversed(found)]
            self._pace.took(self._rows)
        return self._rows[-1][0] if self._rows else None

    def take(self) -> Row:
        """Return the next entry's row."""
        row = self._rows.pop()
        self.after = row[2]
        return row


_EVENT: Final = next(table for table in TABLES if table.name == "event")


def source_of(table: Table) -> str:
    """Return where a table's rows are read from."""
    return sql().get(table.name) or quoted([table.name])


def encoded(table: Table, key: Sequence[Any]) -> list[Any]:
    """Return a key with names as bytes."""
    return [each.encode() if column in table.names else each for column, each in zip(table.key, key, strict=False)]


def decoded(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return rows with names as texts."""
    places = [place for place, column in enumerate(table.columns) if column in table.names]
    if not places:
        return list(rows)
    return [tuple([each.decode() if place in places else each for place, each in enumerate(row)]) for row in rows]


# -- to ----------------------------------------------------------------------------------------------------------------


class DatabaseTarget(CopiedDatabase):
    """A database that a store is copied into."""

    async def _prepare(self) -> None:
        self._days: dict[int, int] = dict(map(tuple, await self.connection.fetch(sql()["days"])))

    async def progress(self) -> bytes | None:
        """Return what an unfinished copy says of itself."""
        return await self.meta(PROGRESS)

    async def is_empty(self) -> bool:
        """Say whether no table has a row."""
        with writing():
            for table in TABLES:
                question = page_sql(table.columns, table.key, source_of(table), lambda place: f"${place + 1}", None)
                if await self.connection.fetch(question, 1):
                    return False
        return True

    async def write(self, table: Table | None, rows: Sequence[Row], progress: bytes) -> None:
        """Write rows and how far the copy is with them."""
        async with self._transaction() as connection:
            await run(connection, "put_meta", name=PROGRESS, value=progress)
            if table is not None:
                await _write(connection, table, rows, self._days)

    async def finish(self, standing: Standing) -> None:
        """Write where the log stands, and be a store like any other."""
        numbers = [each.partition for each in standing.partitions]
        heads, floors = [each.head for each in standing.partitions], [each.floor for each in standing.partitions]
        async with self._transaction() as connection:
            registry = [each.registry for each in standing.partitions]
            await connection.execute(sql()["put_partitions"], numbers, heads, registry)
            await connection.execute(sql()["put_floors"], numbers, floors)
            await connection.execute(sql()["put_days"], list(self._days), list(self._days.values()))
            await connection.execute(sql()["put_folded"])
            await connection.execute(sql()["put_sequence"], standing.last_sequence)
            await connection.execute(sql()["put_project_numbers"])
            await connection.execute(sql()["put_tenant_numbers"])
            await connection.execute(sql()["drop_meta"], PROGRESS)
        with writing():
            await self.connection.execute(sql()["analyze"], timeout=WHOLE_S)


async def _write(connection: asyncpg.Connection, table: Table, rows: Sequence[Row], days: dict[int, int]) -> None:
    """Write rows; `days` is the latest that an entry of each partition was accepted on, which is moved on."""
    match table.name:
        case "delivery":
            await _make_days(connection, table, rows, "last_ms")
            await _write_settled(connection, table, rows)
        case "member":
            await _make_days(connection, table, rows, "last_ms")
            await _put(connection, table, table.columns, rows)
        case "object":
            await connection.execute(sql()["add_objects"], *zip(*_records(table, table.columns, rows), strict=True))
        case "object_entry":
            columns = [each for each in table.columns if each not in {"sequence", "partition"}]
            await _put(connection, table, columns, rows)
        case "event":
            await _make_days(connection, table, rows, "accepted_ms")
            await _write_entries(connection, table, rows, days)
        case _:
            await _put(connection, table, table.columns, rows)


async def _put(connection: asyncpg.Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write some columns of rows."""
    await connection.copy_records_to_table(table.name, records=_records(table, columns, rows), columns=columns)


def _records(table: Table, columns: Sequence[str], rows: Sequence[Row]) -> list[list[Any]]:
    places = [table.columns.index(column) for column in columns]
    ways = [_encoder(table, column) for column in columns]
    return [[way(row[place]) for way, place in zip(ways, places, strict=True)] for row in rows]


async def _make_days(connection: asyncpg.Connection, table: Table, rows: Sequence[Row], column: str) -> None:
    """Make the tables of the days that rows are of, so that retention can drop them whole one day."""
    moment = table.columns.index(column)
    latest = int(time() * 1000) // DAY_MS + AHEAD
    days = {row[moment] // DAY_MS for row in rows}
    for day in sorted(each for each in days if latest - _DAYS_MAX < each <= latest):
        await connection.execute(sql()["make_day"], day)


async def _write_entries(
    connection: asyncpg.Connection, table: Table, rows: Sequence[Row], days: dict[int, int]
) -> None:
    place, moment = table.columns.index("partition"), table.columns.index("accepted_ms")
    records = _records(table, table.columns, rows)
    for record in records:
        partition = record[place]
        days[partition] = max(days.get(partition, 0), record[moment] // DAY_MS)
        record.append(days[partition])
    await connection.copy_records_to_table(table.name, records=records, columns=[*table.columns, "day"])
    await connection.execute(sql()["add_zones"], *_zones(rows))


def _encoder(table: Table, column: str) -> Any:  # noqa: ANN401  a function of one value to another
    if column in table.names:
        return str.encode
    return bool if column in table.flags else _same


def _same(each: object) -> object:
    return each


def _zones(rows: Sequence[Row]) -> tuple[list[int], list[int], list[int]]:
    """Return between which numbers in commit order the entries of each ten minutes lie."""
    sequence, moment = _EVENT.columns.index("sequence"), _EVENT.columns.index("accepted_ms")
    zones: dict[int, tuple[int, int]] = {}
    for row in rows:
        low, high = zones.get(row[moment] // _ZONE_MS, (row[sequence], row[sequence]))
        zones[row[moment] // _ZONE_MS] = min(low, row[sequence]), max(high, row[sequence])
    return list(zones), [low for low, _ in zones.values()], [high for _, high in zones.values()]


async def _write_settled(connection: asyncpg.Connection, table: Table, rows: Sequence[Row]) -> None:
    counts: Counter[tuple[int, int, int, int]] = Counter()
    weighed, moment = [], table.columns.index("last_ms")
    for row in rows:
        project, _, partition, *_, state, _, first_offset, record = row
        weight = 1 if first_offset is None else weight_of(record)
        counts[partition, project, state, row[moment] // DAY_MS] += weight
        weighed.append((*row, weight))
    await connection.copy_records_to_table(table.name, records=weighed, columns=[*table.columns, "weight"])
    partitions, projects, states, days = zip(*counts, strict=True)
    await connection.execute(sql()["count_settled"], partitions, projects, states, days, list(counts.values()))
