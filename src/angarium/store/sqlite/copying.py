"""Read a file's rows for a copy, and write those of another store into a new file. The copy itself is `copying`'s.

Nothing else has the file meanwhile: its lock is held. What a file orders or indexes in its own way is made while it is
written: entries lie in commit order and are indexed by the page, and so are deliveries, a lot for each page.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from angarium.errors import StoreAway, StoreDamaged
from angarium.model.event import Kind
from angarium.model.registry import Tenant
from angarium.store import bodies
from angarium.store.copying import (
    BY_NAME,
    MARK,
    PROGRESS,
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
from angarium.store.rows import Row, checksum, entry_row, weight_of
from angarium.store.sql import load_blocks
from angarium.store.sqlite.connection import connect_writer, translated
from angarium.store.sqlite.folding import FOLDED_AT_ONCE
from angarium.store.sqlite.ledger import Ledger
from angarium.store.sqlite.migrating import migrate
from angarium.store.sqlite.ownership import Ownership
from angarium.store.sqlite.settling import write_counts
from angarium.store.sqlite.statements import load_migrations, run, run_each, run_rows, value

T = TypeVar("T")

_KEYS: Final = {"object_entry": ("sequence",)}
_CHECKED: Final = {"event": ("crc",), "object_entry": ("crc", "kind")}
"""What is read besides a table's columns, to hold a row against its checksum."""
_FLUSHED_BYTES: Final = 32 * 1024 * 1024


@cache
def sql() -> Mapping[str, str]:
    """Return the SQL of copies and checks."""
    return dict(load_blocks(__package__, "copying.sql"))


