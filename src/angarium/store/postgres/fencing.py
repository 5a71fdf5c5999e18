"""Hold the one connection on which partitions are owned and settled: when it ends, all that was owned is lost.

A partition is owned by holding a lock of this session's, so the server itself takes it away from whoever dies. From
whoever hangs or is cut off it takes it by ending a session that is silent for too long (`FENCE`): keepalives would not
tell, for a stopped process's kernel still answers them. A session that has lost its locks can write nothing any more,
since what was begun on it goes with it, and nothing is ever tried again on another.

Requests are no transaction of the server's. They start only within `SENDS_S` of the last acknowledged commit, by a
clock that goes on while the machine sleeps: long before the server may give a silent session's partitions to others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING

import asyncpg

from angarium.errors import OwnershipLost, StoreAway
from angarium.store.postgres.connection import CLOSE_S, COMMIT_S, connect

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

SENDS_S = 5.0
"""How long after an acknowledged commit requests may start."""
FENCE = {
    "idle_session_timeout": "15s",
    "idle_in_transaction_session_timeout": "2s",
    "lock_timeout": "3s",
    "tcp_user_timeout": "5s",
    "tcp_keepalives_idle": "3s",
    "tcp_keepalives_interval": "1s",
    "tcp_keepalives_count": "5",
}
"""After how long the server ends the session, or a wait of its."""


def boottime() -> float:
    """Return the seconds since the machine was started, those that it slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Session:
    """The connection, or none, and whose turn on it is."""

    def __init__(self, dsn: str, *, now: Callable[[], float] = boottime) -> None:
        self.now = now
        self._dsn = dsn
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._acknowledged_at = -inf
        self._ended: list[Callable[[], None]] = []

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call `callback` at once when the connection is lost, before anything else is done for want of it."""
        self._ended.append(callback)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend the connection to one at a time; `OwnershipLost` when there is none, or when it ends meanwhile."""
        async with self._turn:
            if self._connection is None:
                raise OwnershipLost("no partition is owned here; join those who share before you settle")
            async with self._watched(self._connection):
                yield self._connection

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[Connection]:
        """Lend the connection, a new one when there is none: whatever was owned on the one before is not on this."""
        async with self._turn:
            if self._connection is None:
                made = await connect(self._dsn, command_s=COMMIT_S, settings=FENCE)
                made.add_termination_listener(self._end)
                self._connection = made
            async with self._watched(self._connection):
                yield self._connection

    @asynccontextmanager
    async def _watched(self, connection: Connection) -> AsyncIterator[None]:
        try:
            yield
        except StoreAway as error:
            if error.is_unknown:
                connection.terminate()  # Whether it is still the primary that is at its end is unknown too.
            if not connection.is_closed():
                raise
            self._end(connection)
            lost = f"all partitions were lost ({error}); drop them"
            raise OwnershipLost(lost, is_unknown=error.is_unknown) from error

    def _end(self, connection: Connection | PoolConnectionProxy) -> None:
        if connection is self._connection:
            self._connection, self._acknowledged_at = None, -inf
            for callback in self._ended:
                callback()

    def acknowledged(self, began_at: float) -> None:
        """Take note of a commit that has succeeded, and was begun at a moment."""
        self._acknowledged_at = max(self._acknowledged_at, began_at)

    def may_send(self) -> bool:
        """Say whether the last acknowledged commit on this very connection is recent."""
        return self._connection is not None and self.now() - self._acknowledged_at <= SENDS_S

    async def close(self) -> None:
        """Let go of the connection, and so of all that is owned on it; nobody is told."""
        async with self._turn:
            connection, self._connection = self._connection, None
            self._acknowledged_at = -inf
            if connection is not None:
                with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await connection.close(timeout=CLOSE_S)
