"""Run the same random commands against the reference and the PostgreSQL store, which must answer alike.

Among them are closing and opening, and losing all connections at once.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, cast

import asyncpg
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize
from msgspec.structs import replace

from angarium.store.contract import Receipt, Store
from angarium.store.postgres import PostgresStore
from tests.store import test_machine
from tests.store.conftest import own_all
from tests.store.databases import Databases

T = TypeVar("T")

END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module", autouse=True)
def _server(databases: Databases) -> Iterator[None]:
    PostgresStores.databases = databases
    yield
    del PostgresStores.databases


class PostgresStores(test_machine.Stores):
    """The reference and the PostgreSQL store side by side."""

    databases: Databases

    @initialize()
    def begin(self) -> None:
        self.dsn = self.loop.run_until_complete(self.databases.lend())
        self.open()

    def open(self) -> None:
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        self.other = PostgresStore(self.dsn)
        await self.other.open()
        await own_all(self.other)

    @staticmethod
    async def answer(ask: Callable[[Store], Awaitable[T]], store: Store) -> T | str:
        """Return an answer without the registry counters, which are said only where other processes raise them."""
        found = await test_machine.Stores.answer(ask, store)
        return cast("T", replace(found, registries={})) if isinstance(found, Receipt) else found

    def bounded(self, limit: int) -> int:
        """Leave no choice: this store folds and drops partition by partition, not in the order of all commits."""
        self.both(lambda store: store.fold_objects(limit=1000))
        return limit + 1000

    def lose_power(self) -> None:
        """Go on after the server has ended all connections."""
        self.loop.run_until_complete(self._lose())

    async def _lose(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(END_OTHERS)
        await connection.close()
        await asyncio.sleep(0.01)
        await self.other.close()
        await self._open()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.other.close())
        self.loop.run_until_complete(self.databases.drop(self.dsn))
        self.loop.close()
        shutil.rmtree(self.folder)


TestStores = PostgresStores.TestCase
TestStores.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
