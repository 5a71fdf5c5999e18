"""Hold each verdict, and that no dice lead to more attempts, or to other waits, than the schedule allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.deciding import (
    FAILING_MS_MAX,
    Delivered,
    Disable,
    Exhausted,
    Retry,
    Verdict,
    decide,
    is_hopeless,
    lifetime_s,
)
from angarium.model.delivery import Accepted, Gone, Outcome, Refused, Silent, Throttled
from angarium.model.subscription import Retry as Schedule
from angarium.model.wire import Reason

DOWN = Silent(Reason.TIMEOUT)
TWO = Schedule((5.0, 300.0), jitter=0.2)
FOR_EVER = Schedule((5.0, 60.0), give_up=False, jitter=0.0)


@pytest.mark.parametrize(
    ("outcome", "attempt", "schedule", "spread", "expected"),
    [
        (Accepted(), 1, TWO, 0.0, Delivered()),
        (Accepted(204), 3, TWO, 0.0, Delivered()),
        (Gone(), 1, TWO, 0.0, Disable()),
        (Gone(), 1, FOR_EVER, 0.0, Disable()),
        (DOWN, 1, TWO, 0.0, Retry(5.0)),
        (DOWN, 1, TWO, 1.0, Retry(6.0)),
        (DOWN, 1, TWO, -1.0, Retry(4.0)),
        (DOWN, 2, TWO, 0.5, Retry(330.0)),
        (DOWN, 3, TWO, 0.0, Exhausted()),
        (DOWN, 4, TWO, 0.0, Exhausted()),
        (Refused(400), 1, TWO, 0.0, Retry(5.0)),
        (Refused(400), 3, TWO, 0.0, Exhausted()),
        (Throttled(429), 1, TWO, 0.0, Retry(5.0)),
        (Throttled(429, 60.0), 1, TWO, 0.0, Retry(60.0)),
        (Throttled(503, 60.0), 2, TWO, 0.0, Retry(300.0)),
        (Throttled(429, 60.0), 3, TWO, 0.0, Exhausted()),
        (DOWN, 1, FOR_EVER, 0.0, Retry(5.0)),
        (DOWN, 2, FOR_EVER, 0.0, Retry(60.0)),
        (DOWN, 1000, FOR_EVER, 0.0, Retry(60.0)),
        (DOWN, 1, Schedule(()), 0.0, Exhausted()),
        (DOWN, 1, Schedule((), give_up=False), 0.0, Exhausted()),
    ],
)
def test_an_outcome_has_this_verdict(
    outcome: Outcome, attempt: int, schedule: Schedule, spread: float, expected: Verdict
) -> None:
    assert decide(outcome, attempt=attempt, schedule=schedule, spread=spread) == expected


SCHEDULES = st.builds(
    Schedule,
    st.lists(st.floats(1, 86_400), min_size=1, max_size=12).map(tuple),
    st.booleans(),
    st.floats(0, 1),
)
FAILURES: st.SearchStrategy[Outcome] = st.one_of(
    st.just(DOWN),
    st.just(Refused(404)),
    st.builds(Throttled, st.just(429), st.one_of(st.none(), st.floats(1, 86_400))),
)
DICE = st.floats(-1, 1)


@given(SCHEDULES, st.lists(st.tuples(FAILURES, DICE), min_size=40, max_size=40))
def test_there_are_never_more_attempts_than_the_schedule_has(
    schedule: Schedule, failures: list[tuple[Outcome, float]]
) -> None:
    verdicts = [
        decide(outcome, attempt=attempt, schedule=schedule, spread=spread)
        for attempt, (outcome, spread) in enumerate(failures, start=1)
    ]
    waits = len(schedule.delays_s) if schedule.give_up else len(failures)
    assert [isinstance(verdict, Retry) for verdict in verdicts] == [True] * waits + [False] * (len(failures) - waits)


@given(SCHEDULES, st.integers(1, 30), FAILURES, DICE)
def test_a_wait_is_within_its_jitter_unless_the_receiver_asked_for_a_longer_one(
    schedule: Schedule, attempt: int, outcome: Outcome, spread: float
) -> None:
    verdict = decide(outcome, attempt=attempt, schedule=schedule, spread=spread)
    if not isinstance(verdict, Retry):
        assert verdict == Exhausted()
        return
    delay = schedule.delays_s[min(attempt, len(schedule.delays_s)) - 1]
    asked = outcome.retry_after_s if isinstance(outcome, Throttled) else None
    assert verdict.wait_s >= (asked or 0.0)
    low, high = delay * (1 - schedule.jitter), delay * (1 + schedule.jitter)
    assert low * 0.999 <= verdict.wait_s <= max(high * 1.001, asked or 0.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(TWO, 305.0), (FOR_EVER, None), (Schedule(()), 0.0)],
)
def test_a_schedule_is_a_lifetime(schedule: Schedule, expected: float | None) -> None:
    assert lifetime_s(schedule) == expected


@pytest.mark.parametrize(
    ("since_ms", "now_ms", "schedule", "expected"),
    [
        (0, 10**15, TWO, False),
        (1000, 1000 + FAILING_MS_MAX, TWO, False),
        (1000, 1001 + FAILING_MS_MAX, TWO, True),
        (1000, 0, TWO, False),
        (1000, 10**15, FOR_EVER, False),
        (1000, 10**15, Schedule((5, 300), disables=False), False),
    ],
)
def test_who_fails_for_five_days_is_hopeless(
    since_ms: int,
    now_ms: int,
    schedule: Schedule,
    expected: bool,  # noqa: FBT001  a case
) -> None:
    assert is_hopeless(since_ms, now_ms, schedule) is expected


def test_five_days_are_five_days() -> None:
    assert FAILING_MS_MAX == 5 * 24 * 60 * 60 * 1000
