"""Plant damage in stores that were whole, and find each of them by a check."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw
import asyncpg
import pytest

from angarium.model.event import Place
from angarium.store.checking import Checking, Looked
from angarium.store.copying import Table
from angarium.store.postgres.checking import DatabaseReader
from angarium.store.rows import Row, pack_places
from angarium.store.sqlite import SqliteStore
from angarium.store.sqlite.checking import FileReader
from tests.store.copies import Place as Where
from tests.store.copies import copy
from tests.store.databases import Databases
from tests.store.living import Lived, live
from tests.store.values import publish
from tests.stories.receiving import Receiver


async def check(where: Where) -> Sequence[str]:
    """Return what a check finds."""
    reader = FileReader(where) if isinstance(where, Path) else DatabaseReader(where)
    looked: list[Looked] = []
    await reader.open()
    try:
        found = await Checking(reader, looked.append).run()
    finally:
        await reader.close()
    assert looked
    assert looked[-1].total >= looked[-1].entries > 0
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """A store on which a server has run."""
    receiver = Receiver()
    yield live(tmp_path_factory.mktemp("lived"), receiver)
    receiver.close()


@pytest.fixture(scope="module")
def lived_database(lived: Lived, databases: Databases) -> Iterator[str]:
    """The same in a database."""
    dsn = asyncio.run(databases.lend())
    asyncio.run(copy(lived.path, dsn))
    yield dsn
    asyncio.run(databases.drop(dsn))


@pytest.fixture
def file(lived: Lived, tmp_path: Path) -> Path:
    """A copy of it to be damaged, in which everything is indexed."""
    path = tmp_path / "angarium.db"
    shutil.copyfile(lived.path, path)
    asyncio.run(check(path))
    return path


@pytest.fixture
def database(lived_database: str, databases: Databases) -> Iterator[str]:
    """… in a database."""
    made = asyncio.run(databases.lend_copy(lived_database))
    yield made
    asyncio.run(databases.drop(made))


class Damage(NamedTuple):
    """What is changed in both stores, or in one of them by other words, and what a check says of it."""

    sql: str
    said: str
    in_database: str = ""


WORDS = {
    "THE_BUSY": '(SELECT "partition" FROM "partition" ORDER BY head DESC LIMIT 1)',
    "AN_OBJECT": "object_id = '3' AND object = 'item'",
    "ITS_BYTES": "object_id = '3'::bytea AND object = 'item'::bytea",
    "THE_LAST": """origin = 0 AND state = 0 AND first_offset IS NULL AND last_offset = (
        SELECT max(last_offset) FROM delivery WHERE origin = 0 AND first_offset IS NULL AND state = 0
    )""",
    "NOWHERE": pack_places([Place(1, 77, 1)]).hex(),
}
"""What is said shortly below."""

DAMAGES = {
    "an entry that is lost": Damage(
        """DELETE FROM event_place WHERE "partition" = THE_BUSY AND "offset" = (
            SELECT floor + 30 FROM "partition" ORDER BY head DESC LIMIT 1
        )""",
        "goes on from offset ",
        """DELETE FROM event WHERE "partition" = THE_BUSY AND "offset" = (
            SELECT floor + 30 FROM retained WHERE "partition" = THE_BUSY
        )""",
    ),
    "a head that is too high": Damage(
        'UPDATE "partition" SET head = head + 5 WHERE "partition" = THE_BUSY', "expected its head, "
    ),
    "a watermark that is too high": Damage("UPDATE progress SET watermark = 1000000", "the watermark of partition "),
    "a cursor that is too high": Damage(
        "UPDATE lane SET body = CAST(json_set(CAST(body AS TEXT), '$.cursor', 1000000) AS BLOB)",
        "stands at offset 1000000 of partition ",
        """UPDATE lane SET body = convert_to(
            jsonb_set(convert_from(body, 'UTF8')::jsonb, '{cursor}', '1000000')::text, 'UTF8'
        )""",
    ),
    "a settlement that is lost": Damage("DELETE FROM delivery WHERE THE_LAST", "and neither settled nor open"),
    "open deliveries that are lost": Damage("DELETE FROM open", "and neither settled nor open"),
    "a delivery that is beyond the log": Damage(
        "UPDATE delivery SET last_offset = 1000000 WHERE THE_LAST", "settles offset 1000000 of partition "
    ),
    "a delivery of another tenant's": Damage(
        "UPDATE delivery SET tenant = 999 WHERE THE_LAST", "expected an event of its own tenant there"
    ),
    "members that are lost": Damage("DELETE FROM member", "does not lead to the delivery to subscription sub_"),
    "what is settled twice": Damage(
        """INSERT INTO delivery SELECT "partition", last_offset, subscription, last_ms + 1, project, tenant, state,
            origin, first_offset, lot, record FROM delivery WHERE THE_LAST""",
        "is settled more than once for subscription sub_",
        """INSERT INTO delivery (
            "partition", last_offset, subscription, last_ms, project, tenant, state, origin, first_offset, weight,
            record
        ) SELECT "partition", last_offset, subscription, last_ms + 1, project, tenant, state, origin, first_offset,
            weight, record FROM delivery WHERE THE_LAST""",
    ),
    "a count that is wrong": Damage(
        "UPDATE delivery_count SET total = total + 1 WHERE state = 0", "deliveries as delivered, expected "
    ),
    "an object that names an older event": Damage(
        """UPDATE object SET sequence = (
            SELECT max(sequence) FROM event WHERE AN_OBJECT AND sequence < object.sequence
        ) WHERE AN_OBJECT""",
        "as its last event, expected offset ",
        'UPDATE object SET "offset" = "offset" - 1 WHERE ITS_BYTES',
    ),
    "an object that is lost": Damage(
        "DELETE FROM object WHERE AN_OBJECT",
        "names offset none as its last event",
        "DELETE FROM object WHERE ITS_BYTES",
    ),
    "an object that is not deleted": Damage(
        "UPDATE object SET is_deleted = 1 WHERE AN_OBJECT",
        "that it is there since offset ",
        "UPDATE object SET is_deleted = true WHERE ITS_BYTES",
    ),
    "data that is older": Damage(
        "UPDATE object SET data_sequence = 0 WHERE AN_OBJECT",
        "as its last data, expected offset ",
        "UPDATE object SET data_offset = 0 WHERE ITS_BYTES",
    ),
    "entries kept for objects that are lost": Damage(
        "DELETE FROM object_entry", "objects consist of entries that are nowhere"
    ),
    "a key that answers with what is not there": Damage(
        "UPDATE idempotency SET places = x'NOWHERE'",
        "idempotency key 'once' of project 'shop' answers with offset 77 of partition 1",
        "UPDATE idempotency SET places = decode('NOWHERE', 'hex')",
    ),
}


def spelt(sql: str) -> str:
    """Return SQL with its words as the stores know them."""
    for word, meaning in WORDS.items():
        sql = sql.replace(word, meaning)
    return sql


async def test_a_store_that_a_server_has_left_is_whole(file: Path, database: str) -> None:
    assert await check(file) == []
    assert await check(database) == []


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_in_a_file(file: Path, name: str) -> None:
    connection = apsw.Connection(str(file))
    connection.execute(spelt(DAMAGES[name].sql))
    assert connection.changes() > 0
    connection.close()
    found = await check(file)
    assert [each for each in found if DAMAGES[name].said in each], found


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_in_a_database(database: str, name: str) -> None:
    connection = await asyncpg.connect(database)
    done = await connection.execute(spelt(DAMAGES[name].in_database or DAMAGES[name].sql))
    assert not done.endswith(" 0"), done
    await connection.close()
    found = await check(database)
    assert [each for each in found if DAMAGES[name].said in each], found


async def test_an_entry_that_a_disk_has_changed_is_found(file: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE event SET data = x'7b7d' WHERE sequence = (SELECT max(sequence) FROM event)")
    connection.close()
    assert any("is not as it was written; restore the file from a copy" in each for each in await check(file))


async def test_what_is_wrong_many_times_is_not_said_as_often(file: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute("DELETE FROM delivery")
    connection.close()
    found = await check(file)
    assert len([each for each in found if "neither settled nor open" in each]) == 20
    assert any("more of the kind 'unsettled' are not shown" in each for each in found)


class _Counting(FileReader):
    """A file that is checked, which counts how often it is asked for rows with some keys."""

    finds = 0

    async def find(self, table: Table, keys: Sequence[Row]) -> Sequence[Row]:
        self.finds += 1
        return await super().find(table, keys)


async def test_what_keys_answer_with_is_looked_for_many_at_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "angarium.db")
    await store.open()
    for number in range(200):
        await store.accept(publish(key=f"key {number}"))
    await store.close()
    reader = _Counting(tmp_path / "angarium.db")
    await reader.open()
    try:
        assert await Checking(reader, lambda _: None).run() == []
    finally:
        await reader.close()
    assert reader.finds < 20
