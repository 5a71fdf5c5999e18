"""Tell who listens what has moved: by this process's commits at once, by others' soon after.

What moves is a partition's log, its registry, and what all processes remember (keys and the like), whose changes are
counted.

Other processes are told by NOTIFY, on a connection of its own and never in the transaction that moved them, where it
would make commits wait for each other; some times a second at most. It only shortens waits: whatever gets lost is
found by looking twice a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

import asyncpg

from angarium.errors import StoreAway
from angarium.store.postgres.appending import Moved
from angarium.store.postgres.connection import CLOSE_S, connect, translated
from angarium.store.postgres.statements import run

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

P = ParamSpec("P")

CHANNEL = "angarium_moved"
SAID = "angarium_said"
SAYS_MAX = 64
"""How much one process may be about to say; what is more gets lost."""
RESTS_S = 0.05
"""How long other processes are not told again."""
LOOKS_S = 0.5
"""After how long somebody looks, whether told or not."""
ANSWERS_S = 5.0
"""How long the server may take to answer, before it is asked on another connection."""
CHANGED = "changed"
"""What is told when the count of changes has moved: whoever hears it looks."""

Woken = Callable[[Mapping[int, int]], None]
Raised = Callable[[Collection[int]], None]
Changed = Callable[[], None]
Heard = Callable[[str], None]


class Change(NamedTuple):
    """Which count a change has raised, and to what."""

    kind: str
    given: int


class Listeners:
    """Who is to be told of what."""

    def __init__(self) -> None:
        self.woken: list[Woken] = []
        self.raised: list[Raised] = []
        self.changed: list[Changed] = []
        self.heard: list[Heard] = []

    def tell(self, heads: Mapping[int, int], raised: Collection[int] = (), *, is_changed: bool = False) -> None:
        """Tell of partitions that moved, of those whose registry did, and of changes."""
        for tell_change in self.changed if is_changed else ():
            _call(tell_change)
        for tell_raised in self.raised if raised else ():
            _call(tell_raised, raised)
        for tell_woken in self.woken if heads else ():
            _call(tell_woken, heads)

    def tell_said(self, words: str) -> None:
        """Tell what another process says."""
        for tell in self.heard:
            _call(tell, words)


def _call(tell: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        tell(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  who listens badly is not to stop commits, or the others
        said = {"message": "a listener of the store failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(said)


class Waker:
    """What was told to whoever listens, and what other processes are to be told."""

    def __init__(self, dsn: str, listeners: Listeners) -> None:
        self._dsn = dsn
        self._listeners = listeners
        self._heads: dict[int, int] = {}
        self._registry: dict[int, int] = {}
        self._changes: dict[str, int] = {}
        self._untold: dict[int, Moved] = {}
        self._unsaid: list[str] = []
        self._is_changed = False
        self._has_untold = asyncio.Event()
        self._looks_at_once = False
        self._is_closing = False
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Begin to listen and to tell."""
        self._connection = await self._connected()
        for partition, head, registry in await run(self._connection, "standing"):
            self._heads[partition], self._registry[partition] = head, registry
        self._changes = dict(map(tuple, await run(self._connection, "changes")))
        self._task = asyncio.create_task(self._run(), name="angarium-waker")

    async def close(self) -> None:
        """Tell what is to be told, and stop."""
        self._is_closing = True
        self._has_untold.set()
        await self._task
        if self._connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._connection.close(timeout=CLOSE_S)

    def told(self, moved: Mapping[int, Moved]) -> None:
        """Take note of a commit of this process's."""
        self._untold |= moved
        self._has_untold.set()
        raised = self._note({partition: (each.head, each.registry) for partition, each in moved.items()})
        self._listeners.tell({partition: moved[partition].head for partition in sorted(moved)}, raised)

    def changed(self, change: Change) -> None:
        """Take note of a change of this process's; whoever listens hears of those that came between."""
        is_own = change.given == self._changes.get(change.kind, 0) + 1
        self._changes[change.kind] = max(change.given, self._changes.get(change.kind, 0))
        self._is_changed = True
        self._has_untold.set()
        self._listeners.tell({}, is_changed=not is_own)

    def say(self, words: str) -> None:
        """Say something to other processes, unless there is too much already."""
        if len(self._unsaid) < SAYS_MAX:
            self._unsaid.append(words)
            self._has_untold.set()

    def _note(self, standing: Mapping[int, tuple[int, int]]) -> set[int]:
        """Remember where partitions stand; return those whose registry has grown."""
        raised = set()
        for partition, (head, registry) in standing.items():
            self._heads[partition] = max(head, self._heads.get(partition, 0))
            if registry > self._registry.get(partition, 0):
                self._registry[partition] = registry
                raised.add(partition)
        return raised

    # -- other processes --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOKS_S
        while not self._is_closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_untold.wait(), max(0, look_at - loop.time()))
            is_time = self._looks_at_once or loop.time() >= look_at
            with suppress(StoreAway, asyncpg.PostgresError):  # Whatever it was, the next look makes up for it.
                await self._tell()
                if is_time and not self._is_closing:
                    await self._look()
            if is_time:
                look_at = loop.time() + LOOKS_S
            if not self._is_closing:
                await asyncio.sleep(RESTS_S)

    async def _tell(self) -> None:
        self._has_untold.clear()
        untold, self._untold = self._untold, {}
        is_changed, self._is_changed = self._is_changed, False
        said = [CHANGED] * is_changed + [
            f"{partition}:{each.head}:{each.registry}" for partition, each in untold.items()
        ]
        if said:
            await self._ask("notify", moved=",".join(said))
        unsaid, self._unsaid = self._unsaid, []
        if unsaid:
            await self._ask("say", said=unsaid)

    async def _look(self) -> None:
        """Look where all stands; what this process has just moved is told by its own commits."""
        self._looks_at_once = False
        found, changes = await self._ask("standing"), await self._ask("changes")
        await asyncio.sleep(RESTS_S)
        moved = {
            partition: (head, registry)
            for partition, head, registry in found
            if head > self._heads.get(partition, 0) or registry > self._registry.get(partition, 0)
        }
        raised = self._note(moved)
        grown = {kind: given for kind, given in changes if given > self._changes.get(kind, 0)}
        self._changes |= grown
        heads = {partition: self._heads[partition] for partition in moved}
        self._listeners.tell(heads, raised, is_changed=bool(grown))

    async def _ask(self, name: str, /, **values: str | list[str]) -> list[asyncpg.Record]:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connected()
            return await run(self._connection, name, **values)
        except Exception as error:
            if isinstance(error, TimeoutError) and self._connection is not None:
                self._connection.terminate()  # Nobody may be at its other end any more.
            known = translated(error)
            if known is error:
                raise
            raise known from error

    async def _connected(self) -> Connection:
        connection = await connect(self._dsn, command_s=ANSWERS_S)
        await connection.add_listener(CHANNEL, self._hear)
        await connection.add_listener(SAID, self._hear_said)
        # What is told is worth nothing after a crash, so nobody need wait for the disk.
        await connection.execute("SET synchronous_commit = off")
        return connection

    def _hear_said(self, connection: Connection | PoolConnectionProxy, pid: int, _: str, payload: object) -> None:
        if pid != connection.get_server_pid() and isinstance(payload, str):
            self._listeners.tell_said(payload)

    def _hear(self, connection: Connection | PoolConnectionProxy, pid: int, _: str, payload: object) -> None:
        """Pass on what another process tells; what it says may be old by now, and no more than a hint."""
        if pid == connection.get_server_pid() or not isinstance(payload, str):
            return
        said = payload.split(",")
        if said[0] == CHANGED:
            self._looks_at_once = True
            self._has_untold.set()
        hints = [tuple(map(int, each.split(":"))) for each in said if each != CHANGED]
        raised = self._note({partition: (head, registry) for partition, head, registry in hints})
        self._listeners.tell({partition: self._heads[partition] for partition, _, _ in hints}, raised)
