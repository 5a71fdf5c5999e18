"""Read: two threads with a connection each, so that neither the event loop nor the writer waits for the disk."""

from __future__ import annotations

import threading
from asyncio import get_running_loop
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import apsw

from angarium.store.sqlite.connection import connect_reader, translated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

READERS = 2


class Readers:
    """The threads that read. What a read sees is one state of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._pool = ThreadPoolExecutor(READERS, "angarium-reader", initializer=self._connect)

    async def read(self, run: Callable[[apsw.Connection], T]) -> T:
        """Return what a function reads. `StoreAway` when the file cannot be read, `StoreDamaged` when not whole."""
        return await get_running_loop().run_in_executor(self._pool, self._read, run)

    def close(self) -> None:
        """Finish what is being read. Blocks."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _connect(self) -> None:
        self._local.connection = connect_reader(self._path)
        self._connections.append(self._local.connection)

    def _read(self, run: Callable[[apsw.Connection], T]) -> T:
        connection: apsw.Connection = self._local.connection
        try:
            connection.execute("BEGIN")
            try:
                return run(connection)
            finally:
                connection.execute("COMMIT")
        except apsw.Error as error:
            raise translated(error) from error
