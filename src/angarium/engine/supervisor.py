"""See to it that this process serves what it owns: look who shares, hand over what is too much, take up what is new.

Each second or more often the owner of the store's partitions is asked, which also shows that we live. Handing over and
taking up go on beside that, one at a time. When all is lost everything held is dropped at once, and the next look
claims anew. A store that fails is waited for: what we own stays ours until we are told otherwise.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from angarium.errors import StoreAway
from angarium.telemetry import (
    ENGINE_FAILED,
    PARTITIONS_CLAIMED,
    PARTITIONS_DROPPED,
    PARTITIONS_RELEASED,
    STORE_FAILED,
    emit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from angarium.clock import Clock
    from angarium.engine.share import Share
    from angarium.store.contract import Owner

LOOK_S = 0.5
HAND_OVER_S = 2.0
"""So long a hand-over waits for what is on the wire."""

_AWAY_S = 0.5
_SOON_S = 0.02


class Supervisor:
    """The one who moves partitions; `moved` is called when other partitions are served."""

    def __init__(self, owner: Owner, share: Share, clock: Clock, *, moved: Callable[[], None]) -> None:
        self._owner, self._share, self._clock, self._moved = owner, share, clock, moved
        self._excess: frozenset[int] = frozenset()
        self._looking: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._is_away = False
        self._is_closing = False
        owner.lost(self._lose)

    async def open(self) -> None:
        """Join, take up the first share, and go on looking. `StoreAway` when that cannot be."""
        await self._owner.join()
        await self._look()
        self._looking = asyncio.get_running_loop().create_task(self._run())  # To take up much may take long.
        if self._moving is not None:
            await asyncio.wait([self._moving])

    async def close(self, *, within_s: float) -> None:
        """Hand over what has nothing on the wire at once, the rest when it ends or at the deadline; and leave."""
        self._is_closing = True
        try:
            async with asyncio.timeout(within_s + HAND_OVER_S):
                await self._owner.retire()
                await self._hand_over_all(within_s)
        except (StoreAway, TimeoutError) as error:
            emit(STORE_FAILED, operation="hand_over", detail=str(error) or "it took too long")
        for task in (self._looking, self._moving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with suppress(StoreAway):
            await self._owner.leave()

    async def _hand_over_all(self, within_s: float) -> None:
        ends_at = self._clock.now().mono + within_s
        if self._moving is not None:
            await asyncio.wait([self._moving])
        self._share.hold(self._share.held)
        while held := self._share.held:
            is_late = self._clock.now().mono >= ends_at
            ready = held if is_late else self._share.idle(held)
            if ready:
                with suppress(StoreAway):
                    await self._share.hand_over(ready, within_s=0)
                    await self._owner.release(ready)
                    continue
            await asyncio.sleep(_SOON_S)

    # -- looking ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  whoever looks no more loses all, and serves nothing for ever
                emit(ENGINE_FAILED, part="supervisor", error=error)

    async def _look(self) -> None:
        """Ask what is ours, and begin to move what must be moved."""
        try:
            balance = await self._owner.balance()
        except StoreAway as error:
            if not self._is_away:
                emit(STORE_FAILED, operation="balance", detail=str(error), pause_ms=int(LOOK_S * 1000))
            self._is_away = True
            return
        self._is_away = False
        self._excess = balance.excess
        self._move()

    def _move(self) -> None:
        if self._moving is not None or self._is_closing:
            return
        idle = self._owner.owned - self._share.held
        excess, gained = self._excess & (self._share.served | idle), idle - self._excess
        if excess:
            self._begin(self._hand_over(excess))  # What was not even taken up yet is handed over, too.
        elif gained:
            self._begin(self._take_up(gained))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._moving = asyncio.get_running_loop().create_task(work)
        self._moving.add_done_callback(self._ended)

    def _ended(self, moving: asyncio.Task[None]) -> None:
        if self._moving is moving:
            self._moving = None
        if moving.cancelled():
            return
        if (error := moving.exception()) is not None:
            emit(ENGINE_FAILED, part="supervisor", error=error)
        self._moved()

    # -- moving -----------------------------------------------------------------------------------------------------

    async def _take_up(self, gained: frozenset[int]) -> None:
        began = self._clock.now()
        try:
            found = await self._share.take_up(gained)
        except StoreAway as error:  # The next look tries again.
            emit(STORE_FAILED, operation="take_up", detail=str(error), pause_ms=int(LOOK_S * 1000))
            return
        took_ms = int((self._clock.now().mono - began.mono) * 1000)
        emit(PARTITIONS_CLAIMED, partitions=len(gained), opens=found.opens, behind=len(found.behind), took_ms=took_ms)

    async def _hand_over(self, excess: frozenset[int]) -> None:
        began = self._clock.now()
        self._share.hold(excess)
        self._moved()
        while True:
            try:
                await self._share.hand_over(excess, within_s=HAND_OVER_S)
                break
            except StoreAway as error:
                emit(STORE_FAILED, operation="hand_over", detail=str(error), pause_ms=int(_AWAY_S * 1000))
                await asyncio.sleep(_AWAY_S)
        await self._owner.release(excess)
        took_ms = int((self._clock.now().mono - began.mono) * 1000)
        emit(PARTITIONS_RELEASED, partitions=len(excess), took_ms=took_ms)

    def _lose(self) -> None:
        """Drop everything: whoever owns it now goes on from what was written."""
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        held = self._share.held
        self._share.drop(held)
        emit(PARTITIONS_DROPPED, partitions=len(held))
        self._moved()
