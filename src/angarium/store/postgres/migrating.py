"""Bring a database's schema up to date, one numbered migration after the other, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from angarium.errors import StoreWrong
from angarium.store.copying import MARK, PROGRESS, refuse_unfinished
from angarium.store.postgres.connection import connect, writing
from angarium.store.postgres.statements import load_migrations, run, value
from angarium.store.sql import refuse_older

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.store.postgres.statements import Connection
    from angarium.store.sql import Migration

OLDEST = 150000
"""The oldest server that will do, as it numbers itself."""


async def migrate(connection: Connection, migrations: Sequence[Migration]) -> int:
    """Make the migrations that the database has not had, one process at a time; return how many.

    `StoreWrong` when it is of something else, newer than the program, or had a migration that is another now, when its
    server is too old, or keeps text in another encoding.
    """
    await _look(connection)
    async with connection.transaction():
        await run(connection, "lock_schema")
        if not await _is_ours(connection):
            await run(connection, "create_migration")
    count = 0
    for number in range(len(migrations)):
        async with connection.transaction():
            await run(connection, "lock_schema")
            had = _agreed(await run(connection, "schema_of"), migrations)
            if had == number:
                migration = migrations[number]
                await connection.execute(migration.sql)
                await run(
                    connection,
                    "add_migration",
                    number=migration.number,
                    name=migration.name,
                    digest=migration.digest,
                )
                count += 1
    return count


async def expect_all(connection: Connection, migrations: Sequence[Migration]) -> None:
    """Raise `StoreWrong` unless the database has had all migrations."""
    is_ours = await _is_ours(connection)
    refuse_older(_agreed(await run(connection, "schema_of"), migrations) if is_ours else 0, migrations)


async def admit(connection: Connection) -> None:
    """Let a server use the database; `StoreUnfinished` when it is an unfinished copy."""
    refuse_unfinished(await value(connection, "meta", name=PROGRESS))
    if await value(connection, "meta", name=MARK):
        await run(connection, "put_meta", name=MARK, value=b"")  # From now on it may change.


async def migrate_database(dsn: str) -> list[str]:
    """Bring a database's schema up to date, whoever uses it; return which migrations that took."""
    migrations = load_migrations()
    connection = await connect(dsn)
    try:
        with writing():
            count = await migrate(connection, migrations)
    finally:
        await connection.close(timeout=2)
    return [each.name for each in migrations[len(migrations) - count :]]


async def peek_database(dsn: str, name: str) -> bytes | None:
    """Return a named value of a store that servers may use, None where there is none yet.

    Nothing is written; `StoreWrong` and `StoreUnfinished` where no server could start on it.
    """
    connection = await connect(dsn)
    try:
        with writing():
            if not await _is_ours(connection) or not _agreed(await run(connection, "schema_of"), load_migrations()):
                return None
            refuse_unfinished(await value(connection, "meta", name=PROGRESS))
            found: bytes | None = await value(connection, "meta", name=name)
            return found
    finally:
        await connection.close(timeout=2)


async def _is_ours(connection: Connection) -> bool:
    """Say whether a store has been begun in the database; `StoreWrong` when it is of another program."""
    if await value(connection, "has_migrations"):
        return True
    if await value(connection, "has_tables"):
        raise StoreWrong("the database holds another program's tables; name one that is empty or ours")
    return False


async def _look(connection: Connection) -> None:
    version, encoding = await value(connection, "version"), await value(connection, "encoding")
    if version < OLDEST:
        raise StoreWrong(f"the server is PostgreSQL {version // 10000}, expected 15 or newer; take a newer one")
    if encoding != "UTF8":
        raise StoreWrong(f"the database's encoding is {encoding}, expected UTF8; make one with ENCODING 'UTF8'")


def _agreed(had: Sequence[Record], migrations: Sequence[Migration]) -> int:
    """Return how many migrations the database has had, all of them ours."""
    if len(had) > len(migrations):
        raise StoreWrong(
            f"the store has migration {had[-1]['name']}, newer than this program's last, {migrations[-1].name}; "
            "run a program that is at least as new as the one that wrote the store"
        )
    for row, ours in zip(had, migrations, strict=False):
        if (row["number"], row["name"], row["digest"]) != (ours.number, ours.name, ours.digest):
            raise StoreWrong(
                f"the store was made with another {row['name']} than this program's {ours.name}; "
                "run the program that made it"
            )
    return len(had)
