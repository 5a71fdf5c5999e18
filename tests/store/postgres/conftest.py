"""Lend databases, and stores on them, to the tests of the PostgreSQL store alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from angarium.store.postgres import PostgresStore
from tests.store.conftest import own_all
from tests.store.databases import Databases


@pytest.fixture
async def dsn(databases: Databases) -> AsyncIterator[str]:
    """Make a database with a store's schema, and drop it afterwards."""
    made = await databases.lend()
    yield made
    await databases.drop(made)


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[str]:
    """Make a database with nothing in it, and drop it afterwards."""
    made = await databases.lend(is_empty=True)
    yield made
    await databases.drop(made)


@pytest.fixture
async def one(dsn: str) -> AsyncIterator[PostgresStore]:
    """Open a store that owns everything."""
    made = PostgresStore(dsn)
    await made.open()
    await own_all(made)
    yield made
    await made.close()


@pytest.fixture
async def other(dsn: str, one: PostgresStore) -> AsyncIterator[PostgresStore]:
    """Open the same store as another process does, which owns nothing."""
    made = PostgresStore(dsn)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def connection(dsn: str, one: PostgresStore) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection to look behind the store."""
    made = await asyncpg.connect(dsn)
    yield made
    await made.close()
