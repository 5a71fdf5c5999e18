"""Connect to the server, and say in our own words what it says."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from angarium.errors import StoreAway, StoreDamaged
from angarium.store.postgres.reaching import reach
from angarium.store.postgres.statements import RAN

if TYPE_CHECKING:
    from angarium.store.postgres.statements import Connection

CONNECT_S = 10.0
"""How long the server may take to let us in."""
CLOSE_S = 2.0
"""How long a connection may take to say good-bye."""
COMMAND_S = 60.0
"""How long it may take to answer."""
COMMIT_S = 10.0
"""How long publishes wait for a commit that replicas hold up which do not answer; then its outcome is unknown."""

SETTINGS = {
    "application_name": "angarium",
    # Short statements over a few rows: compiling them costs more than running them.
    "jit": "off",
    # A plan that was made while a table was small is kept: it must be one for a large table too, which is by an index.
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
    # Whoever stops in the midst of a transaction holds partitions that others need: the server ends it.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "20s",
}
_OPTIONS: Mapping[str, Any] = {  # Any: asyncpg's many arguments, each of its own type
    "timeout": CONNECT_S,
    "target_session_attrs": SessionAttribute.read_write,
    # All that there are stay prepared.
    "statement_cache_size": 500,
    "max_cached_statement_lifetime": 0,
}
_NOTHING_ELSE: Mapping[str, str] = {}
_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),  # in milliseconds
)
_CANCELLED_WAIT = "01000"
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresSystemError,
)
_REMEDIES: Mapping[type[Exception], str] = {
    asyncpg.InvalidAuthorizationSpecificationError: "give a user and a password that it knows, in the URL or ~/.pgpass",
    asyncpg.InvalidCatalogNameError: "make it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
    asyncpg.TargetServerAttributeNotMatched: "name the primary, or all hosts of the cluster: postgresql://user@host1,host2/database",
    asyncpg.TooManyConnectionsError: "raise its max_connections",
}
_DAMAGED = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)


async def connect(
    dsn: str, *, command_s: float = COMMAND_S, settings: Mapping[str, str] = _NOTHING_ELSE
) -> asyncpg.Connection:
    """Open a connection to the primary among a DSN's servers; `StoreAway` when it cannot be reached."""
    options = {**_OPTIONS, "server_settings": {**SETTINGS, **settings}}

    async def one(server: str) -> asyncpg.Connection:
        try:
            made: asyncpg.Connection = await asyncpg.connect(server, command_timeout=command_s, **options)
        except _AWAY as error:
            raise translated(error) from error
        _keep_alive(made)
        return made

    return await reach(dsn, one, drop=asyncpg.Connection.terminate)


def _keep_alive(connection: asyncpg.Connection) -> None:
    """Have the kernel end a connection whose other machine is gone, whoever waits for an answer on it."""
    # asyncpg shows it nowhere else.
    opened = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001  see above
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        if same.family != socket.AF_UNIX:
            for level, option, value in _ALIVE:
                same.setsockopt(level, option, value)


async def connect_pool(
    dsn: str, *, size: int, least: int = 1, settings: Mapping[str, str] = _NOTHING_ELSE
) -> asyncpg.Pool:
    """Open some connections to be shared, at least so many at once."""

    async def one(*_: object, **__: object) -> asyncpg.Connection:
        return await connect(dsn, settings=settings)

    return await asyncpg.create_pool(dsn, min_size=least, max_size=size, connect=one, reset=_reset)


async def _reset(connection: asyncpg.Connection) -> None:
    """Make a connection fit to be lent again; nobody leaves behind more than a transaction that was cut off."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


def translated(error: Exception, *, is_unknown: bool = False) -> Exception:
    """Return what an error of the server's is to us; the error itself when it is our own broken promise."""
    if isinstance(error, _DAMAGED):
        return StoreDamaged(f"the store is damaged ({error}); restore it from a copy", is_unknown=is_unknown)
    if isinstance(error, _AWAY):
        remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "look at its server")
        return StoreAway(f"the database cannot be used ({error!r}); {remedy}", is_unknown=is_unknown)
    return error


@asynccontextmanager
async def committing(connection: Connection) -> AsyncIterator[None]:
    """Run what is inside in a transaction; what fails in it has written nothing, a failing commit perhaps has."""
    with writing():
        await connection.execute("BEGIN")
        RAN["BEGIN"] += 1
    try:
        with writing():
            yield
    except BaseException:
        await _roll_back(connection)
        raise
    with writing(connection) as checked:
        await connection.execute("COMMIT")
        RAN["COMMIT"] += 1
    checked()


@contextmanager
def writing(connection: Connection | None = None) -> Iterator[Callable[[], None]]:
    """Say in our own words how a statement fails. With a connection it commits, so that whether it did may be unknown.

    Call what is yielded when it has not failed. The server reports a commit whose wait for its standbys was cancelled
    as done, with a warning: it is on one machine only, and so counts as unknown.
    """
    warnings: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == _CANCELLED_WAIT:
            warnings.append(str(message))

    def check() -> None:
        if warnings:
            raise StoreAway(f"the commit may be on one machine only ({warnings[0]}); repeat it", is_unknown=True)

    if connection is not None:
        connection.add_log_listener(hear)
    try:
        yield check
    except Exception as error:
        known = translated(error, is_unknown=connection is not None and _is_lost(connection, error))
        if known is error:
            raise
        raise known from error
    finally:
        if connection is not None:
            with suppress(asyncpg.InterfaceError):  # It may have been given back by now.
                connection.remove_log_listener(hear)


def _is_lost(connection: Connection, error: BaseException) -> bool:
    """Say whether an error leaves open what the server did with the last statement."""
    return connection.is_closed() or isinstance(error, OSError | TimeoutError | asyncpg.PostgresConnectionError)


async def _roll_back(connection: Connection) -> None:
    """Take a transaction back; a connection on which that fails is given up, which does the same."""
    try:
        await connection.execute("ROLLBACK")
    except Exception:  # noqa: BLE001  whatever it was, the server takes back what is not committed
        connection.terminate()
