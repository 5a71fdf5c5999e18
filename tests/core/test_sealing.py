"""Fill batches by hand and at random: bounds of events, bytes and objects hold, and no batch waits too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.coalescing import object_of
from angarium.core.sealing import MEMBERS_MAX, due_s, fill, size_of
from angarium.model.event import Entry, Event
from angarium.model.subscription import Batch, Coalesce

EMPTY = 320
"""What an event takes that has no data."""


def _entries(objects: str, data: bytes = b"") -> list[Entry]:
    return [
        Entry(3, offset, 0, Event("p", "t", "item", object_id, "update", data))
        for offset, object_id in enumerate(objects, start=1)
    ]


@pytest.mark.parametrize(
    ("objects", "batch", "expected"),
    [
        ("", Batch(3), (0, False)),
        ("ab", Batch(3), (2, False)),
        ("abc", Batch(3), (3, True)),
        ("abcd", Batch(3), (3, True)),
        ("aaaa", Batch(3), (3, True)),
        ("aaaa", Batch(2, coalesce=Coalesce.OPERATIONS), (2, True)),
        ("aaaa", Batch(2, coalesce=Coalesce.LATEST), (4, False)),
        ("aaaab", Batch(2, coalesce=Coalesce.LATEST), (5, False)),
        ("aaaabc", Batch(2, coalesce=Coalesce.LATEST), (5, True)),
        ("aaaabaac", Batch(2, coalesce=Coalesce.LATEST), (7, True)),
        ("ab", Batch(1), (1, True)),
        ("ab", Batch(10, max_bytes=EMPTY), (1, True)),
        ("abc", Batch(10, max_bytes=2 * EMPTY), (2, True)),
        ("abc", Batch(10, max_bytes=3 * EMPTY), (3, False)),
        ("a", Batch(10, max_bytes=1), (1, False)),
    ],
)
def test_so_many_fit_into_a_batch(objects: str, batch: Batch, expected: tuple[int, bool]) -> None:
    assert fill(_entries(objects), batch) == expected


def test_an_event_larger_than_a_batch_goes_alone() -> None:
    entries = _entries("ab", data=b"x" * 1000)
    assert fill(entries, Batch(10, max_bytes=500)) == (1, True)


def test_a_burst_of_one_object_is_cut_where_a_delivery_settles_enough() -> None:
    batch = Batch(10, max_bytes=10**9, coalesce=Coalesce.LATEST)
    assert fill(_entries("a" * (MEMBERS_MAX + 5)), batch) == (MEMBERS_MAX, True)


def test_the_size_counts_all_that_a_publisher_gave() -> None:
    full = Event("p", "t", "item", "1", "update", b"12345", "https://x", b"{}", b"[1]")
    assert size_of(Entry(3, 1, 0, full)) == EMPTY + 5 + 9 + 2 + 3
    assert size_of(Entry(3, 1, 0, None)) == EMPTY


BATCHES = st.builds(Batch, st.integers(1, 6), st.just(0), st.integers(1, 3000), st.sampled_from(Coalesce))
WAITING = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 800)), max_size=30)


def _sized(waiting: list[tuple[str, int]]) -> list[Entry]:
    return [
        Entry(3, offset, 0, Event("p", "t", "item", object_id, "update", b"x" * size))
        for offset, (object_id, size) in enumerate(waiting, start=1)
    ]


@given(WAITING, BATCHES)
def test_no_batch_is_over_its_bounds(waiting: list[tuple[str, int]], batch: Batch) -> None:
    entries = _sized(waiting)
    count, _ = fill(entries, batch)
    taken = entries[:count]
    shown = len({object_of(entry) for entry in taken}) if batch.coalesce is Coalesce.LATEST else count
    assert shown <= batch.max_events
    assert count <= 1 or sum(map(size_of, taken)) <= batch.max_bytes


@given(WAITING, BATCHES)
def test_what_is_left_would_not_have_fitted(waiting: list[tuple[str, int]], batch: Batch) -> None:
    entries = _sized(waiting)
    count, is_full = fill(entries, batch)
    assert count == len(entries) or is_full
    assert (count > 0) == bool(entries)
    if count < len(entries):
        more = entries[: count + 1]
        shown = len({object_of(entry) for entry in more}) if batch.coalesce is Coalesce.LATEST else len(more)
        assert shown > batch.max_events or sum(map(size_of, more)) > batch.max_bytes


@given(WAITING, BATCHES)
def test_all_that_waits_goes_in_order_batch_by_batch(waiting: list[tuple[str, int]], batch: Batch) -> None:
    entries, gone = _sized(waiting), 0
    while gone < len(entries):
        count, _ = fill(entries[gone:], batch)
        assert count > 0
        gone += count
    assert gone == len(entries)


@pytest.mark.parametrize(
    ("first_mono", "accepted_ms", "now_mono", "now_ms", "expected"),
    [
        (100.0, 50_000, 100.0, 50_000, 110.0),  # just accepted
        (100.0, 46_000, 100.0, 50_000, 106.0),  # it had waited in the log for four seconds
        (100.0, 30_000, 100.0, 50_000, 100.0),  # it is overdue
        (100.0, 50_000, 104.0, 54_000, 110.0),  # the same moment, seen later
        (100.0, 50_000, 104.0, 20_000, 110.0),  # the wall clock has gone back: no longer than since it is here
        (100.0, 50_000, 104.0, 90_000, 104.0),  # the wall clock has gone forward
    ],
)
def test_a_batch_goes_when_its_first_event_has_waited(
    first_mono: float, accepted_ms: int, now_mono: float, now_ms: int, expected: float
) -> None:
    batch = Batch(10, max_wait_ms=10_000)
    found = due_s(batch, first_mono=first_mono, accepted_ms=accepted_ms, now_mono=now_mono, now_ms=now_ms)
    assert found == pytest.approx(expected)


@given(
    st.integers(0, 600_000), st.floats(0, 10**6), st.floats(0, 10**6), st.integers(0, 10**10), st.integers(0, 10**10)
)
def test_no_clock_makes_a_batch_wait_longer_than_its_policy_says(
    wait_ms: int, first_mono: float, passed_s: float, accepted_ms: int, now_ms: int
) -> None:
    due = due_s(
        Batch(10, max_wait_ms=wait_ms),
        first_mono=first_mono,
        accepted_ms=accepted_ms,
        now_mono=first_mono + passed_s,
        now_ms=now_ms,
    )
    assert due <= first_mono + wait_ms / 1000
