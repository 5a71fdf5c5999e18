"""Copy what random commands have made from one kind of store to the other, and go on with the copy."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import asyncpg
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, rule
from msgspec.structs import replace

from angarium.store import postgres, sqlite
from angarium.store.checking import ENTRY, RANGE, SETTLED, VERSION
from angarium.store.contract import Receipt, Store
from angarium.store.copying import TABLES, Table, page_sql
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.connection import connect
from angarium.store.postgres.copying import source_of
from angarium.store.sql import load_blocks
from angarium.store.sqlite import SqliteStore
from tests.store import test_machine
from tests.store.copies import Place, copy
from tests.store.databases import Databases
from tests.store.values import event, publish

T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def _server(databases: Databases) -> Iterator[None]:
    CopiedStores.databases = databases
    yield
    del CopiedStores.databases


class CopiedStores(test_machine.Stores):
    """The reference, and a store that moves to another place and kind now and then."""

    databases: Databases

    @initialize()
    def begin(self) -> None:
        self.lent: list[str] = []
        self.files = 0
        self.place = self.next_file()
        self.open()

    def open(self) -> None:
        self.other = SqliteStore(self.place) if not isinstance(self.place, str) else PostgresStore(self.place)
        self.loop.run_until_complete(self._own())

    async def _own(self) -> None:
        await self.other.open()
        await self.other.owner.join()
        await self.other.owner.balance()

    def next_file(self) -> Place:
        self.files += 1
        return self.folder / f"{self.files}.db"

    def next_database(self) -> Place:
        self.lent.append(self.loop.run_until_complete(self.databases.lend()))
        return self.lent[-1]

    def bounded(self, limit: int) -> int:
        """Leave no choice: the stores fold and drop in different orders."""
        self.both(lambda store: store.fold_objects(limit=1000))
        return limit + 1000

    @staticmethod
    async def answer(ask: Callable[[Store], Awaitable[T]], store: Store) -> T | str:
        """Leave out what tells processes of each other's changes."""
        found = await test_machine.Stores.answer(ask, store)
        return replace(found, registries={}) if isinstance(found, Receipt) else found

    @rule()
    def move_to_a_file(self) -> None:
        self.move(self.next_file())

    @rule()
    def move_to_a_database(self) -> None:
        self.move(self.next_database())

    def move(self, target: Place) -> None:
        self.both(lambda store: store.fold_objects(limit=1000))
        self.loop.run_until_complete(self.other.close())
        assert self.loop.run_until_complete(copy(self.place, target))
        self.place = target
        self.open()

    def lose_power(self) -> None:
        """Leave that to the stores' own tests."""

    def teardown(self) -> None:
        self.loop.run_until_complete(self.other.close())
        for dsn in self.lent:
            self.loop.run_until_complete(self.databases.drop(dsn))
        self.loop.close()
        shutil.rmtree(self.folder)


TestCopiedStores = CopiedStores.TestCase
TestCopiedStores.settings = settings(max_examples=8, stateful_step_count=30, deadline=None)


async def test_what_is_copied_lies_in_its_days_tables(databases: Databases, tmp_path: Path) -> None:
    day, dsn = int(time.time()) // 86_400, await databases.lend(is_empty=True)
    store = SqliteStore(tmp_path / "a.db")
    await store.open()
    for back in (3, 1, 2, 0):
        await store.accept(publish(event(back), now_ms=(day - back) * 86_400_000))
    await store.fold_objects(limit=10)
    await store.close()
    await copy(tmp_path / "a.db", dsn)
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch('SELECT tableoid::regclass::text, day FROM event ORDER BY "offset"')
    assert [tuple(row) for row in rows] == [(f"event_{day - back}", day - back) for back in (3, 1, 1, 0)]
    objects = await connection.fetch("SELECT day, data_day FROM object ORDER BY object_id")
    assert [tuple(row) for row in objects] == [(day - back, day - back) for back in (0, 1, 1, 3)]
    assert await connection.fetchval('SELECT max(day) FROM "partition"') == day
    await connection.close()
    await databases.drop(dsn)


@pytest.mark.parametrize("store", [sqlite, postgres], ids=["sqlite", "postgres"])
def test_every_block_is_used(store: ModuleType) -> None:
    folder = Path(store.__path__[0])
    sources = "".join((folder / name).read_text("utf-8") for name in ("copying.py", "checking.py"))
    tables = {table.name for table in (*TABLES, ENTRY, SETTLED, RANGE, VERSION)}
    named = set(re.findall(r'sql\(\)\["(\w+)"\]', sources))
    assert {name for name, _ in load_blocks(store.__name__, "copying.sql")} <= tables | named


# The log is read partition by partition instead.
PAGED = [table for table in (*TABLES, ENTRY, SETTLED, RANGE) if table.name != "event"]


@pytest.mark.parametrize("table", PAGED, ids=lambda table: table.name)
async def test_a_page_comes_out_of_an_index_in_its_order(table: Table, databases: Databases) -> None:
    """A page for which all rows are sorted would make a copy of twice as much take four times as long."""
    dsn = await databases.lend()
    connection = await connect(dsn)
    for after, count in ((None, 1), (["any"], 1 + len(table.key))):
        asked = page_sql(table.columns, table.key, source_of(table), lambda place: f"${place + 1}", after)
        await connection.execute(f"PREPARE asked AS {asked}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE asked ({', '.join(['NULL'] * count)})")
        await connection.execute("DEALLOCATE asked")
        assert not [row for (row,) in rows if "Sort" in row.replace("Sort Key", "") or "Seq Scan" in row], rows
    await connection.close()
    await databases.drop(dsn)