class CopiedFile:
    """A store's file that is held for a copy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ownership = Ownership(path)

    async def open(self) -> None:
        """Take the file; raises what opening a store raises, and `StoreAway` where a source is not there."""
        await asyncio.to_thread(self._take)

    async def close(self) -> None:
        """Let go of it."""
        await asyncio.to_thread(self._let_go)

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        found: bytes | None = await self._run(lambda connection: value(connection, "meta", (name,)))
        return found

    def _take(self) -> None:
        self._ownership.take()
        try:
            self.connection = connect_writer(self._path)
            self._prepare()
        except BaseException as error:
            self._ownership.release()
            raise (translated(error) if isinstance(error, apsw.Error) else error) from error

    def _prepare(self) -> None:
        migrate(self.connection, load_migrations())

    def _let_go(self) -> None:
        self.connection.close()
        self._ownership.release()

    async def _run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do something in a transaction of its own, in a thread."""
        return await asyncio.to_thread(self._inside, work)

    def _inside(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            self.connection.execute("BEGIN")
            answer = work(self.connection)
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            raise translated(error) from error
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        return answer


# -- from --------------------------------------------------------------------------------------------------------------


class FileSource(CopiedFile):
    """A file that is copied."""

    def _take(self) -> None:
        if not self._path.exists():
            raise StoreAway(f"{self._path} is not there; name the file of a store")
        super()._take()

    def _prepare(self) -> None:
        super()._prepare()
        refuse_unfinished(value(self.connection, "meta", (PROGRESS,)))
        self._ledger = Ledger(self.connection)
        self._ledger.load()
        self._fold()

    def _fold(self) -> None:
        low, end = self._ledger.folded_to, self._ledger.sequence
        while low < end:
            high = min(low + FOLDED_AT_ONCE, end)
            with self.connection:
                run(self.connection, "fold", (low, high))
                run(self.connection, "move_folded", (high,))
            low = high

    async def mark(self) -> str:
        """Return what the file knows by that it has not changed."""

        def mark(connection: apsw.Connection) -> str:
            found: bytes | None = value(connection, "meta", (MARK,))
            if not found:
                found = secrets.token_hex(16).encode()
                run(connection, "put_meta", (MARK, found))
            return found.decode()

        return await self._run(mark)

    async def counts(self) -> Mapping[str, int]:
        """Return how many rows each table has."""

        def counts(connection: apsw.Connection) -> dict[str, int]:
            tables = {table.name: "event_place" if table.name == "event" else source_of(table) for table in TABLES}
            return {
                name: connection.execute(blocks()["count"].format(source=source)).get for name, source in tables.items()
            }

        return await self._run(counts)

    async def pages(self, table: Table, after: Any) -> AsyncGenerator[Page, None]:  # noqa: ANN401  JSON
        """Yield a table's rows."""
        pace = Pace()
        while page := await self._run(partial(_page, table=table, after=after, pace=pace)):
            yield page
            after = page.after

    async def standing(self) -> Standing:
        """Return where the log stands."""
        rows = await self._run(lambda connection: run(connection, "partitions"))
        return Standing([Partition(*row) for row in rows], self._ledger.sequence)


def source_of(table: Table) -> str:
    """Return where a table's rows are read from."""
    return sql().get(table.name) or quoted([table.name])


def _page(connection: apsw.Connection, table: Table, after: Sequence[Any] | None, pace: Pace) -> Page | None:
    key, checked = _KEYS.get(table.name, table.key), _CHECKED.get(table.name, ())
    asked = page_sql((*table.columns, *checked), key, source_of(table), lambda _: "?", after)
    rows = connection.execute(asked, (*(after or ()), pace.limit)).fetchall()
    if not rows:
        return None
    pace.took(rows)
    places = [table.columns.index(column) for column in key]
    if table.name == "event":
        rows = [_checked_event(row) for row in rows]
    elif table.name == "object_entry":
        rows = [_checked_entry(row) for row in rows]
    return Page(rows, [rows[-1][place] for place in places])


def _checked_event(row: Row) -> Row:
    *columns, crc = row
    _, partition, offset, tenant, _, accepted_ms, kind, object_, action, object_id, extra, data = columns
    _check((partition, offset, tenant, accepted_ms, kind), (object_, action, object_id, extra, data), crc)
    return tuple(columns)


def _checked_entry(row: Row) -> Row:
    *columns, crc, kind = row
    tenant, object_, object_id, offset, _, partition, accepted_ms, action, extra, data = columns
    _check((partition, offset, tenant, accepted_ms, kind), (object_, action, object_id, extra, data), crc)
    return tuple(columns)


def _check(place: tuple[int, int, int, int, int], columns: Row, crc: int) -> None:
    if checksum(place, columns) != crc:
        raise StoreDamaged(
            f"entry {place[1]} of partition {place[0]} is not as it was written; restore the file from a copy"
        )


# -- to ----------------------------------------------------------------------------------------------------------------


class FileTarget(CopiedFile):
    """A file that a store is copied into."""

    def _prepare(self) -> None:
        super()._prepare()
        self._unflushed = 0

    async def progress(self) -> bytes | None:
        """Return what an unfinished copy says of itself."""
        return await self.meta(PROGRESS)

    async def is_empty(self) -> bool:
        """Say whether no table has a row."""
        return await self._run(
            lambda connection: not any(_page(connection, table=each, after=None, pace=Pace()) for each in TABLES)
        )

    async def write(self, table: Table | None, rows: Sequence[Row], progress: bytes) -> None:
        """Write rows and how far the copy is with them."""

        def write(connection: apsw.Connection) -> None:
            run(connection, "put_meta", (PROGRESS, progress))
            if table is None:
                connection.execute(sql()["index_entries"])
            else:
                _write(connection, table, rows)

        await self._run(write)
        self._unflushed += size_of(rows)
        if self._unflushed > _FLUSHED_BYTES:
            self._unflushed = 0
            await asyncio.to_thread(self.connection.wal_checkpoint, mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    async def finish(self, standing: Standing) -> None:
        """Write where the log stands, and be a store like any other."""

        def finish(connection: apsw.Connection) -> None:
            for partition in standing.partitions:
                connection.execute(sql()["put_partition"], partition)
            last = max(standing.last_sequence, connection.execute(sql()["last_number"]).get)
            connection.execute(sql()["put_last_zone"], (last,))
            run(connection, "move_folded", (last,))
            connection.execute(sql()["drop_index"])
            connection.execute(sql()["drop_meta"], (PROGRESS,))

        await self._run(finish)
        await asyncio.to_thread(self.connection.wal_checkpoint, mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


# -- rows --------------------------------------------------------------------------------------------------------------


def _write(connection: apsw.Connection, table: Table, rows: Sequence[Row]) -> None:
    if writer := _WRITERS.get(table.name):
        writer(connection, rows)
    else:
        _write_as_they_are(connection, table, rows)


def _write_as_they_are(connection: apsw.Connection, table: Table, rows: Sequence[Row]) -> None:
    each = f"{{{len(table.columns)} each}}"
    insert = blocks()["insert"].format(table=quoted([table.name]), columns=quoted(table.columns), rows=each)
    run_rows(connection, insert, _flat(rows))


def _write_tenants(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    """Write tenants; those that came into being with their first event have a body here."""
    names = dict(connection.execute(sql()["project_names"]))
    whole = []
    for number, project, name, created_ms, body in rows:
        is_bare = body is None and created_ms is not None
        packed = bodies.pack(Tenant(names[project], name, created_ms)) if is_bare else body
        whole.append((number, project, name, created_ms, packed))
    _write_as_they_are(connection, BY_NAME["tenant"], whole)


def _write_events(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    indexed_to = (value(connection, "indexed_to"),)
    values: list[Any] = []
    for row in rows:
        sequence, partition, offset, tenant, _, accepted_ms, kind, object_, action, object_id, extra, data = row
        place = (partition, offset, tenant, accepted_ms, kind)
        values += entry_row(sequence, place, (object_, action, object_id, extra, data))
    run_each(connection, "add_events", values)
    for name in ("index_places", "index_projects", "add_zone"):
        run(connection, name, indexed_to)


def _write_entries(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    """Write kept entries; those without a number in commit order get one above all others, for theirs is forgotten."""
    last: int = connection.execute(sql()["last_number"]).get
    values: list[Any] = []
    for tenant, object_, object_id, offset, known, partition, accepted_ms, action, extra, data in rows:
        last += 1
        place = (partition, offset, tenant, accepted_ms, Kind.EVENT.value)
        values += entry_row(last if known is None else known, place, (object_, action, object_id, extra, data))
    run_rows(connection, sql()["add_entries"], values)


def _write_objects(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    run_rows(connection, sql()["add_objects"], _flat(rows))


def _write_settled(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    counts: Counter[tuple[int, int]] = Counter()
    values: list[Any] = []
    for project, last_ms, partition, last_offset, subscription, tenant, state, origin, first_offset, record in rows:
        values += (partition, last_offset, subscription, last_ms, project, tenant, state, origin, first_offset, record)
        counts[project, state] += 1 if first_offset is None else weight_of(record)
    run_each(connection, "add_settled", values)
    lot = (value(connection, "next_lot"),)
    for name in ("move_lately", "index_lot", "add_lot"):
        run(connection, name, lot)
    run(connection, "empty_lately")
    write_counts(connection, counts)


_WRITERS: Mapping[str, Callable[[apsw.Connection, Sequence[Row]], None]] = {
    "tenant": _write_tenants,
    "event": _write_events,
    "object_entry": _write_entries,
    "object": _write_objects,
    "delivery": _write_settled,
}
"""How tables are written that are not written as they are read."""


def _flat(rows: Iterable[Row]) -> list[Any]:
    return [each for row in rows for each in row]
