"""Copy stores on the command line as an operator does: from one kind to the other, killed in between, and go on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from angarium.errors import StoreWrong
from angarium.store.copying import PROGRESS
from angarium.store.postgres import PostgresStore
from angarium.store.sqlite import SqliteStore
from tests.cli.running import Run, command, environment
from tests.store.copies import copy, dump
from tests.store.databases import Databases
from tests.store.living import FAILED, Lived, live
from tests.store.values import event, publish
from tests.stories.receiving import OK, Receiver
from tests.stories.serving import Server
from tests.stories.verifying import is_signed
from tests.stories.waiting import eventually


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    lent = Databases()
    yield lent
    asyncio.run(lent.close())


@pytest.fixture
def dsn(databases: Databases) -> Iterator[str]:
    made = asyncio.run(databases.lend(is_empty=True))
    yield made
    asyncio.run(databases.drop(made))


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Lived:
    """A store on which a server has run."""
    return live(tmp_path_factory.mktemp("lived"), receiver)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.store.copies import copy

async def main(source, target, pages):
    await copy(Path(source), Path(target), pages=int(pages), then=lambda: os.kill(os.getpid(), signal.SIGKILL))

asyncio.run(main(*sys.argv[1:]))
"""


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def whole(place: Path | str) -> dict[str, list[tuple[object, ...]]]:
    """Return a store's rows in one order, without the numbers of kept entries, which a database forgets."""
    rows = asyncio.run(dump(place))
    rows["object_entry"] = [(*row[:4], *row[5:]) for row in rows["object_entry"]]
    return {name: sorted(each, key=repr) for name, each in rows.items()}


def test_everything_comes_through_a_database_and_back(run: Run, lived: Lived, dsn: str, tmp_path: Path) -> None:
    back = tmp_path / "back.db"
    there = run("store", "copy", "--from", url(lived.path), "--to", dsn, "--json")
    assert there.code == 0, there
    assert there.document["is_whole"]
    assert there.document["rows"]["event"] > 100
    assert run("store", "copy", "--from", dsn, "--to", url(back)).code == 0
    assert whole(lived.path) == whole(dsn) == whole(back)


def test_a_file_is_copied_into_a_file(run: Run, lived: Lived, tmp_path: Path) -> None:
    done = run("store", "copy", "--from", url(lived.path), "--to", url(tmp_path / "b.db"))
    assert done.code == 0, done
    assert f"put a copy of that file at {tmp_path}/b.db.key" in done.out
    assert whole(lived.path) == whole(tmp_path / "b.db")


@pytest.mark.parametrize("kind", ["file", "database"])
def test_a_server_goes_on_where_the_source_stood(
    run: Run, lived: Lived, databases: Databases, tmp_path: Path, kind: str
) -> None:
    """What waited is sent, signed with the secret that was made on the source; what had arrived is not sent again."""
    dsn = asyncio.run(databases.lend(is_empty=True))
    assert run("store", "copy", "--from", url(lived.path), "--to", dsn).code == 0
    given = {"store": dsn, "secret_key": Path(f"{lived.path}.key").read_text().strip()}
    if kind == "file":
        given["store"] = url(tmp_path / "angarium.db")
        assert run("store", "copy", "--from", dsn, "--to", given["store"]).code == 0
    had, tried = len(lived.alive.requests), len(lived.dead.requests)
    server = Server(tmp_path, dev="1", time_scale="100000", **given).start()
    try:
        project = server.project("shop")
        (new,) = project.publish({"object": "item", "action": "create", "object_id": "new"})
        lived.alive.wait_for_ids([new])
        lived.dead.always(OK).wait_for(tried + 1)
        eventually(lambda: not project.deliveries(state="retrying"))
        mine = [request for request in lived.alive.requests[had:] if request.id == new]
        assert sum(is_signed(request, lived.secret) for request in mine) == 1
        assert len(lived.alive.requests) - had <= 3  # To each of two subscriptions, and its batch.
        if kind == "database":
            assert run("store", "check", "--store", dsn).code == 0  # While the server runs.
    finally:
        server.stop()
        lived.dead.always(FAILED)
    done = run("store", "check", "--store", given["store"], "--json")
    assert (done.code, done.document["wrong"]) == (0, [])
    asyncio.run(databases.drop(dsn))


