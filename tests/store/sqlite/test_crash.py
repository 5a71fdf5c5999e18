"""Hold what is left when the process is killed, the disk fails or fills up, or a file is damaged."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from angarium.errors import StoreAway, StoreDamaged
from angarium.store.sqlite import SqliteStore
from tests.store.values import NOON, PARTITION, PROJECT, TENANT, event, fill, publish, watermark

if TYPE_CHECKING:
    from angarium.model.event import Entry

PROGRAMS = Path(__file__).with_name("programs.py")

Promises = dict[tuple[int, int], str]
"""Which object's event was promised to stand at which place."""


def start(name: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(PROGRAMS), name, str(path)], stdout=subprocess.PIPE, text=True)


def said(name: str, path: Path) -> list[dict[str, Any]]:
    """Run a program to its end; return what it said."""
    with start(name, path) as running:
        assert running.stdout
        lines = [json.loads(line) for line in running.stdout]
    assert running.returncode == 0
    return lines


def written_until_killed(path: Path, *, after: int) -> Promises:
    """Let a program write, kill it after so many promises; return those that it has made."""
    promised: Promises = {}
    with start("write_for_ever", path) as running:
        assert running.stdout
        for number, line in enumerate(running.stdout):
            if number == after:
                running.kill()
            promised |= promises(line)
    assert len(promised) >= after
    return promised


def promises(line: str) -> Promises:
    """Read a line; the last one may be cut short."""
    try:
        read = json.loads(line)
    except ValueError:
        return {}
    return {(place[0], place[1]): read["text"] for place in read.get("places", [])}


async def everything(store: SqliteStore) -> dict[tuple[int, int], Entry]:
    """Return all entries by their places, whose offsets must have no gaps."""
    found: dict[tuple[int, int], Entry] = {}
    for partition, head in (await store.heads()).items():
        entries = await store.read(partition, after=0, limit=1_000_000)
        assert [entry.offset for entry in entries] == list(range(1, head + 1))
        found |= {(partition, entry.offset): entry for entry in entries}
    return found


def assert_as_written(found: dict[tuple[int, int], Entry]) -> None:
    """Hold that each event is one that the program has published, byte for byte."""
    for entry in found.values():
        assert entry.event
        text = entry.event.object_id
        assert entry.event.data.decode().strip('"').replace(text, "") == ""
        assert len(entry.event.data) > 40


async def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    path, dice = tmp_path / "angarium.db", random.Random(3)
    promised: Promises = {}
    for _ in range(4):
        promised |= written_until_killed(path, after=dice.randrange(20, 900))
        store = SqliteStore(path)
        await store.open()
        found = await everything(store)
        assert {
            place: entry.event.object_id for place, entry in found.items() if entry.event
        }.items() >= promised.items()
        assert_as_written(found)
        assert await store.check() == []
        await store.close()


async def test_the_state_of_objects_survives_a_kill_while_the_log_behind_them_is_dropped(tmp_path: Path) -> None:
    path, dice = tmp_path / "angarium.db", random.Random(5)
    for _ in range(4):
        promised = changed_until_killed(path, after=dice.randrange(300, 900))
        store = SqliteStore(path)
        await store.open()
        while await store.fold_objects(limit=500):
            pass
        assert any((await store.floors()).values())
        for task, number in promised.items():
            found = await store.object("radio", str(task % 3), "item", str(task))
            assert found
            assert int(found.url) >= number
            assert int(found.data) == int(found.url) - (int(found.url) % 3 == 0)
            assert found.offset - found.data_offset in range(1 if int(found.url) % 3 else 20)
        assert await store.check() == []
        await store.close()
        assert kept_for_nothing(path) == []


def changed_until_killed(path: Path, *, after: int) -> dict[int, int]:
    """Let a program change objects, kill it after so many promises; return how far it said each was changed."""
    promised: dict[int, int] = {}
    with start("fold_for_ever", path) as running:
        assert running.stdout
        for number, line in enumerate(running.stdout):
            if number == after:
                running.kill()
            with suppress(ValueError):  # The last line may be cut short.
                read = json.loads(line)
                promised[read["task"]] = read["number"]
    return promised


