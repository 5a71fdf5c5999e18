"""Keep everything in memory: the reference that the other stores are compared with, small rather than fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.store.memory.apps import Apps
from angarium.store.memory.deliveries import Deliveries
from angarium.store.memory.log import Log
from angarium.store.memory.objects import Objects
from angarium.store.memory.registry import Registry
from angarium.store.memory.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from angarium.store.owning import SoleOwner

__all__ = ["MemoryStore"]


class MemoryStore(Log, Registry, Apps, Objects, Deliveries, Retention):
    """A store that lasts as long as its process. Closing and opening it again loses nothing."""

    @property
    def owner(self) -> SoleOwner:
        """Return the one owner of all partitions."""
        return self._sole

    def listen_changes(self, changed: Callable[[], None]) -> None:
        """Do nothing: there is no other process that changes anything."""

    def say(self, words: str) -> None:
        """Do nothing: there is no other process."""

    def listen_said(self, heard: Callable[[str], None]) -> None:
        """Do nothing: there is no other process."""

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep all others from being inside of `alone` with the same name."""
        return self._alone.hold(name)

    async def open(self) -> None:
        """Do nothing: what was kept is still here."""

    async def close(self) -> None:
        """Do nothing."""