def test_whoever_kills_a_copy_goes_on_with_it(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    asyncio.run(fill(source, 60_000))
    for pages in (2, 3, 4):
        kill_a_copy(source, target, pages)
    refused = run("serve", "--store", url(target), "--listen", "127.0.0.1:0")
    assert refused.code == 1
    assert "error: the store is an unfinished copy" in refused.talk
    done = run("store", "copy", "--from", url(source), "--to", url(target))
    assert done.code == 0, done
    assert progress(target) is None
    assert whole(source) == whole(target)


def kill_a_copy(source: Path, target: Path, pages: int) -> None:
    """Begin a copy, or go on with it, in a process that is killed after so many pages."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(target), str(pages)],
        cwd=Path(__file__).parents[2],
        env=environment(),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL


async def fill(path: Path, count: int) -> None:
    store = SqliteStore(path)
    await store.open()
    for first in range(0, count, 1000):
        await store.accept(publish(*(event(number) for number in range(first, first + 1000))))
    await store.close()


def progress(path: Path) -> bytes | None:
    """Return how far a copy says that it is, as another process sees it."""
    if not path.exists():
        return None
    connection = apsw.Connection(str(path))
    try:
        found: bytes | None = connection.execute("SELECT value FROM meta WHERE name = ?", (PROGRESS,)).get
    except apsw.Error:
        return None  # It has no tables yet, or is just being opened.
    else:
        return found
    finally:
        connection.close()


def test_ctrl_c_ends_a_copy_with_how_to_go_on(tmp_path: Path, run: Run) -> None:
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    asyncio.run(fill(source, 60_000))
    arguments = ("store", "copy", "--from", url(source), "--to", url(target))
    copying = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    eventually(lambda: copying.poll() is not None or progress(target) is not None)
    copying.send_signal(signal.SIGINT)
    _, talk = copying.communicate(timeout=60)
    assert copying.returncode == 130
    assert "go on with: angarium " + " ".join(arguments) in talk.decode()
    assert run(*arguments).code == 0
    assert whole(source) == whole(target)


@pytest.mark.parametrize("pages", range(0, 20, 3))
def test_an_unfinished_copy_of_a_database_goes_on_too(lived: Lived, dsn: str, databases: Databases, pages: int) -> None:
    assert not asyncio.run(copy(lived.path, dsn, pages=pages))
    assert asyncio.run(copy(lived.path, dsn))
    assert whole(dsn) == whole(lived.path)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_no_server_starts_on_an_unfinished_copy_in_a_database(lived: Lived, dsn: str) -> None:
    asyncio.run(copy(lived.path, dsn, pages=5))
    with pytest.raises(StoreWrong, match="is an unfinished copy, "):
        asyncio.run(PostgresStore(dsn).open())


def test_a_source_that_a_server_has_is_not_copied(run: Run, tmp_path: Path, dsn: str) -> None:
    async def attempt() -> tuple[str, str]:
        file, database = SqliteStore(tmp_path / "a.db"), PostgresStore(dsn)
        await file.open()
        await database.open()
        try:
            found = [
                await asyncio.to_thread(run, "store", "copy", "--from", source, "--to", url(tmp_path / "b.db"))
                for source in (url(tmp_path / "a.db"), dsn)
            ]
        finally:
            await file.close()
            await database.close()
        assert [each.code for each in found] == [1, 1]
        return found[0].talk, found[1].talk

    of_file, of_database = asyncio.run(attempt())
    assert "is in use by process" in of_file
    assert "stop its servers" in of_database


def test_a_source_without_anything_in_it_is_refused(run: Run, tmp_path: Path, dsn: str) -> None:
    """A name that was mistyped passed as a copy of nothing."""
    refused = run("store", "copy", "--from", dsn, "--to", url(tmp_path / "b.db"))
    assert refused.code == 1
    assert "it holds no project and no event" in refused.talk


def test_a_target_with_something_in_it_is_refused(run: Run, lived: Lived, tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "b.db", 1000))
    refused = run("store", "copy", "--from", url(lived.path), "--to", url(tmp_path / "b.db"))
    assert refused.code == 1
    assert "holds a store already" in refused.talk


def test_a_copy_does_not_go_on_when_a_server_has_run_on_its_source(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    asyncio.run(fill(source, 1000))
    asyncio.run(copy(source, target, pages=1))
    asyncio.run(fill(source, 1000))
    refused = run("store", "copy", "--from", url(source), "--to", url(target))
    assert refused.code == 1
    assert "before a server ran on it" in refused.talk


def test_a_store_is_not_copied_into_itself(run: Run, lived: Lived) -> None:
    refused = run("store", "copy", "--from", url(lived.path), "--to", url(lived.path), "--json")
    assert refused.code == 2
    assert refused.document["error"]["what"] == "a store cannot be copied into itself"
    again = lived.path.parent / ".." / lived.path.parent.name / lived.path.name
    assert run("store", "copy", "--from", url(lived.path), "--to", url(again)).code == 2


def test_a_wrong_store_is_told_by_its_flag(run: Run, tmp_path: Path) -> None:
    for flags in (("--from", "x", "--to", url(tmp_path / "b.db")), ("--to", "x", "--from", url(tmp_path / "b.db"))):
        refused = run("store", "copy", *flags)
        assert (refused.code, f"{flags[0]} is wrong" in refused.talk) == (2, True)


def test_another_secret_key_than_the_source_s_is_refused(run: Run, lived: Lived, tmp_path: Path) -> None:
    key = b64encode(bytes(32)).decode()
    refused = run("store", "copy", "--from", url(lived.path), "--to", url(tmp_path / "b.db"), ANGARIUM_SECRET_KEY=key)
    assert refused.code == 1
    assert "secret key is not the one this store was made with" in refused.talk


# -- migrate -----------------------------------------------------------------------------------------------------------


def test_migrate_says_what_it_made(run: Run, tmp_path: Path, dsn: str) -> None:
    for store in (url(tmp_path / "new.db"), dsn):
        made = run("store", "migrate", "--store", store, "--json").document["made"]
        assert made[0] == "0001_log.sql"
        assert run("store", "migrate", "--store", store, "--json").document["made"] == []


# -- check -------------------------------------------------------------------------------------------------------------


def test_check_says_that_a_store_is_whole(run: Run, lived: Lived) -> None:
    done = run("store", "check", ANGARIUM_STORE=url(lived.path))
    assert done.code == 0
    assert "is whole" in done.out


def test_check_fails_with_what_is_wrong(run: Run, lived: Lived, tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    assert run("store", "copy", "--from", url(lived.path), "--to", url(path)).code == 0
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM delivery_count")
    connection.close()
    done = run("store", "check", "--store", url(path))
    assert done.code == 1
    assert "deliveries as delivered, expected" in done.out
    assert run("store", "check", "--store", url(path), "--json").document["wrong"] == done.out.splitlines()


def test_check_refuses_what_it_cannot_read(run: Run, tmp_path: Path, dsn: str) -> None:
    (tmp_path / "new.db").touch()
    for store in (url(tmp_path / "new.db"), dsn):
        refused = run("store", "check", "--store", store)
        assert refused.code == 1
        assert "fix: bring it up to date: angarium store migrate" in refused.talk
    refused = run("store", "check", "--store", url(tmp_path / "nowhere.db"))
    assert "nowhere.db is not there" in refused.talk


def test_check_sends_nobody_to_migrate_another_program_s_tables(run: Run, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "other.db"))
    other.execute("CREATE TABLE customer (name TEXT)")
    other.close()
    refused = run("store", "check", "--store", url(tmp_path / "other.db"))
    assert (refused.code, "another program's tables" in refused.talk, "migrate" in refused.talk) == (1, True, False)
