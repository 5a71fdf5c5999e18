"""Keep the current state of objects: fold what was committed into it, soon and in batches.

Nobody on the hot path waits for it. While much comes it folds a few times a second and rests longer than it works; who
needs the state as of now asks for it and waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.errors import AngariumError
from angarium.telemetry import ENGINE_FAILED, STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.store.contract import Store

FOLD_MAX = 2000
"""How many entries are folded in one transaction."""

SOON_S = 0.25
"""So long after a commit its events are folded, when nothing else is going on."""

RESTS = 2.0
"""How many times as long as the last fold took it rests, when more is waiting."""

_REST_S_MIN = 0.02
_AWAY_S = 0.5


class Keeper:
    """Folds the log into the state of its objects, while `is_ours` says that it is for this process to do."""

    def __init__(self, store: Store, *, is_ours: Callable[[], bool] = lambda: True) -> None:
        self._store, self._is_ours = store, is_ours
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_touched = False  # while it was folding
        self._is_open = False
        self.folded = 0

    def open(self) -> None:
        """Begin with what an earlier process has left."""
        self._is_open = True
        self.touch()

    async def close(self) -> None:
        """Fold no more; what is left is folded after the next start."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def touch(self) -> None:
        """Take note that something was committed."""
        if self._task is not None:
            self._is_touched = True
        elif self._timer is None and self._is_open and self._is_ours():
            self._timer = asyncio.get_running_loop().call_later(SOON_S, self._begin)

    async def catch_up(self) -> None:
        """Fold, without a rest, all that is committed by now; `StoreAway` when the store cannot be had."""
        while await self._fold() >= FOLD_MAX:
            pass

    def _begin(self) -> None:
        self._timer = None
        self._is_touched = False
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._task = None
        if self._is_touched:
            self.touch()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._is_ours():
            began = loop.time()
            try:
                count = await self._fold()
            except AngariumError as error:
                emit(STORE_FAILED, operation="fold_objects", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)
                continue
            except Exception as error:  # noqa: BLE001  deliveries go on without it; it is tried again with what comes next
                emit(ENGINE_FAILED, part="keeper", error=error)
                return
            if count < FOLD_MAX:
                return
            await asyncio.sleep(max(_REST_S_MIN, RESTS * (loop.time() - began)))

    async def _fold(self) -> int:
        count = await self._store.fold_objects(limit=FOLD_MAX)
        self.folded += count
        return count
