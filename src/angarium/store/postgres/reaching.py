"""Reach the one server of several that takes writes. All are asked at once: a machine that is gone never answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from angarium.errors import StoreAway

T = TypeVar("T")

_DSN = re.compile(r"(?P<scheme>\w+://)(?P<who>[^/?#]*@)?(?P<hosts>[^/?#]*)(?P<rest>.*)", re.DOTALL)


def servers(dsn: str) -> list[str]:
    """Return a DSN for each server that one names; the DSN itself when it names none, or in another way."""
    found = _DSN.fullmatch(dsn)
    if found is None:
        return [dsn]
    before, after = found["scheme"] + (found["who"] or ""), found["rest"]
    return [f"{before}{host}{after}" for host in found["hosts"].split(",")]


async def reach(dsn: str, connect: Callable[[str], Awaitable[T]], *, drop: Callable[[T], None]) -> T:
    """Return the first connection that a server of a DSN grants; `StoreAway` with what each said when none does.

    A second one that is granted in the same moment is given to `drop`.
    """
    granted: list[T] = []
    refusals: list[StoreAway] = []

    async def ask(server: str) -> None:
        try:
            granted.append(await connect(server))
        except StoreAway as error:
            refusals.append(error)

    waiting = {asyncio.create_task(ask(server), name="angarium-reach") for server in servers(dsn)}
    try:
        while waiting and not granted:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
    finally:
        for each in waiting:
            each.cancel()
    for connection in granted[1:]:
        drop(connection)
    if not granted:
        raise (
            refusals[0] if len(refusals) == 1 else StoreAway(f"no server takes writes: {'; '.join(map(str, refusals))}")
        )
    return granted[0]
