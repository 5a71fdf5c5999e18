"""Bring a file's schema up to date, one numbered migration after the other, each in a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from angarium.errors import StoreWrong
from angarium.store.copying import MARK, PROGRESS, refuse_unfinished
from angarium.store.sql import refuse_older
from angarium.store.sqlite.connection import connect_reader, connect_writer, translated
from angarium.store.sqlite.ownership import Ownership
from angarium.store.sqlite.statements import load_migrations, run, value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from angarium.store.sql import Migration


def migrate(connection: apsw.Connection, migrations: Sequence[Migration]) -> int:
    """Make the migrations that the file has not had; return how many.

    `StoreWrong` when the file is of something else, newer than the program, or had a migration that is another now.
    """
    if not _is_ours(connection):
        with connection:
            run(connection, "create_migration")
    missing = migrations[_agreed(run(connection, "schema_of"), migrations) :]
    for migration in missing:
        with connection:
            connection.execute(migration.sql)
            run(connection, "add_migration", (migration.number, migration.name, migration.digest))
    return len(missing)


def expect_all(connection: apsw.Connection, migrations: Sequence[Migration]) -> None:
    """Raise `StoreWrong` unless the file has had all migrations."""
    had = _agreed(run(connection, "schema_of"), migrations) if _is_ours(connection) else 0
    refuse_older(had, migrations)


def admit(connection: apsw.Connection) -> None:
    """Let a server use the file; `StoreUnfinished` when it is an unfinished copy."""
    refuse_unfinished(value(connection, "meta", (PROGRESS,)))
    if value(connection, "meta", (MARK,)):
        run(connection, "put_meta", (MARK, b""))  # From now on it may change.


def migrate_file(path: Path) -> list[str]:
    """Bring the schema of a file that nobody uses up to date; return which migrations that took."""
    migrations, ownership = load_migrations(), Ownership(path)
    ownership.take()
    try:
        connection = connect_writer(path)
        try:
            count = migrate(connection, migrations)
        finally:
            connection.close()
    except apsw.Error as error:
        raise translated(error) from error
    finally:
        ownership.release()
    return [each.name for each in migrations[len(migrations) - count :]]


def peek_file(path: Path, name: str) -> bytes | None:
    """Return a named value of a store that a server may use, None where there is none yet.

    Nothing is written; `StoreWrong` and `StoreUnfinished` where no server could start on it.
    """
    try:
        connection = connect_reader(path)
        try:
            if not _is_ours(connection) or not _agreed(run(connection, "schema_of"), load_migrations()):
                return None
            refuse_unfinished(value(connection, "meta", (PROGRESS,)))
            found: bytes | None = value(connection, "meta", (name,))
            return found
        finally:
            connection.close()
    except apsw.Error as error:
        raise translated(error) from error


def _is_ours(connection: apsw.Connection) -> bool:
    """Say whether a store has been begun in the file; `StoreWrong` when it is of another program."""
    if value(connection, "has_migrations"):
        return True
    if value(connection, "has_tables"):
        raise StoreWrong("the file holds another program's tables; name one that is new or a store of ours")
    return False


def _agreed(had: Sequence[tuple[int, str, bytes]], migrations: Sequence[Migration]) -> int:
    """Return how many migrations the file has had, all of them ours."""
    if len(had) > len(migrations):
        raise StoreWrong(
            f"the store has migration {had[-1][1]}, newer than this program's last, {migrations[-1].name}; "
            "run a program that is at least as new as the one that wrote the store"
        )
    for (number, name, digest), ours in zip(had, migrations, strict=False):
        if (number, name, digest) != (ours.number, ours.name, ours.digest):
            raise StoreWrong(
                f"the store was made with another {name} than this program's {ours.name}; run the program that made it"
            )
    return len(had)
