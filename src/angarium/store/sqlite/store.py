"""Put the parts of the embedded store together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.store.sqlite.apps import Apps
from angarium.store.sqlite.checking import damage
from angarium.store.sqlite.deliveries import Deliveries
from angarium.store.sqlite.log import Log
from angarium.store.sqlite.objects import Objects
from angarium.store.sqlite.registry import Registry
from angarium.store.sqlite.retention import Retention
from angarium.store.sqlite.statements import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    import apsw

    from angarium.store.owning import SoleOwner


class SqliteStore(Log, Registry, Apps, Objects, Deliveries, Retention):
    """Everything in one SQLite file, which one process has at a time.

    `SqliteStore(path)` says where; nothing happens before `open`. `unindexed_max` says how many rows may be without an
    index before the writer makes it.
    """

    @property
    def owner(self) -> SoleOwner:
        """Return the one owner of all partitions."""
        return self._owner

    def listen_changes(self, changed: Callable[[], None]) -> None:
        """Do nothing: no other process has the file."""

    def say(self, words: str) -> None:
        """Do nothing: no other process has the file."""

    def listen_said(self, heard: Callable[[str], None]) -> None:
        """Do nothing: no other process has the file."""

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep all others from being inside of `alone` with the same name."""
        return self._alone.hold(name)

    async def check(self) -> Sequence[str]:
        """Return what is wrong with the file's pages, offsets and objects, in sentences; `checking` finds out more."""
        return await self._read(_check)


def _check(connection: apsw.Connection) -> list[str]:
    return damage(connection) + [
        f"partition {partition} has {count} entries from offset {lowest} to {highest}, expected all above its floor"
        for partition, count, lowest, highest in run(connection, "check_offsets")
    ]
