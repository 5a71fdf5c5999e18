"""Let one in at a time, among all processes: by a lock on the server, for which one of each process waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from angarium.store.owning import Alone
from angarium.store.postgres.connection import connect_pool, writing
from angarium.store.postgres.statements import run

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

NAMES = 8
"""How many names one process may be inside of, or wait for, at once."""
WAITS_S = 30.0
"""How long a name waits while there are that many."""
_SETTINGS = {"idle_session_timeout": "60s"}
"""After how long a holder that says nothing is taken to be gone."""


class Excluding:
    """Connections for locks by name; none is open while none is needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._here = Alone()

    async def open(self) -> None:
        """Make ready."""
        self._pool = await connect_pool(self._dsn, size=NAMES, least=0, settings=_SETTINGS)

    async def close(self) -> None:
        """Let go of the connections, and so of all locks."""
        await self._pool.close()

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Keep all others from holding the same name."""
        async with self._here.hold(name):
            connection = await self._acquire()
            try:
                with writing():
                    await run(connection, "lock_name", name=name)
                yield
            finally:
                await _unlock(connection, name)  # Whoever gave up waiting may have been let in at that very moment.
                await asyncio.shield(self._pool.release(connection))

    async def _acquire(self) -> PoolConnectionProxy:
        with writing():
            return await self._pool.acquire(timeout=WAITS_S)


async def _unlock(connection: PoolConnectionProxy, name: str) -> None:
    """Let others in; if that cannot be said, by giving up the connection. What was done inside is done."""
    try:
        await run(connection, "unlock_name", name=name)
    except BaseException as error:
        with suppress(asyncpg.InterfaceError):  # It is lost already.
            connection.terminate()
        if not isinstance(error, Exception):
            raise
