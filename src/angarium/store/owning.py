"""Own all partitions: what an embedded store says of its one owner, and how it lets but one in at a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from angarium.model.event import PARTITIONS
from angarium.store.contract import Balance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

_ALL = frozenset(range(PARTITIONS))


class SoleOwner:
    """The owner of all partitions from `join` on, until it releases them: nothing is ever lost."""

    def __init__(self) -> None:
        self._owned: frozenset[int] = frozenset()
        self._untold: frozenset[int] = frozenset()
        self._is_counted = False

    @property
    def owned(self) -> frozenset[int]:
        """Return the partitions that are owned now."""
        return self._owned

    async def join(self) -> None:
        """Own everything."""
        self._is_counted = True
        self._untold |= _ALL - self._owned
        self._owned = _ALL

    async def balance(self) -> Balance:
        """Say what is new since the last time; all is too much for who has retired."""
        gained, self._untold = self._untold, frozenset()
        return Balance(gained, frozenset() if self._is_counted else self._owned)

    async def retire(self) -> None:
        """Want nothing any more."""
        self._is_counted = False

    async def release(self, partitions: Collection[int]) -> None:
        """Own these no more."""
        self._owned -= frozenset(partitions)
        self._untold &= self._owned

    async def leave(self) -> None:
        """Own nothing."""
        await self.retire()
        await self.release(_ALL)

    def may_send(self) -> bool:
        """Say that requests may start: nobody else has the store."""
        return True

    def lost(self, callback: Callable[[], None]) -> None:
        """Do nothing: nothing is ever lost."""


class Alone:
    """Locks by name, each for as long as somebody holds or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Keep others in this process from holding the same name."""
        lock, count = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._locks.pop(name)
            if count > 1:
                self._locks[name] = (lock, count - 1)
