"""Drop what is older than the retention, a little at a time, so that nobody notices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.errors import AngariumError
from angarium.telemetry import LOG_RETAINED, STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.clock import Clock
    from angarium.settings import Settings
    from angarium.store.contract import Store

DAY_MS = 86_400_000
ROWS_MAX = 500
REST_S = 60.0
EXPIRE_REST_S = 3600.0
BREATH_S = 0.05
CLOCK_JUMP_S = 60.0
CLOCK_PAUSE_S = 600.0


class Janitor:
    """Run retention beside everything else; it pauses for ten minutes when the wall clock has jumped.

    What lanes still need stays beyond the retention, up to `ANGARIUM_RETENTION_MAX`: `expire` has them let go of it.
    Of several processes each does so with its own lanes, and the one that `is_ours` is true of drops rows.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        settings: Settings,
        expire: Callable[[int], None],
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._clock, self._settings, self._expire = store, clock, settings, expire
        self._is_ours = is_ours
        self._expired_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._drift_s = self._drift()

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = REST_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self.step()

    async def step(self) -> float:
        """Drop what is too old, if the clocks can be trusted; return how many seconds to rest."""
        if self._has_jumped():
            return CLOCK_PAUSE_S
        try:
            await self.retain()
        except AngariumError as error:
            emit(STORE_FAILED, operation="retain", detail=str(error))
        return REST_S

    async def retain(self) -> int:
        """Drop all that is too old now; return how many rows went."""
        started, dropped = self._clock.now(), 0
        if started.mono - self._expired_at > EXPIRE_REST_S:
            self._expired_at = started.mono
            self._expire(started.wall_ms - self._settings.retention_max * DAY_MS)
        before_ms = started.wall_ms - self._settings.retention_days * DAY_MS
        while self._is_ours():
            rows = await self._store.retain(before_ms=before_ms, limit=ROWS_MAX, now_ms=started.wall_ms)
            dropped += rows
            if rows < ROWS_MAX:
                break
            await asyncio.sleep(BREATH_S)
        if dropped:
            took_ms = int((self._clock.now().mono - started.mono) * 1000)
            emit(LOG_RETAINED, rows=dropped, before_ms=before_ms, took_ms=took_ms)
        return dropped

    def _has_jumped(self) -> bool:
        """Say whether wall and monotonic time have come apart since the last look."""
        before, self._drift_s = self._drift_s, self._drift()
        return abs(self._drift_s - before) > CLOCK_JUMP_S

    def _drift(self) -> float:
        now = self._clock.now()
        return now.wall_ms / 1000 - now.mono
