"""Copy stores in tests, and dump what they hold to compare it row for row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from angarium.store.copying import TABLES, Copying, Progress
from angarium.store.postgres.copying import DatabaseSource, DatabaseTarget
from angarium.store.sqlite.copying import FileSource, FileTarget

Place = Path | str
"""A store's file, or its database."""


def source_of(place: Place) -> FileSource | DatabaseSource:
    return FileSource(place) if isinstance(place, Path) else DatabaseSource(place)


def target_of(place: Place) -> FileTarget | DatabaseTarget:
    return FileTarget(place) if isinstance(place, Path) else DatabaseTarget(place)


async def copy(
    source: Place, target: Place, *, pages: int | None = None, then: Callable[[], None] = lambda: None
) -> bool:
    """Copy a store, or only so many pages of it and do something then; return whether that was all."""
    left, right = source_of(source), target_of(target)
    count = 0

    def told(_: Progress) -> None:
        nonlocal count
        count += 1
        if pages is not None and count > pages:
            then()

    await left.open()
    try:
        await right.open()
        try:
            return await Copying(left, right).run(told, lambda: pages is not None and count > pages)
        finally:
            await right.close()
    finally:
        await left.close()


async def dump(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of a store, and where its partitions stand, whatever kind it is."""
    source = source_of(place)
    await source.open()
    try:
        rows = {table.name: [row async for page in source.pages(table, None) for row in page.rows] for table in TABLES}
        standing = await source.standing()
        return {**rows, "partition": [tuple(each) for each in standing.partitions]}
    finally:
        await source.close()
