"""Keep everything in memory: the reference that the other stores are compared with, small rather than fast."""

from angarium.store.memory.apps import Apps
from angarium.store.memory.deliveries import Deliveries
from angarium.store.memory.log import Log
from angarium.store.memory.objects import Objects
from angarium.store.memory.registry import Registry
from angarium.store.memory.retention import Retention

__all__ = ["MemoryStore"]


class MemoryStore(Log, Registry, Apps, Objects, Deliveries, Retention):
    """A store that lasts as long as its process. Closing and opening it again loses nothing."""

    async def open(self) -> None:
        """Do nothing: what was kept is still here."""

    async def close(self) -> None:
        """Do nothing."""
