"""Lanes are woken at their moments, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from angarium.clock import SystemClock
from angarium.engine.alarm import Alarm
from angarium.engine.courier import Courier
from angarium.engine.sleeping import Sleeper


class _Lane:
    """As much of a courier or sleeper as an alarm looks at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.wakes_at: float | None = None


class _Bell:
    def __init__(self) -> None:
        self.rung: list[object] = []
        self._heard = asyncio.Event()
        self.alarm = Alarm(SystemClock(), self._ring)

    def _ring(self, due: Sequence[Courier | Sleeper]) -> None:
        self.rung += due
        self._heard.set()

    def set(self, one: _Lane, *, after_s: float) -> None:
        self.alarm.set(one, SystemClock().now().mono + after_s)  # type: ignore[arg-type]  # a fake of either

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.rung) < number:
                self._heard.clear()
                await self._heard.wait()


async def test_lanes_are_woken_in_the_order_of_their_moments() -> None:
    bell, first, second = _Bell(), _Lane(1), _Lane(2)
    bell.set(second, after_s=0.03)
    bell.set(first, after_s=0.01)

    await bell.wait(2)

    assert bell.rung == [first, second]
    assert first.wakes_at is None


async def test_the_earliest_of_a_lane_s_moments_counts() -> None:
    bell, lane, last = _Bell(), _Lane(1), _Lane(2)
    bell.set(lane, after_s=0.05)
    bell.set(lane, after_s=0.01)
    bell.set(lane, after_s=0.03)
    bell.set(last, after_s=0.08)

    await bell.wait(2)

    assert bell.rung == [lane, last]


async def test_a_lane_that_fell_asleep_is_woken_as_the_sleeper_only() -> None:
    """Its courier was woken beside it once, and sent everything that was due a second time."""
    bell, courier, sleeper, last = _Bell(), _Lane(1), _Lane(1), _Lane(2)
    bell.set(courier, after_s=0.01)
    bell.alarm.forget(courier)  # type: ignore[arg-type]  # a fake
    bell.set(sleeper, after_s=0.01)
    bell.set(last, after_s=0.05)

    await bell.wait(2)

    assert bell.rung == [sleeper, last]
    assert courier.wakes_at is None
