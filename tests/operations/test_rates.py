"""Rates of publishes: a minute's worth at once, then evenly, each tenant by itself."""

from __future__ import annotations

import pytest

from angarium.operations.rates import Rates


def _publish(rates: Rates, *, now: float, count: int = 1, tenant: str = "1") -> int:
    wait_s = rates.wait_s("p", tenant, 6, now=now)
    if not wait_s:
        rates.take("p", tenant, 6, count=count, now=now)
    return wait_s


def test_a_minute_s_worth_may_come_at_once_and_no_more() -> None:
    rates = Rates()
    assert [_publish(rates, now=1000.0) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]


def test_room_comes_back_evenly() -> None:
    rates = Rates()
    for _ in range(6):
        _publish(rates, now=1000.0)
    assert _publish(rates, now=1004.0) == 6
    assert _publish(rates, now=1010.0) == 0
    assert _publish(rates, now=1010.0) == 10


def test_a_tenant_s_flood_is_its_own() -> None:
    rates = Rates()
    for _ in range(6):
        _publish(rates, now=1000.0)
    assert _publish(rates, now=1000.0) == 10
    assert _publish(rates, now=1000.0, tenant="2") == 0


@pytest.mark.parametrize(("count", "wait_s"), [(5, 0), (6, 10), (9, 40), (1000, 70)])
def test_an_array_is_taken_whole_and_waited_for_afterwards_within_bounds(count: int, wait_s: int) -> None:
    rates = Rates()
    assert _publish(rates, now=1000.0, count=count) == 0
    assert _publish(rates, now=1000.0) == wait_s


def test_what_is_remembered_is_bounded() -> None:
    rates = Rates()
    for tenant in range(50_000):
        rates.take("p", str(tenant), 6, count=6, now=1000.0)
    assert len(rates._full_at) <= 20_000
