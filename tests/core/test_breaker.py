"""Hold the breaker's table, and that a sick receiver gets one request at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.breaker import FAILURES_MAX, PROBE_S_MAX, PROBE_S_MIN, Breaker

NOON_MS = 1_795_348_800_000


def _after(failures: int, *, at: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(failures):
        breaker.sick(at, NOON_MS)
    return breaker


@pytest.mark.parametrize(
    ("failures", "is_open", "limit"),
    [(0, False, 8), (1, False, 8), (4, False, 8), (5, True, 1), (6, True, 1)],
)
def test_five_failures_in_a_row_open_it(failures: int, is_open: bool, limit: int) -> None:  # noqa: FBT001  a case
    breaker = _after(failures)
    assert (breaker.is_open, breaker.limit(8)) == (is_open, limit)


def test_it_says_once_that_it_has_opened() -> None:
    breaker = Breaker()
    assert [breaker.sick(100.0, NOON_MS) for _ in range(7)] == [False] * 4 + [True] + [False] * 2


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = _after(4)
    breaker.well(8)
    for _ in range(4):
        breaker.sick(100.0, NOON_MS)
    assert not breaker.is_open


def test_a_refusal_is_no_failure_but_no_success_either() -> None:
    breaker = _after(4)
    breaker.refused(NOON_MS + 1)
    assert (breaker.failures, breaker.failing_since_ms, breaker.limit(8)) == (4, NOON_MS, 8)
    assert breaker.sick(100.0, NOON_MS)


def test_a_refusal_shows_that_the_receiver_is_back() -> None:
    breaker = _after(5)
    breaker.refused(NOON_MS + 1)
    assert (breaker.is_open, breaker.limit(8), breaker.failing_since_ms) == (False, 1, NOON_MS)


def test_only_a_probe_s_failure_makes_the_pause_longer() -> None:
    breaker = _after(5)
    assert (breaker.probe_s, breaker.probe_at) == (30.0, 130.0)
    breaker.sick(101.0, NOON_MS)  # It was on the wire when the breaker opened.
    assert (breaker.probe_s, breaker.probe_at) == (30.0, 131.0)
    pauses = []
    for _ in range(6):
        breaker.sick(breaker.probe_at, NOON_MS)
        pauses.append(breaker.probe_s)
    assert pauses == [60.0, 120.0, 240.0, 300.0, 300.0, 300.0]


def test_pauses_are_divided_by_the_scale_of_time() -> None:
    breaker = Breaker(scale=1000.0)
    for _ in range(5):
        breaker.sick(100.0, NOON_MS)
    assert breaker.probe_at == pytest.approx(100.03)


@pytest.mark.parametrize(
    ("max_in_flight", "limits"),
    [
        (1, [1, 1, 1]),
        (2, [1, 2, 2]),
        (8, [1, 2, 4, 8, 8]),
        (10, [1, 2, 4, 8, 10]),
        (100, [1, 2, 4, 8, 16, 32, 64, 100]),
    ],
)
def test_after_a_success_it_starts_slowly(max_in_flight: int, limits: list[int]) -> None:
    breaker = _after(5)
    found = []
    for _ in limits:
        breaker.well(max_in_flight)
        found.append(breaker.limit(max_in_flight))
    assert found == limits


def test_a_failure_during_the_slow_start_opens_it_again() -> None:
    breaker = _after(5)
    breaker.well(8)
    breaker.well(8)
    assert breaker.sick(200.0, NOON_MS)
    assert (breaker.limit(8), breaker.probe_s, breaker.probe_at) == (1, PROBE_S_MIN, 230.0)


def test_who_has_recovered_is_forgotten() -> None:
    breaker = _after(5)
    assert not breaker.is_at_rest
    for _ in range(4):
        breaker.well(8)
    assert (breaker.is_at_rest, breaker.failing_since_ms) == (True, 0)


def test_a_resume_forgets_all_and_starts_slowly() -> None:
    breaker = _after(9)
    breaker.forget()
    assert breaker.is_at_rest
    breaker.start_slowly()
    assert (breaker.limit(8), breaker.is_at_rest) == (1, False)


@pytest.mark.parametrize(("probe_s", "is_open"), [(0.0, False), (120.0, True)])
def test_a_new_owner_begins_with_one_request(probe_s: float, is_open: bool) -> None:  # noqa: FBT001  a case
    breaker = Breaker()
    breaker.restore(3, NOON_MS, probe_s, 50.0)
    assert (breaker.is_open, breaker.limit(8), breaker.failing_since_ms) == (is_open, 1, NOON_MS)
    assert breaker.probe_at == 50.0 + probe_s


FACTS = st.lists(st.sampled_from(["well", "refused", "sick", "wait"]), max_size=60)


@given(FACTS, st.integers(1, 64))
def test_whatever_happens_its_bounds_hold(facts: list[str], max_in_flight: int) -> None:
    breaker, mono = Breaker(), 100.0
    in_a_row = 0
    for number, fact in enumerate(facts):
        match fact:
            case "well":
                breaker.well(max_in_flight)
                in_a_row = 0
            case "refused":
                breaker.refused(NOON_MS + number)
            case "sick":
                breaker.sick(mono, NOON_MS + number)
                in_a_row += 1
            case _:
                mono += 45.0
        assert 1 <= breaker.limit(max_in_flight) <= max_in_flight
        assert breaker.probe_s == 0 or PROBE_S_MIN <= breaker.probe_s <= PROBE_S_MAX
        assert not breaker.is_open or breaker.limit(max_in_flight) == 1
        assert breaker.is_open <= (breaker.failing_since_ms > 0)
        assert in_a_row < FAILURES_MAX or breaker.limit(max_in_flight) == 1 or "refused" in facts
