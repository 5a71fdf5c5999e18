"""Hold how a database's schema is brought up to date, and which databases are refused."""

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import StoreWrong
from angarium.model.registry import Project
from angarium.store import bodies
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.migrating import migrate
from angarium.store.postgres.statements import load_migrations
from angarium.store.sql import Migration
from angarium.store.sqlite.statements import load_migrations as load_sqlite_s
from tests.store.values import NOON, PROJECT, TENANT

FIRST = Migration(1, "0001_one.sql", "CREATE TABLE one (number integer); CREATE TABLE other (number integer)", b"1")
SECOND = Migration(2, "0002_two.sql", "CREATE TABLE two (number integer)", b"2")


@pytest.fixture
async def bare(empty: str) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(empty)
    yield made
    await made.close()


async def tables(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in rows}


def test_migrations_have_the_same_numbers_and_names_as_sqlite_s() -> None:
    assert [each.name for each in load_migrations()] == [each.name for each in load_sqlite_s()]


async def test_a_new_database_gets_all_migrations_and_an_older_one_the_rest(bare: asyncpg.Connection) -> None:
    assert await migrate(bare, [FIRST]) == 1
    assert await migrate(bare, [FIRST, SECOND]) == 1
    assert await migrate(bare, [FIRST, SECOND]) == 0
    assert await tables(bare) == {"migration", "one", "other", "two"}


async def test_a_migration_that_fails_leaves_nothing_of_itself(bare: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate(bare, [FIRST, replace(SECOND, sql="CREATE TABLE two (number integer); CREATE nonsense")])
    assert await tables(bare) == {"migration", "one", "other"}
    assert await migrate(bare, [FIRST, SECOND]) == 1


async def test_a_database_that_is_newer_than_the_program_is_refused(bare: asyncpg.Connection) -> None:
    await migrate(bare, [FIRST, SECOND])
    with pytest.raises(StoreWrong, match=r"has migration 0002_two.sql, newer than .* 0001_one.sql; run a program"):
        await migrate(bare, [FIRST])


async def test_a_migration_that_was_changed_is_refused(bare: asyncpg.Connection) -> None:
    await migrate(bare, [FIRST])
    with pytest.raises(StoreWrong, match=r"made with another 0001_one.sql"):
        await migrate(bare, [replace(FIRST, digest=b"x"), SECOND])
    assert "two" not in await tables(bare)


async def test_a_database_of_another_program_is_refused_and_left_alone(bare: asyncpg.Connection, empty: str) -> None:
    await bare.execute("CREATE TABLE theirs (number integer)")
    with pytest.raises(StoreWrong, match="holds another program's tables"):
        await PostgresStore(empty).open()
    assert await tables(bare) == {"theirs"}


async def test_processes_that_start_together_make_each_migration_once(empty: str) -> None:
    stores = [PostgresStore(empty) for _ in range(3)]
    await gather(*(store.open() for store in stores))
    assert [await store.heads() for store in stores] == [{}, {}, {}]
    await gather(*(store.close() for store in stores))


async def test_a_store_from_before_objects_were_kept_learns_what_its_log_still_says(
    bare: asyncpg.Connection, empty: str
) -> None:
    await migrate(bare, load_migrations()[:1])
    for name, kept in ((PROJECT, True), ("cm", False)):
        project = Project(name, "standard", NOON, NOON, settings={} if kept else {"keep_objects": False})
        number = await bare.fetchval(
            "INSERT INTO project (name, created_ms, body) VALUES ($1, $2, $3) RETURNING number",
            name.encode(),
            NOON,
            bodies.pack(project),
        )
        tenant = await bare.fetchval(
            "INSERT INTO tenant (project, name, created_ms) VALUES ($1, $2, $3) RETURNING number",
            number,
            TENANT.encode(),
            NOON,
        )
        await bare.execute(
            'INSERT INTO event ("partition", kind, "offset", tenant, project, accepted_ms, object, action, object_id,'
            " data) VALUES ($1, 0, 1, $2, $3, $4, 'item', 'update', '1', '{}')",
            partition_of(name, TENANT),
            tenant,
            number,
            NOON,
        )
        await bare.execute('UPDATE "partition" SET head = 1 WHERE "partition" = $1', partition_of(name, TENANT))
    store = PostgresStore(empty)
    await store.open()
    assert await store.fold_objects(limit=9) == 2
    found = await store.object(PROJECT, TENANT, "item", "1")
    assert found
    assert found.data == b"{}"
    assert await store.object("cm", TENANT, "item", "1") is None
    await store.close()
