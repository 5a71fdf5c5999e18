"""Give every test of the contract each store in turn: a new one is a line here."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from angarium.store.memory import MemoryStore
from angarium.store.postgres import PostgresStore
from angarium.store.sqlite import SqliteStore
from tests.store.databases import Databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from angarium.store.contract import Store

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": SqliteStore,
    "sqlite, indexed at once": partial(SqliteStore, unindexed_max=1),
}


@pytest.fixture(params=[*STORES, "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of each kind, and close it afterwards."""
    if request.param == "postgres":
        databases: Databases = request.getfixturevalue("databases")
        dsn = await databases.lend()
        made: Store = PostgresStore(dsn)
        await made.open()
        await own_all(made)
        yield made
        await made.close()
        await databases.drop(dsn)
        return
    made = STORES[request.param](tmp_path / "angarium.db")
    await made.open()
    await own_all(made)
    yield made
    await made.close()


async def own_all(store: Store) -> None:
    """Let a store settle: who is alone owns everything."""
    await store.owner.join()
    await store.owner.balance()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Open an empty SQLite store, and close it afterwards."""
    made = SqliteStore(tmp_path / "angarium.db")
    await made.open()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Lend databases on one server for all tests."""
    lent = Databases()
    yield lent
    asyncio.run(lent.close())
