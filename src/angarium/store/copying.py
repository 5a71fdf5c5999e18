"""Copy a whole store into another, of its own kind or the other: rows go page by page, each with how far the copy is.

Both stores pack alike what a row holds, so that nothing is decoded: numbers, offsets, ids, moments and secrets are the
same in the copy. What one store has and the other makes for itself (indexes, counts, zones) is made anew on the way.

The source is marked, and a server that starts on it takes the mark away: an unfinished copy goes on only while its
source is what it was. The target says in itself how far it is; until that is gone, no server starts on it. Where rows
come from and go to is the stores' own business, in their `copying` modules.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct, json
from msgspec.structs import replace

from angarium.errors import StoreUnfinished, StoreWrong
from angarium.store.rows import Row
from angarium.store.sql import load_blocks

MARK: Final = "copy_source"
"""Under this name in `meta` a source knows that it has not changed since a copy began."""
PROGRESS: Final = "copy_progress"
"""… and an unfinished copy how far it is."""

PAGE_BYTES: Final = 4 * 1024 * 1024
ROWS_MAX: Final = 5000
_ROWS_AT_FIRST: Final = 64


class Table(Struct, frozen=True):
    """What is copied row by row. `names` are columns of text that may hold any character, `flags` say yes or no."""

    name: str
    key: tuple[str, ...]
    others: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return all columns, in the order in which rows hold them."""
        return (*self.key, *self.others)


def table_of(name: str, key: str, others: str = "", *, names: str = "", flags: str = "") -> Table:
    """Return a table whose columns are words, those of its key first."""
    return Table(name, tuple(key.split()), tuple(others.split()), frozenset(names.split()), frozenset(flags.split()))


_DELIVERY = "partition last_offset subscription last_ms"

# In this order: what others refer to comes first, entries before the objects that consist of them.
TABLES: Final = (
    table_of("meta", "name", "value"),
    table_of("number", "kind", "given"),
    table_of("project", "number", "name created_ms body keeps_objects", names="name", flags="keeps_objects"),
    table_of("tenant", "number", "project name created_ms body", names="name"),
    table_of("api_key", "number", "digest project body", names="project"),
    table_of("app", "number", "project body", names="project"),
    table_of("app_grant", "number", "project app digest code expires_ms body", names="project"),
    table_of("once", "name", "until_ms", names="name"),
    table_of("idempotency", "project key", "digest matched expires_ms places", names="project key"),
    table_of("subscription", "number", "project tenant status external_id body", names="external_id"),
    table_of("owner", "subscription", "project tenant partition"),
    table_of("subscription_version", "subscription from_offset", "partition body"),
    table_of("job", "number", "project tenant state body", names="project tenant"),
    # In the order of commits. The project is its tenant's.
    table_of(
        "event",
        "sequence",
        "partition offset tenant project accepted_ms kind object action object_id extra data",
        names="object action object_id",
    ),
    # `sequence` is None where a store does not keep it any more.
    table_of(
        "object_entry",
        "tenant object object_id offset",
        "sequence partition accepted_ms action extra data",
        names="object object_id action",
    ),
    table_of(
        "object",
        "tenant object object_id",
        "partition offset data_offset is_deleted",
        names="object object_id",
        flags="is_deleted",
    ),
    # In the order of lists, for that is how a file's lots must lie.
    table_of(
        "delivery", "project last_ms partition last_offset subscription", "tenant state origin first_offset record"
    ),
    table_of("open", _DELIVERY, "project tenant origin first_offset record"),
    table_of("member", "partition offset last_offset subscription last_ms"),
    table_of("attempt", f"{_DELIVERY} number", "at_ms body"),
    table_of("lane", "partition subscription", "cursor body"),
    table_of("progress", "partition", "watermark"),
)
BY_NAME: Final[Mapping[str, Table]] = {table.name: table for table in TABLES}


class Page(NamedTuple):
    """Some rows of a table, and after what the next ones come: JSON that only the source understands."""

    rows: Sequence[Row]
    after: Any


class Partition(NamedTuple):
    """Where a partition stands."""

    partition: int
    head: int
    floor: int
    registry: int


class Standing(Struct, frozen=True):
    """What a source is beside its tables: its partitions, and the last number in commit order that was given out."""

    partitions: Sequence[Partition]
    last_sequence: int


class Progress(Struct, frozen=True):
    """How far a copy is: of which source, in which table, after which row, and what has been copied so far."""

    source: str
    table: str
    after: Any = None
    rows: Mapping[str, int] = {}
    byte_count: int = 0

    @property
    def row_count(self) -> int:
        """Return how many rows have been copied."""
        return sum(self.rows.values())


class Source(Protocol):
    """A store that nobody else writes while it is copied, folded to its end."""

    async def mark(self) -> str:
        """Return what the source knows by that it has not changed; it is made when there is none."""

    async def counts(self) -> Mapping[str, int]:
        """Return how many rows each table has."""

    def pages(self, table: Table, after: Any) -> AsyncGenerator[Page, None]:  # noqa: ANN401  the source's own JSON
        """Yield a table's rows after what an earlier page said; None: from the first."""

    async def standing(self) -> Standing: ...


