"""Wake lanes at their moments, with one timer of the loop for all."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from angarium.clock import Clock
    from angarium.engine.courier import Courier
    from angarium.engine.sleeping import Sleeper


class Alarm:
    """Call `rung` with the lanes whose moment has come; moments are monotonic seconds.

    A lane is known by its number: a courier whose lane fell asleep is not woken beside its sleeper, nor kept till then.
    """

    def __init__(self, clock: Clock, rung: Callable[[Sequence[Courier | Sleeper]], None]) -> None:
        self._clock, self._rung = clock, rung
        self._moments: list[tuple[float, int]] = []
        self._waiting: dict[int, Courier | Sleeper] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def set(self, one: Courier | Sleeper, at: float) -> None:
        """Wake a lane at a moment, unless it wakes earlier."""
        if one.wakes_at is not None and one.wakes_at <= at:
            return
        one.wakes_at = at
        self._waiting[one.number] = one
        heappush(self._moments, (at, one.number))
        if self._timer is None or at < self._rings_at:
            self._arm()

    def forget(self, one: Courier | Sleeper) -> None:
        """Wake a lane no more."""
        one.wakes_at = None
        if self._waiting.get(one.number) is one:
            del self._waiting[one.number]

    def cancel(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.cancel()
        if self._moments:
            self._rings_at = self._moments[0][0]
            wait_s = max(0.0, self._rings_at - self._clock.now().mono)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now, due = self._clock.now().mono, []
        while self._moments and self._moments[0][0] <= now:
            at, number = heappop(self._moments)
            one = self._waiting.get(number)
            if one is not None and one.wakes_at == at:
                self.forget(one)
                due.append(one)
        self._arm()
        if due:
            self._rung(due)
