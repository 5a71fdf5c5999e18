"""Hold that one process has the file, for as long as it lives."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from angarium.errors import StoreInUse
from angarium.store.sqlite import SqliteStore
from tests.store.values import publish

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import asyncio, sys
from pathlib import Path
from angarium.store.sqlite import SqliteStore

async def hold():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()

asyncio.run(hold())
"""


def start(path: Path) -> subprocess.Popen[str]:
    """Start a process that opens a store, and wait until it has."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout
    assert held.stdout.readline() == "open\n"
    return held


async def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    with start(path) as held:
        store = SqliteStore(path)
        with pytest.raises(StoreInUse, match=rf"in use by process {held.pid}; stop that, or give this one another"):
            await store.open()
        held.communicate("")
    assert held.returncode == 0
    await store.open()
    await store.close()


async def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db"
    with start(path) as held:
        held.kill()
    store = SqliteStore(path)
    await store.open()
    await store.accept(publish())
    await store.close()


async def test_the_same_process_cannot_open_it_twice(sqlite: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "angarium.db")
    with pytest.raises(StoreInUse, match=f"in use by process {os.getpid()}"):
        await other.open()
    await other.close()
    await sqlite.accept(publish())


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_its_files_are_readable_by_their_owner_only(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.accept(publish())
    assert modes(tmp_path) == dict.fromkeys(
        ("angarium.db", "angarium.db-wal", "angarium.db-shm", "angarium.db.lock"), 0o600
    )
