"""Read the log for lanes that are behind, many of one tenant from the same pages.

A page that one lane has read serves the others whose cursors lie in it. Pages are kept up to so many bytes, the least
recently used go first; what is appended later is not in them, so a page that ends at the head is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.core.sealing import size_of
from angarium.store.contract import Slice

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from angarium.model.event import Entry
    from angarium.store.contract import Store

PAGE = 500
BYTES_MAX = 8 * 1024 * 1024


class _Page(Struct, frozen=True):
    after: int
    scanned_to: int
    entries: Sequence[Entry]
    bytes: int


class CatchUp:
    """The shared reader."""

    def __init__(self, store: Store, *, bytes_max: int = BYTES_MAX) -> None:
        self._store, self._bytes_max = store, bytes_max
        self._pages: OrderedDict[tuple[str, str, int], _Page] = OrderedDict()
        self._bytes = 0

    async def read(self, project: str, tenant: str, *, after: int, limit: int = PAGE) -> Slice:
        """Return one tenant's entries after an offset, a page at the most; whoever needs a few names the `limit`."""
        held = self._held(project, tenant, after)
        if held is not None:
            return held
        found = await self._store.read_tenant(project, tenant, after=after, limit=limit)
        if len(found.entries) == PAGE:
            self._keep(project, tenant, after, found)
        return found

    def drop(self, partitions: Collection[int]) -> None:
        """Keep nothing of these partitions."""
        for key, page in list(self._pages.items()):
            if page.entries[0].partition in partitions:
                del self._pages[key]
                self._bytes -= page.bytes

    def _held(self, project: str, tenant: str, after: int) -> Slice | None:
        for key, page in reversed(self._pages.items()):
            if key[:2] == (project, tenant) and page.after <= after < page.scanned_to:
                self._pages.move_to_end(key)
                return Slice([entry for entry in page.entries if entry.offset > after], page.scanned_to)
        return None

    def _keep(self, project: str, tenant: str, after: int, found: Slice) -> None:
        page = _Page(after, found.scanned_to, found.entries, sum(map(size_of, found.entries)))
        replaced = self._pages.pop((project, tenant, after), None)
        self._bytes += page.bytes - (replaced.bytes if replaced else 0)
        self._pages[project, tenant, after] = page
        while self._bytes > self._bytes_max and self._pages:
            _, gone = self._pages.popitem(last=False)
            self._bytes -= gone.bytes
