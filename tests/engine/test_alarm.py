"""Set alarms on a clock that is moved by hand: each lane wakes once, at its earliest moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.clock import Moment, SystemClock
from angarium.engine.alarm import Alarm
from angarium.engine.courier import Courier
from angarium.engine.routes import Route
from angarium.model.subscription import Status, Subscription
from angarium.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.engine.sleeping import Sleeper


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.mono = 1000.0

    def now(self) -> Moment:
        return Moment(self.mono, int(self.mono * 1000))


def _courier(number: int) -> Courier:
    subscription = Subscription(number, f"sub_{number}", "p", "1", 3, 0, 0, Status.ACTIVE, url="http://receiver")
    return Courier(Route(subscription, None, Vault(b"v" * 32)), scale=1.0)


class Wakes:
    """An alarm, and who was woken by it."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.woken: list[Courier | Sleeper] = []
        self.alarm = Alarm(self.clock, self._rung)

    def _rung(self, due: Sequence[Courier | Sleeper]) -> None:
        self.woken.extend(due)

    def pass_to(self, mono: float) -> None:
        """Move the clock and let the alarm look at it, as its timer would."""
        self.clock.mono = mono
        self.alarm._ring()


async def test_each_wakes_at_its_moment() -> None:
    wakes = Wakes()
    one, two, three = (_courier(number) for number in (1, 2, 3))
    wakes.alarm.set(two, 1020.0)
    wakes.alarm.set(one, 1010.0)
    wakes.alarm.set(three, 1030.0)
    wakes.pass_to(1009.9)
    assert wakes.woken == []
    wakes.pass_to(1010.0)
    assert wakes.woken == [one]
    wakes.pass_to(1030.0)
    assert wakes.woken == [one, two, three]
    wakes.alarm.cancel()


async def test_an_earlier_moment_takes_the_place_of_a_later_one() -> None:
    wakes = Wakes()
    one = _courier(1)
    wakes.alarm.set(one, 1030.0)
    wakes.alarm.set(one, 1010.0)
    wakes.alarm.set(one, 1020.0)
    wakes.pass_to(1010.0)
    wakes.pass_to(1040.0)
    assert wakes.woken == [one]
    wakes.alarm.cancel()


async def test_who_was_woken_can_be_woken_again_at_the_moment_that_was_meant_before() -> None:
    wakes = Wakes()
    one = _courier(1)
    wakes.alarm.set(one, 1030.0)
    wakes.alarm.set(one, 1010.0)
    wakes.pass_to(1010.0)
    wakes.alarm.set(one, 1030.0)
    wakes.pass_to(1030.0)
    assert wakes.woken == [one, one]
    wakes.alarm.cancel()


async def test_of_two_lanes_of_one_subscription_the_present_one_wakes() -> None:
    """Moments that were equal to the last bit compared the lanes themselves."""
    wakes = Wakes()
    before, after, other = _courier(1), _courier(1), _courier(2)
    for courier in (before, after, other):
        wakes.alarm.set(courier, 1010.0)
    wakes.pass_to(1010.0)
    assert wakes.woken == [after, other]
    wakes.alarm.cancel()


async def test_who_is_forgotten_is_not_woken() -> None:
    wakes = Wakes()
    one, two = _courier(1), _courier(2)
    wakes.alarm.set(one, 1010.0)
    wakes.alarm.set(two, 1010.0)
    wakes.alarm.forget(one)
    wakes.pass_to(1010.0)
    assert wakes.woken == [two]
    wakes.alarm.cancel()


async def test_its_timer_rings_by_itself_and_not_after_it_was_cancelled() -> None:
    woken: list[Courier | Sleeper] = []
    clock = SystemClock()
    alarm = Alarm(clock, woken.extend)
    one, two = _courier(1), _courier(2)
    alarm.set(one, clock.now().mono + 0.01)
    await asyncio.sleep(0.05)
    assert woken == [one]
    alarm.set(two, clock.now().mono + 0.01)
    alarm.cancel()
    await asyncio.sleep(0.03)
    assert woken == [one]
