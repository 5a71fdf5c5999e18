"""Tell who listens which partitions have moved: by this process's commits at once, by others' soon after.

Other processes are told by NOTIFY, on a connection of its own and never in the transaction that moved them, where it
would make commits wait for each other; some times a second at most. It only shortens waits: whatever gets lost is
found by looking once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from angarium.errors import StoreAway
from angarium.store.postgres.appending import Moved
from angarium.store.postgres.connection import connect, translated
from angarium.store.postgres.statements import run

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

CHANNEL = "angarium_moved"
RESTS_S = 0.05
"""How long other processes are not told again."""
LOOKS_S = 1.0
"""After how long somebody looks, whether told or not."""

Woken = Callable[[Mapping[int, int]], None]


class Waker:
    """Whoever listens, what was told them, and what other processes are to be told."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._woken: list[Woken] = []
        self._heads: dict[int, int] = {}
        self._registry: dict[int, int] = {}
        self._untold: dict[int, int] = {}
        self._has_untold = asyncio.Event()
        self._is_closing = False
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Begin to listen and to tell."""
        self._connection = await self._connected()
        for partition, head, registry in await run(self._connection, "standing"):
            self._heads[partition], self._registry[partition] = head, registry
        self._task = asyncio.create_task(self._run(), name="angarium-waker")

    async def close(self) -> None:
        """Tell what is to be told, and stop."""
        self._is_closing = True
        self._has_untold.set()
        await self._task
        if self._connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._connection.close(timeout=2)

    def listen(self, woken: Woken) -> None:
        """Have somebody told."""
        self._woken.append(woken)

    def told(self, moved: Mapping[int, Moved]) -> None:
        """Take note of a commit of this process's."""
        heads = {partition: each.head for partition, each in sorted(moved.items())}
        for partition, each in moved.items():
            self._heads[partition] = max(each.head, self._heads.get(partition, 0))
            self._registry[partition] = max(each.registry, self._registry.get(partition, 0))
        self._untold |= heads
        self._has_untold.set()
        self._wake(heads)

    def _wake(self, heads: Mapping[int, int]) -> None:
        if not heads:
            return
        for woken in self._woken:
            try:
                woken(heads)
            except Exception as error:  # noqa: BLE001  who listens badly is not to stop commits, or the others
                said = {"message": "a listener of the store failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(said)

    # -- other processes --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOKS_S
        while not self._is_closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_untold.wait(), max(0, look_at - loop.time()))
            with suppress(StoreAway, asyncpg.PostgresError):  # Whatever it was, the next look makes up for it.
                await self._tell()
                if loop.time() >= look_at and not self._is_closing:
                    await self._look()
            if loop.time() >= look_at:
                look_at = loop.time() + LOOKS_S
            if not self._is_closing:
                await asyncio.sleep(RESTS_S)

    async def _tell(self) -> None:
        self._has_untold.clear()
        untold, self._untold = self._untold, {}
        if untold:
            await self._ask("notify", moved=",".join(f"{partition}:{head}" for partition, head in untold.items()))

    async def _look(self) -> None:
        """Look where partitions stand; what this process has just moved is told by its own commits."""
        found = await self._ask("standing")
        await asyncio.sleep(RESTS_S)
        heads = {
            partition: head
            for partition, head, registry in found
            if head > self._heads.get(partition, 0) or registry > self._registry.get(partition, 0)
        }
        self._registry |= {partition: registry for partition, _, registry in found if partition in heads}
        self._heads |= heads
        self._wake(heads)

    async def _ask(self, name: str, /, **values: str) -> list[asyncpg.Record]:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connected()
            return await run(self._connection, name, **values)
        except Exception as error:
            known = translated(error)
            if known is error:
                raise
            raise known from error

    async def _connected(self) -> Connection:
        connection = await connect(self._dsn)
        await connection.add_listener(CHANNEL, self._hear)
        # What is told is worth nothing after a crash, so nobody need wait for the disk.
        await connection.execute("SET synchronous_commit = off")
        return connection

    def _hear(self, connection: Connection | PoolConnectionProxy, pid: int, _: str, payload: object) -> None:
        """Pass on what another process tells; what it says may be old by now, and no more than a hint."""
        if pid == connection.get_server_pid() or not isinstance(payload, str):
            return
        pairs = (each.partition(":") for each in payload.split(","))
        heads = {int(partition): max(int(head), self._heads.get(int(partition), 0)) for partition, _, head in pairs}
        self._heads |= heads
        self._wake(heads)