def kept_for_nothing(path: Path) -> list[Any]:
    """Return which entries are kept for an object though none names them."""
    connection = apsw.Connection(str(path))
    named = "SELECT sequence FROM object UNION SELECT data_sequence FROM object"
    return connection.execute(f"SELECT sequence FROM object_entry WHERE sequence NOT IN ({named})").fetchall()  # noqa: S608  ours


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store whose process was killed."""
    folder = tmp_path_factory.mktemp("killed")
    written_until_killed(folder / "angarium.db", after=700)
    return folder


@pytest.mark.parametrize("how", ["cut", "flip"])
@pytest.mark.parametrize("seed", range(12))
async def test_a_damaged_end_of_the_write_ahead_log_is_left_out_or_refused(
    killed: Path, tmp_path: Path, how: str, seed: int
) -> None:
    path = tmp_path / "angarium.db"
    copy_damaged(killed, path, "-wal", how, seed)
    store = SqliteStore(path)
    try:
        await store.open()
    except StoreDamaged:
        return
    assert_as_written(await everything(store))
    assert await store.check() == []
    await store.accept(publish())
    await store.close()


@pytest.mark.parametrize("seed", range(12))
async def test_damage_inside_the_file_is_never_served(killed: Path, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "angarium.db"
    shutil.copyfile(killed / "angarium.db", path)
    shutil.copyfile(killed / "angarium.db-wal", path.with_name("angarium.db-wal"))
    await reopen_once(path)
    copy_damaged(tmp_path, path, "", "flip", seed)
    store = SqliteStore(path)
    try:
        await store.open()
        assert_as_written(await everything(store))
    except StoreDamaged:
        pass  # As right as what is whole.
    finally:
        await store.close()


async def reopen_once(path: Path) -> None:
    """Let the write-ahead log be moved into the file, and everything be indexed."""
    store = SqliteStore(path)
    await store.open()
    await store.close()


def copy_damaged(folder: Path, path: Path, suffix: str, how: str, seed: int) -> None:
    """Copy a killed store's files, one of them cut short or with some bytes changed."""
    dice = random.Random(seed)
    for each in ("", "-wal"):
        source, target = folder / f"angarium.db{each}", path.with_name(f"angarium.db{each}")
        if source.exists() and source != target:
            shutil.copyfile(source, target)
    damaged = path.with_name(f"angarium.db{suffix}")
    content = bytearray(damaged.read_bytes())
    place = dice.randrange(max(0, len(content) * 3 // 4 if suffix else 100), len(content))
    if how == "cut":
        del content[place:]
    else:
        content[place : place + 3] = bytes(byte ^ 0x55 for byte in content[place : place + 3])
    damaged.write_bytes(content)


async def test_an_entry_that_was_changed_on_disk_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    store = SqliteStore(path)
    await store.open()
    await fill(store, 3)
    await store.close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE event SET data = x'7b7d' WHERE \"offset\" = 2")
    connection.close()
    await store.open()
    assert [entry.offset for entry in await store.entries(PARTITION, [1, 3])] == [1, 3]
    with pytest.raises(StoreDamaged, match=f"entry 2 of partition {PARTITION} is not as it was written"):
        await store.read(PARTITION, after=0, limit=9)
    await store.close()


async def test_a_log_with_a_gap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    await written(path, 5)
    connection = apsw.Connection(str(path))
    connection.execute('DELETE FROM event WHERE "offset" = 3; DELETE FROM event_zone; DELETE FROM event_place')
    connection.execute('UPDATE "partition" SET head = 0; DELETE FROM event_project')
    connection.close()
    with pytest.raises(StoreDamaged, match=f"partition {PARTITION} goes on from offset 1 to 5 with 4 entries"):
        await SqliteStore(path).open()


async def test_a_check_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    await written(path, 5)
    await reopen_once(path)
    connection = apsw.Connection(str(path))
    connection.execute('DELETE FROM event_place WHERE "offset" = 3')
    connection.close()
    store = SqliteStore(path)
    await store.open()
    assert await store.check() == [
        f"partition {PARTITION} has 4 entries from offset 1 to 5, expected all above its floor"
    ]
    await store.close()


async def test_a_check_says_that_objects_have_lost_their_entries(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    store = SqliteStore(path)
    await store.open()
    await fill(store, 5)
    await store.settle(watermark(5))
    await store.retain(before_ms=NOON + 3, limit=100)
    assert await store.check() == []
    await store.close()
    connection = apsw.Connection(str(path))
    connection.execute('DELETE FROM object_entry WHERE "offset" = 2')
    connection.close()
    await store.open()
    assert await store.check() == ["1 objects consist of entries that are nowhere, expected none"]
    with pytest.raises(StoreDamaged, match="restore the file from a copy"):
        await store.objects(PROJECT, TENANT, "item", after="", limit=9)
    await store.close()


async def written(path: Path, count: int) -> None:
    store = SqliteStore(path)
    await store.open()
    await fill(store, count)
    await store.close()


async def test_nothing_is_accepted_after_a_flush_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    before, during, after, read, closed = said("lose_flushes", path)
    assert before == {"accepted": "before", "offset": 1}
    assert (during["refused"], during["is_unknown"]) == ("during", True)
    assert (after["refused"], after["is_unknown"]) == ("after", False)
    assert "nothing is written until the program was started again" in after["detail"]
    assert read == {"read": ["before"]}
    assert closed == {"closed": True}
    store = SqliteStore(path)
    await store.open()
    left = [entry.event.object_id for entry in (await everything(store)).values() if entry.event]
    assert left in (["before"], ["before", "during"])
    await store.accept(publish())
    await store.close()


async def test_a_disk_that_takes_no_more_refuses_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    *lines, closed = said("fill_the_disk", path)
    accepted = [line["accepted"] for line in lines if "accepted" in line]
    refused = {line["refused"] for line in lines if "refused" in line}
    assert len(refused) > 10
    assert accepted[-1] == "after"
    assert closed == {"closed": True}
    store = SqliteStore(path)
    await store.open()
    left = [entry.event.object_id for entry in (await everything(store)).values() if entry.event]
    assert left == accepted
    assert await store.check() == []
    await store.close()


async def test_a_full_disk_accepts_all_of_a_publish_or_nothing(sqlite: SqliteStore) -> None:
    await fill(sqlite, 3)
    await sqlite._change(lambda transaction: transaction.connection.pragma("max_page_count", 60))
    refusals: list[StoreAway] = []
    for number in range(100):
        large = tuple(event(number * 10 + each) for each in range(300))
        try:
            await sqlite.accept(publish(*large))
        except StoreAway as error:
            refusals.append(error)
    assert 0 < len(refusals) < 100
    assert all("the disk is full" in str(error) and not error.is_unknown for error in refusals)
    head = (await sqlite.heads())[PARTITION]
    assert head == 3 + (100 - len(refusals)) * 300
    assert len(await sqlite.read(PARTITION, after=0, limit=100_000)) == head
    await sqlite._change(lambda transaction: transaction.connection.pragma("max_page_count", 1_000_000))
    assert (await sqlite.accept(publish())).places[0].offset == head + 1
    assert await sqlite.check() == []
