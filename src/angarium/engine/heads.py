"""Know how far each partition's log reaches, and tell whoever waits for it to reach further."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Mapping


class Heads:
    """The last offset of each partition, as far as this process has been told. Used on the loop only."""

    def __init__(self) -> None:
        self._heads: dict[int, int] = {}
        self._waiting: dict[int, list[Future[None]]] = {}

    def of(self, partition: int) -> int:
        """Return a partition's last offset, 0 when it has none."""
        return self._heads.get(partition, 0)

    def learn(self, heads: Mapping[int, int]) -> None:
        """Take note of how far partitions reach; what is told late changes nothing."""
        for partition, head in heads.items():
            if head > self.of(partition):
                self._heads[partition] = head
            for future in self._waiting.pop(partition, ()):
                if not future.done():
                    future.set_result(None)

    async def moved(self, partition: int, *, beyond: int, within_s: float) -> bool:
        """Wait until a partition reaches beyond an offset; False when the time is up first."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        while self.of(partition) <= beyond:
            left = ends_at - loop.time()
            if left <= 0:
                return False
            future: Future[None] = loop.create_future()
            self._waiting.setdefault(partition, []).append(future)
            try:
                await asyncio.wait([future], timeout=left)
            finally:
                if not future.done():
                    self._waiting[partition].remove(future)
        return True