class Target(Protocol):
    """A store that is being made."""

    async def progress(self) -> bytes | None:
        """Return what an unfinished copy says of itself."""

    async def is_empty(self) -> bool: ...

    async def write(self, table: Table | None, rows: Sequence[Row], progress: bytes) -> None:
        """Write rows and how far the copy is with them: both, or neither."""

    async def finish(self, standing: Standing) -> None:
        """Write what is left, and be a store like any other: all of it, or nothing."""


class Copying:
    """One copy: `run` begins it or goes on with it, and tells how far it is after each page."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source, self._target = source, target

    async def run(self, told: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> bool:
        """Copy what is left; return whether that was all, False when it was stopped between two pages.

        `StoreWrong` when the target holds something else already.
        """
        progress = await self._begin()
        told(progress)
        for table in TABLES[TABLES.index(BY_NAME[progress.table]) :]:
            after = progress.after if table.name == progress.table else None
            async for page in _ahead(self._source.pages(table, after)):
                progress = _moved(progress, table, page)
                await self._target.write(table, page.rows, json.encode(progress))
                told(progress)
                if is_stopped():
                    return False
        await self._target.finish(await self._source.standing())
        return True

    async def _begin(self) -> Progress:
        mark = await self._source.mark()
        found = await self._target.progress()
        if found is not None:
            return _same(json.decode(found, type=Progress), mark)
        if not await self._target.is_empty():
            raise StoreWrong(
                "the target holds a store already, expected an empty one or an unfinished copy; name another"
            )
        progress = Progress(mark, TABLES[0].name)
        await self._target.write(None, (), json.encode(progress))
        return progress


def _same(progress: Progress, mark: str) -> Progress:
    if progress.source != mark:
        raise StoreWrong(
            "the target is an unfinished copy of another store, or of this one before a server ran on it; "
            "delete what is in the target, and copy again"
        )
    return progress


def refuse_unfinished(progress: bytes | None) -> None:
    """Raise `StoreUnfinished` when a store is the unfinished copy of another."""
    if progress is not None:
        count = json.decode(progress, type=Progress).row_count
        raise StoreUnfinished(
            f"the store is an unfinished copy, {count:,} rows so far; run the same `angarium store copy` again, "
            "which goes on where it stopped"
        )


def _moved(progress: Progress, table: Table, page: Page) -> Progress:
    rows = {**progress.rows, table.name: progress.rows.get(table.name, 0) + len(page.rows)}
    byte_count = progress.byte_count + size_of(page.rows)
    return replace(progress, table=table.name, after=page.after, rows=rows, byte_count=byte_count)


def size_of(rows: Iterable[Row]) -> int:
    """Return about how many bytes rows take."""
    return sum([len(value) if isinstance(value, bytes | str) else 4 for row in rows for value in row])


async def _ahead(pages: AsyncGenerator[Page, None]) -> AsyncIterator[Page]:
    """Yield pages, reading the next one while the last is being written."""

    async def read() -> Page | None:
        return await anext(pages, None)

    reading = asyncio.ensure_future(read())
    try:
        while (page := await reading) is not None:
            reading = asyncio.ensure_future(read())
            yield page
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await pages.aclose()


class Pace:
    """How many rows to ask for next, so that a page is neither long nor large."""

    def __init__(self, *, page_bytes: int = PAGE_BYTES, rows: int = _ROWS_AT_FIRST) -> None:
        self._page_bytes = page_bytes
        self.limit = rows

    def took(self, rows: Sequence[Row]) -> None:
        """Take note of a page."""
        fitting = self._page_bytes * len(rows) // max(size_of(rows), 1)
        self.limit = max(1, min(fitting, 4 * self.limit, ROWS_MAX))


# -- SQL ---------------------------------------------------------------------------------------------------------------


@cache
def blocks() -> Mapping[str, str]:
    """Return the SQL that is the same for both stores."""
    return dict(load_blocks(__package__, "copying.sql"))


def page_sql(columns: Sequence[str], key: Sequence[str], source: str, mark: Callable[[int], str], after: Any) -> str:  # noqa: ANN401  JSON
    """Return the SQL of a table's page; `mark` says how the store writes its values' places, from 0 on."""
    count = 0 if after is None else len(key)
    return blocks()["first_page" if after is None else "page"].format(
        columns=quoted(columns),
        source=source,
        key=quoted(key),
        after=", ".join(mark(place) for place in range(count)),
        limit=mark(count),
    )


def rows_sql(table: Table, source: str, keys: str) -> str:
    """Return the SQL of a table's rows with some keys, which the store writes in its own way."""
    return blocks()["rows"].format(columns=quoted(table.columns), source=source, key=quoted(table.key), keys=keys)


def partition_sql(table: Table, source: str, mark: str) -> str:
    """Return the SQL of a partition's rows."""
    return blocks()["of_partition"].format(
        columns=quoted(table.columns), source=source, key=quoted(table.key), partition=mark
    )


def quoted(columns: Iterable[str]) -> str:
    """Return columns as SQL lists them; some of their names are words of the language."""
    return ", ".join(f'"{column}"' for column in columns)
