"""Decide what becomes of a delivery after an attempt. Sending and storing happen elsewhere.

| outcome | verdict |
|---|---|
| accepted | `Delivered` |
| gone | `Disable`: exhausted, and the subscription is disabled |
| refused, throttled, silent | `Retry` while the schedule has a wait left, then `Exhausted` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from angarium.model.delivery import Accepted, Gone, Outcome, Refused, Silent, Throttled

if TYPE_CHECKING:
    from angarium.model.subscription import Retry as Schedule

FAILING_MS_MAX = 5 * 86_400_000
"""So long a subscription may fail without one success before it is disabled. Standard Webhooks 1.0.0, "Failures"."""


class Delivered(Struct, frozen=True):
    """It has arrived."""


class Retry(Struct, frozen=True):
    """It is tried again after so many seconds."""

    wait_s: float


class Exhausted(Struct, frozen=True):
    """It is given up; the feed still shows it."""


class Disable(Struct, frozen=True):
    """It is given up, and so is its subscription."""


Verdict = Delivered | Retry | Exhausted | Disable

_DELIVERED, _EXHAUSTED, _DISABLE = Delivered(), Exhausted(), Disable()


def decide(outcome: Outcome, *, attempt: int, schedule: Schedule, spread: float) -> Verdict:
    """Say what becomes of a delivery after attempt number `attempt`, the first being 1.

    `spread`, from -1 to 1, is the dice: it moves the wait by that share of the schedule's jitter.
    """
    match outcome:
        case Accepted():
            return _DELIVERED
        case Gone():
            return _DISABLE
        case Throttled(_, retry_after_s):
            return _retry(attempt, schedule, spread, at_least_s=retry_after_s or 0.0)
        case Refused() | Silent():
            return _retry(attempt, schedule, spread)
        case _:
            assert_never(outcome)


def _retry(attempt: int, schedule: Schedule, spread: float, at_least_s: float = 0.0) -> Verdict:
    delays = schedule.delays_s
    if attempt > len(delays) and (schedule.give_up or not delays):
        return _EXHAUSTED
    wait_s = delays[min(attempt, len(delays)) - 1] * (1 + schedule.jitter * spread)
    # A receiver that asks for a longer wait gets it; one that asks for less would use up its attempts.
    return Retry(max(wait_s, at_least_s))


def lifetime_s(schedule: Schedule) -> float | None:
    """Return how long after its acceptance an event is worth a first attempt; None where nothing is given up."""
    return sum(schedule.delays_s) if schedule.give_up else None


def is_hopeless(failing_since_ms: int, now_ms: int, schedule: Schedule) -> bool:
    """Say whether a subscription has been failing for so long that it is to be disabled."""
    is_judged = schedule.give_up and schedule.disables
    return is_judged and failing_since_ms > 0 and now_ms - failing_since_ms > FAILING_MS_MAX
