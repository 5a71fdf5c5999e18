"""Quotas: so many within a span, exactly, each on its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.errors import RateExceeded
from angarium.operations.quota import Quota, network_of


def test_so_many_may_be_taken_and_no_more() -> None:
    quota = Quota(3, within_s=3600, what="things")
    for _ in range(3):
        quota.take("a", now=10)
    with pytest.raises(RateExceeded, match="3 things within 60 minutes") as raised:
        quota.take("a", now=70)
    assert raised.value.retry_after_s == 3540


def test_others_have_their_own() -> None:
    quota = Quota(1, within_s=60, what="things")
    quota.take("a", now=0)
    quota.take("b", now=0)


def test_what_came_to_nothing_is_given_back() -> None:
    quota = Quota(1, within_s=60, what="things")
    quota.take("a", now=0)
    quota.give_back("a")
    quota.give_back("a")
    quota.give_back("nobody")
    quota.take("a", now=0)


@given(st.lists(st.integers(0, 50), max_size=200))
def test_no_span_ever_holds_more(pauses: list[int]) -> None:
    quota, now, taken = Quota(5, within_s=60, what="things"), 0, list[int]()
    for pause in pauses:
        now += pause
        try:
            quota.take("a", now=now)
            taken.append(now)
        except RateExceeded as refused:
            assert len([each for each in taken if each > now - 60]) == 5
            assert refused.retry_after_s >= 1  # noqa: PT017  the same
    for moment in taken:
        assert len([each for each in taken if moment - 60 < each <= moment]) <= 5


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("a socket's name", "a socket's name"),
    ],
)
def test_a_network_that_one_machine_has_is_one(address: str, who: str) -> None:
    assert network_of(address) == who
