"""Hold how a policy is checked, resolved and shown."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.policy import check_overrides, resolve, scaled, show
from angarium.errors import FieldError
from angarium.model.subscription import Batch, Coalesce, Ordering, Policy, Retry

SINGLE = Policy(Ordering.OBJECT, Batch(), Retry((5.0, 300.0), jitter=0.1))
BATCHING = Policy(Ordering.STRICT, Batch(50, 2000, 9999, Coalesce.OPERATIONS), Retry((5.0,), give_up=False), 1)

OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "ordering": st.sampled_from(["object", "strict", "none"]),
        "batch": st.fixed_dictionaries(
            {},
            optional={
                "max_events": st.integers(1, 1000),
                "max_wait_ms": st.integers(0, 600_000),
                "max_bytes": st.integers(1024, 4_194_304),
                "coalesce": st.sampled_from(["none", "operations", "latest"]),
            },
        ),
        "max_in_flight": st.integers(1, 256),
        "rate": st.fixed_dictionaries({"per_minute": st.integers(1, 1_000_000)}),
        "retry": st.fixed_dictionaries(
            {}, optional={"delays_s": st.lists(st.floats(1, 2_592_000), max_size=100), "give_up": st.just(value=True)}
        ),
        "timeout_s": st.integers(1, 60) | st.floats(1, 60),
    },
)


@pytest.mark.parametrize(
    ("defaults", "overrides", "expected"),
    [
        (SINGLE, {}, SINGLE),
        (SINGLE, {"ordering": "none"}, Policy(Ordering.NONE, Batch(), Retry((5.0, 300.0), jitter=0.1))),
        (
            SINGLE,
            {"max_in_flight": 3, "rate": {"per_minute": 600}, "timeout_s": 2.5},
            Policy(Ordering.OBJECT, Batch(), Retry((5.0, 300.0), jitter=0.1), 3, 600, 2.5),
        ),
        (
            SINGLE,
            {"retry": {"delays_s": [1, 2.5], "give_up": False}},
            Policy(Ordering.OBJECT, Batch(), Retry((1.0, 2.5), give_up=False, jitter=0.1)),
        ),
        (SINGLE, {"retry": {"delays_s": []}}, Policy(Ordering.OBJECT, Batch(), Retry((), jitter=0.1))),
        (
            SINGLE,
            {"retry": {"give_up": False}},
            Policy(Ordering.OBJECT, Batch(), Retry((5.0, 300.0), give_up=False, jitter=0.1)),
        ),
    ],
)
def test_own_words_stand_over_the_dialects(defaults: Policy, overrides: dict[str, Any], expected: Policy) -> None:
    assert resolve(defaults, check_overrides(overrides)) == expected


@pytest.mark.parametrize(
    ("defaults", "asked", "expected"),
    [
        (SINGLE, {}, Batch(100, 1000, 65536)),
        (SINGLE, {"coalesce": "latest"}, Batch(100, 1000, 65536, Coalesce.LATEST)),
        (SINGLE, {"max_events": 7, "max_wait_ms": 0}, Batch(7, 0, 65536)),
        (SINGLE, {"max_events": 1}, Batch(1, 1000, 65536)),
        (BATCHING, {}, Batch(50, 2000, 9999, Coalesce.OPERATIONS)),
        (BATCHING, {"max_bytes": 2048}, Batch(50, 2000, 2048, Coalesce.OPERATIONS)),
    ],
)
def test_who_asks_for_batches_gets_a_sensible_one(defaults: Policy, asked: dict[str, Any], expected: Batch) -> None:
    assert resolve(defaults, check_overrides({"batch": asked})).batch == expected


def test_a_policy_is_shown_resolved() -> None:
    assert show(SINGLE) == {
        "ordering": "object",
        "batch": {"max_events": 1, "max_wait_ms": 0, "max_bytes": 262144, "coalesce": "none"},
        "max_in_flight": 8,
        "rate": None,
        "retry": {"delays_s": [5, 300], "give_up": True},
        "timeout_s": 15,
    }
    assert show(resolve(BATCHING, {"rate": {"per_minute": 60}, "timeout_s": 2.5})) == {
        "ordering": "strict",
        "batch": {"max_events": 50, "max_wait_ms": 2000, "max_bytes": 9999, "coalesce": "operations"},
        "max_in_flight": 1,
        "rate": {"per_minute": 60},
        "retry": {"delays_s": [5], "give_up": False},
        "timeout_s": 2.5,
    }


def test_whole_seconds_are_shown_without_a_point() -> None:
    assert repr(show(SINGLE)["retry"]["delays_s"]) == "[5, 300]"


@given(OVERRIDES, st.sampled_from([SINGLE, BATCHING]))
def test_what_is_shown_may_be_given_back(overrides: dict[str, Any], defaults: Policy) -> None:
    checked = check_overrides(overrides)
    assert checked == overrides
    policy = resolve(defaults, checked)
    if policy.retry.delays_s or policy.retry.give_up:
        shown = show(policy)
        assert show(resolve(defaults, check_overrides(shown))) == shown


def test_null_leaves_the_dialects_own() -> None:
    assert check_overrides({"ordering": None, "batch": {"coalesce": None}, "rate": None}) == {"batch": {}}


@pytest.mark.parametrize(
    ("overrides", "field", "problem"),
    [
        ({"colour": 1}, "colour", "unknown; known here are ordering, batch, max_in_flight, rate, retry, timeout_s"),
        ({"batch": {"size": 1}}, "batch.size", "unknown; known here are max_events, max_wait_ms, max_bytes, coalesce"),
        ({"rate": {"per_second": 1}}, "rate.per_second", "unknown; known here are per_minute"),
        ({"retry": {"max": 1}}, "retry.max", "unknown; known here are delays_s, give_up"),
        ({"ordering": "fifo"}, "ordering", "is 'fifo', expected one of object, strict, none"),
        ({"ordering": ["none"]}, "ordering", "is a list, expected one of"),
        ({"batch": []}, "batch", "is a list, expected an object with max_events"),
        ({"batch": 5}, "batch", "is 5, expected an object"),
        ({"batch": {"max_events": 0}}, "batch.max_events", "is 0, expected a whole number from 1 to 1000"),
        ({"batch": {"max_events": 1001}}, "batch.max_events", "is 1001"),
        ({"batch": {"max_events": 2.0}}, "batch.max_events", "is 2.0, expected a whole number"),
        ({"batch": {"max_events": True}}, "batch.max_events", "is true, expected a whole number"),
        ({"batch": {"max_events": 10**4000}}, "batch.max_events", "is a very large number"),
        ({"batch": {"max_wait_ms": 600_001}}, "batch.max_wait_ms", "from 0 to 600000"),
        ({"batch": {"max_bytes": 1023}}, "batch.max_bytes", "from 1024 to 4194304"),
        ({"batch": {"coalesce": "first"}}, "batch.coalesce", "expected one of none, operations, latest"),
        ({"max_in_flight": 257}, "max_in_flight", "from 1 to 256"),
        ({"rate": {"per_minute": 0}}, "rate.per_minute", "from 1 to 1000000"),
        ({"rate": 600}, "rate", "is 600, expected an object with per_minute"),
        ({"retry": {"delays_s": 5}}, "retry.delays_s", "is 5, expected a list"),
        ({"retry": {"delays_s": {}}}, "retry.delays_s", "is an object, expected a list"),
        ({"retry": {"delays_s": [5, 0.5]}}, "retry.delays_s[1]", "is 0.5, expected from 1 to 2592000 seconds"),
        ({"retry": {"delays_s": [5, None]}}, "retry.delays_s[1]", "is null"),
        ({"retry": {"delays_s": ["5"]}}, "retry.delays_s[0]", "is '5'"),
        ({"retry": {"delays_s": [2_592_001]}}, "retry.delays_s[0]", "expected from 1 to 2592000 seconds"),
        ({"retry": {"delays_s": [math.nan]}}, "retry.delays_s[0]", "expected from 1 to 2592000 seconds"),
        ({"retry": {"delays_s": [math.inf]}}, "retry.delays_s[0]", "is a very large number"),
        ({"retry": {"delays_s": [5] * 101}}, "retry.delays_s", "101 entries, expected at most 100"),
        ({"retry": {"delays_s": [], "give_up": False}}, "retry.delays_s", "is empty"),
        ({"retry": {"give_up": 1}}, "retry.give_up", "is 1, expected true or false"),
        ({"timeout_s": 0}, "timeout_s", "from 1 to 60 seconds"),
        ({"timeout_s": 61}, "timeout_s", "from 1 to 60 seconds"),
        ({"timeout_s": False}, "timeout_s", "is false"),
    ],
)
def test_what_makes_no_policy_is_refused_by_its_path(overrides: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_overrides(overrides)
    assert caught.value.field == field
    assert problem in caught.value.detail


def test_a_time_scale_divides_the_retry_delays_and_nothing_else() -> None:
    assert scaled(SINGLE, 100) == Policy(Ordering.OBJECT, Batch(), Retry((0.05, 3.0), jitter=0.1))
    assert scaled(SINGLE, 1) == SINGLE
