"""Look at a PostgreSQL server as `angarium doctor` does: whether it will do, before anything depends on it."""

from __future__ import annotations

import re
import time
from contextlib import AsyncExitStack
from functools import cache
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from msgspec import Struct

from angarium.errors import StoreAway
from angarium.store.postgres.connection import CONNECT_S, translated
from angarium.store.sql import load_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

_BESIDE: Final = 3
"""How many other connections take what a pooler of transactions has just put back."""
_NAME = re.compile(r"(?<!:):([a-z]\w*)")


class Examined(Struct, frozen=True):
    """What was found. `is_pooled`: somebody stands between; `is_shared`: who gives each statement another session."""

    version: int
    is_replica: bool
    fsync: bool
    synchronous_commit: str
    standby_names: str
    standbys: int
    encoding: str
    free_connections: int
    skew_s: float
    is_pooled: bool = False
    is_shared: bool = False


async def examine(dsn: str) -> Examined:
    """Look at the server that workers would take, or at a replica when there is no other; `StoreAway`."""
    async with AsyncExitStack() as opened:
        connection = await _connect(dsn, opened)
        began_s = time.time()
        row = await connection.fetchrow(_blocks()["standing"])
        assert row is not None
        ended_s = time.time()
        is_shared = await _is_shared(connection, dsn, opened)
        return Examined(
            version=row["version"],
            is_replica=row["is_replica"],
            fsync=row["fsync"] != "off",
            synchronous_commit=row["synchronous_commit"],
            standby_names=row["standby_names"],
            standbys=row["standbys"],
            encoding=row["encoding"],
            free_connections=row["free_connections"],
            skew_s=row["clock"].timestamp() - (began_s + ended_s) / 2,
            is_pooled=is_shared or await _pid(connection) != connection.get_server_pid(),
            is_shared=is_shared,
        )


async def _connect(dsn: str, opened: AsyncExitStack) -> asyncpg.Connection:
    """Connect to the primary, or else to whatever answers."""
    try:
        try:
            connection = await _connected(dsn, SessionAttribute.read_write)
        except asyncpg.TargetServerAttributeNotMatched:
            connection = await _connected(dsn, SessionAttribute.any)
    except Exception as error:
        known = translated(error)
        raise known if isinstance(known, StoreAway) else error from error
    opened.push_async_callback(connection.close, timeout=2)
    return connection


async def _connected(dsn: str, wanted: SessionAttribute) -> asyncpg.Connection:
    return await asyncpg.connect(
        dsn, timeout=CONNECT_S, command_timeout=CONNECT_S, statement_cache_size=0, target_session_attrs=wanted
    )


async def _is_shared(connection: asyncpg.Connection, dsn: str, opened: AsyncExitStack) -> bool:
    """Say whether a session is another one, or has forgotten what it was told, once others have come between."""
    mark = f"doctor {time.monotonic_ns()}"
    before = await connection.fetchrow(*_values("mark", mark=mark))
    for _ in range(_BESIDE):
        other = await _connect(dsn, opened)
        await other.execute("BEGIN")
        await _pid(other)
    after = await connection.fetchrow(_blocks()["marked"])
    assert before is not None
    assert after is not None
    return bool(before["pid"] != after["pid"] or after["mark"] != mark)


async def _pid(connection: asyncpg.Connection) -> int:
    row = await connection.fetchrow(_blocks()["marked"])
    assert row is not None
    pid: int = row["pid"]
    return pid


@cache
def _blocks() -> Mapping[str, str]:
    return {
        name: "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
        for name, sql in load_blocks(__package__, "examining.sql")
    }


def _values(name: str, **values: str) -> tuple[str, ...]:
    """Return a block's SQL with its one value."""
    [given] = values
    return _NAME.sub("$1", _blocks()[name]), values[given]
