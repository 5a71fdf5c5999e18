"""Hold a rate: never more than it allows in any window, and never less than it allows to who asks at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.pacing import Pace

EPSILON = 1e-6


def test_without_a_rate_all_may_go() -> None:
    pace = Pace(None)
    for _ in range(1000):
        pace.take(5.0)
    assert pace.free_at() <= 5.0


@pytest.mark.parametrize(
    ("per_minute", "moments"),
    [
        (60, [10.0, 11.0, 12.0, 13.0]),
        (30, [10.0, 12.0, 14.0]),
        (1, [10.0, 70.0, 130.0]),
        (120, [10.0, 10.0, 10.5, 11.0]),
        (240, [10.0, 10.0, 10.0, 10.0, 10.25, 10.5]),
    ],
)
def test_who_always_has_something_sends_it_at_these_moments(per_minute: int, moments: list[float]) -> None:
    assert _greedy(Pace(per_minute), 10.0, len(moments)) == pytest.approx(moments)


def test_a_rest_saves_up_no_more_than_a_second_s_worth() -> None:
    pace = Pace(240)
    _greedy(pace, 10.0, 50)
    assert _greedy(pace, 5000.0, 6) == pytest.approx([5000.0] * 4 + [5000.25, 5000.5])


def _greedy(pace: Pace, now: float, count: int) -> list[float]:
    found = []
    for _ in range(count):
        now = max(now, pace.free_at())
        pace.take(now)
        found.append(now)
    return found


@given(st.integers(1, 100_000), st.lists(st.floats(0, 20), max_size=200))
def test_no_window_holds_more_than_the_rate_and_a_second_s_worth(per_minute: int, waits: list[float]) -> None:
    pace, now, taken = Pace(per_minute), 1000.0, []
    for wait_s in waits:
        now += wait_s
        if now >= pace.free_at():
            pace.take(now)
            taken.append(now)
    a_second_s_worth = max(1.0, per_minute / 60)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = (taken[last] - start) * per_minute / 60 + a_second_s_worth
            assert last - first + 1 <= allowed + EPSILON * per_minute


@given(st.integers(1, 100_000), st.integers(1, 300))
def test_the_rate_is_used_up_by_who_has_enough(per_minute: int, count: int) -> None:
    taken = _greedy(Pace(per_minute), 1000.0, count)
    assert taken[-1] - taken[0] <= (count - 1) * 60 / per_minute + EPSILON


def test_another_rate_remembers_what_went_just_now() -> None:
    pace = Pace(6)
    pace.take(100.0)
    assert pace.free_at() == pytest.approx(110.0)
    faster = pace.changed(60)
    assert faster.per_minute == 60
    assert faster.free_at() == pytest.approx(110.0)


def test_the_same_rate_is_the_same_pace() -> None:
    pace = Pace(60)
    assert pace.changed(60) is pace


def test_a_rate_that_is_lifted_holds_nothing_up() -> None:
    pace = Pace(1)
    pace.take(100.0)
    assert pace.changed(None).free_at() <= 100.0
