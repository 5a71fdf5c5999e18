"""Hold that locks by name hold across processes, and end with whoever holds them. Two stores are two to the server."""

from __future__ import annotations

import asyncio
from asyncio import gather

import asyncpg
import pytest

from angarium.store.postgres import PostgresStore

DEADLINE_S = 20
END_HOLDERS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LOCKED = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def enter(store: PostgresStore, inside: list[PostgresStore]) -> None:
    """Be alone for a moment."""
    async with store.alone("granting"):
        inside.append(store)
        await asyncio.sleep(0.01)
        assert inside == [store]
        inside.remove(store)


async def waiting(connection: asyncpg.Connection, count: int) -> None:
    """Wait until so many wait for a name."""
    async with asyncio.timeout(DEADLINE_S):
        while await connection.fetchval(WAITING) != count:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)


async def test_one_at_a_time_of_all_processes_is_alone(one: PostgresStore, other: PostgresStore) -> None:
    inside: list[PostgresStore] = []
    await gather(*(enter(store, inside) for _ in range(10) for store in (one, other)))


async def test_many_names_are_held_at_once_by_one_process(one: PostgresStore, other: PostgresStore) -> None:
    """Those that wait keep no connection from the store's other work."""
    inside = 0

    async def hold(store: PostgresStore, name: int) -> None:
        nonlocal inside
        async with store.alone(str(name)):
            inside += 1
            assert await store.number("key")
            inside -= 1

    await gather(*(hold(store, name % 20) for name in range(100) for store in (one, other)))
    assert inside == 0


async def test_the_lock_of_who_dies_goes_to_who_waits(
    one: PostgresStore, other: PostgresStore, connection: asyncpg.Connection
) -> None:
    async with one.alone("granting"):
        entered = asyncio.create_task(enter(other, []))
        await waiting(connection, 1)
        await connection.execute(END_HOLDERS)
        await asyncio.wait_for(entered, DEADLINE_S)
    await asyncio.wait_for(enter(one, []), DEADLINE_S)


async def test_whoever_gives_up_waiting_holds_nothing(
    one: PostgresStore, other: PostgresStore, connection: asyncpg.Connection
) -> None:
    async with one.alone("granting"):
        entered = asyncio.create_task(enter(other, []))
        await waiting(connection, 1)
        entered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entered
        await waiting(connection, 0)
    await asyncio.wait_for(enter(other, []), DEADLINE_S)
    assert await connection.fetchval(LOCKED) == 0


async def test_who_closes_holds_nothing(dsn: str, one: PostgresStore, connection: asyncpg.Connection) -> None:
    store = PostgresStore(dsn)
    await store.open()
    async with store.alone("granting"):
        pass
    await store.close()
    assert await connection.fetchval(LOCKED) == 0
    await asyncio.wait_for(enter(one, []), DEADLINE_S)
