"""Hold how a file's schema is brought up to date, and which files are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import StoreAway, StoreDamaged, StoreWrong
from angarium.model.registry import Project
from angarium.store import bodies
from angarium.store.rows import entry_row, event_columns
from angarium.store.sql import Migration
from angarium.store.sqlite import SqliteStore
from angarium.store.sqlite.migrating import migrate
from angarium.store.sqlite.statements import load_migrations
from tests.store.values import NOON, PARTITION, PROJECT, TENANT, event, publish, subscription

if TYPE_CHECKING:
    from pathlib import Path

FIRST = Migration(1, "0001_one.sql", "CREATE TABLE one (number INTEGER); CREATE TABLE other (number INTEGER)", b"1")
SECOND = Migration(2, "0002_two.sql", "CREATE TABLE two (number INTEGER)", b"2")


def tables(connection: apsw.Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [migration.number for migration in load_migrations()] == list(range(1, len(load_migrations()) + 1))


def test_a_new_file_gets_all_migrations_and_an_older_one_the_rest() -> None:
    connection = apsw.Connection("")
    assert migrate(connection, [FIRST]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 0
    assert tables(connection) == {"migration", "one", "other", "two"}


def test_a_migration_that_fails_leaves_nothing_of_itself() -> None:
    connection = apsw.Connection("")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [FIRST, replace(SECOND, sql="CREATE TABLE two (number INTEGER); CREATE nonsense")])
    assert tables(connection) == {"migration", "one", "other"}
    assert migrate(connection, [FIRST, SECOND]) == 1


def test_a_file_that_is_newer_than_the_program_is_refused() -> None:
    connection = apsw.Connection("")
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(StoreWrong, match=r"has migration 0002_two.sql, newer than .* 0001_one.sql; run a program"):
        migrate(connection, [FIRST])


def test_a_migration_that_was_changed_is_refused() -> None:
    connection = apsw.Connection("")
    migrate(connection, [FIRST])
    with pytest.raises(StoreWrong, match=r"made with another 0001_one.sql"):
        migrate(connection, [replace(FIRST, digest=b"x"), SECOND])
    assert "two" not in tables(connection)


async def test_a_store_from_before_objects_were_kept_learns_what_its_log_still_says(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    connection = apsw.Connection(str(path))
    migrate(connection, load_migrations()[:1])
    insert = "INSERT INTO {} VALUES ({})".format
    for number, name in ((1, PROJECT), (2, "cm")):
        project = Project(name, "standard", NOON, NOON, settings={"keep_objects": False} if number == 2 else {})
        connection.execute(insert("project", "?, ?, ?, ?"), (number, name, NOON, bodies.pack(project)))
        connection.execute(insert("tenant", "?, ?, ?, NULL, NULL"), (number, number, TENANT))
        place = (partition_of(name, TENANT), 1, number, NOON, 0)
        row = entry_row(40 + number, place, event_columns(event(project=name)))
        connection.execute(insert("event", ", ".join("?" * 12)), row)
    called = replace(subscription(), external_id="17")
    connection.execute(insert("subscription", "1, 1, 1, 'active', ?"), (bodies.pack(called),))
    connection.close()

    store = SqliteStore(path)
    await store.open()
    assert await store.subscription_called(PROJECT, "17") == called
    assert await store.fold_objects(limit=1) == 1
    assert await store.fold_objects(limit=9) == 1
    found = await store.object(PROJECT, TENANT, "item", "1")
    assert found
    assert found.data == event().data
    assert await store.object("cm", TENANT, "item", "1") is None
    await store.close()


async def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE theirs (number INTEGER)")
    theirs.close()
    with pytest.raises(StoreWrong, match="holds another program's tables"):
        await SqliteStore(path).open()
    assert tables(apsw.Connection(str(path))) == {"theirs"}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("these are not the bytes that you are looking for" * 1000)
    with pytest.raises(StoreDamaged, match="is damaged"):
        await SqliteStore(path).open()
    assert path.read_text().startswith("these are not")


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreAway, match=r"nowhere/angarium.db cannot be opened \(No such file or directory\)"):
        await SqliteStore(tmp_path / "nowhere" / "angarium.db").open()


async def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    for number in range(1, 4):
        store = SqliteStore(path)
        await store.open()
        assert (await store.accept(publish())).places[0].offset == number
        await store.close()
        await store.close()
    assert not path.with_name("angarium.db-wal").exists()
    again = SqliteStore(path)
    await again.open()
    assert len(await again.read(PARTITION, after=0, limit=9)) == 3
    assert await again.check() == []
    await again.close()
