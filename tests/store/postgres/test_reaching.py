"""Hold that one server of several is reached, whatever the others do."""

from __future__ import annotations

import asyncio

import pytest

from angarium.errors import StoreAway
from angarium.store.postgres.reaching import reach, servers

DSN = "postgresql://a,b,c/db"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p@a:1,b:2/db?x=y", ["postgresql://u:p@a:1/db?x=y", "postgresql://u:p@b:2/db?x=y"]),
        ("postgres://a,[::1]:5432/db", ["postgres://a/db", "postgres://[::1]:5432/db"]),
        ("postgresql://u:p@,q@a,b", ["postgresql://u:p@,q@a", "postgresql://u:p@,q@b"]),
        ("postgresql://u@/db?host=/run/postgresql", ["postgresql://u@/db?host=/run/postgresql"]),
    ],
)
def test_a_dsn_names_servers(dsn: str, expected: list[str]) -> None:
    assert servers(dsn) == expected


async def test_a_server_that_never_answers_keeps_nobody_from_the_one_that_does() -> None:
    """A machine without power sends no refusal: whoever asks it first, and waits, does not come to the next one."""
    given_up: list[str] = []

    async def connect(server: str) -> str:
        if "//b/" in server:
            return server
        if "//c/" in server:
            raise StoreAway("a replica")
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(server)
        raise AssertionError

    assert await reach(DSN, connect, drop=given_up.append) == "postgresql://b/db"
    await asyncio.sleep(0)
    assert given_up == ["postgresql://a/db"]


async def test_a_second_connection_of_the_same_moment_is_dropped() -> None:
    async def connect(server: str) -> str:
        await asyncio.sleep(0)
        return server

    dropped: list[str] = []
    reached = await reach(DSN, connect, drop=dropped.append)
    assert sorted([reached, *dropped]) == servers(DSN)


async def test_what_each_server_said_is_told_when_none_takes_writes() -> None:
    async def connect(server: str) -> str:
        raise StoreAway(f"{server} is down")

    with pytest.raises(StoreAway, match=r"a/db is down.*b/db is down.*c/db is down"):
        await reach(DSN, connect, drop=print)


async def test_a_fault_of_ours_is_told_as_it_is() -> None:
    async def connect(_: str) -> str:
        raise ValueError("no port")

    with pytest.raises(ValueError, match="no port"):
        await reach(DSN, connect, drop=print)
