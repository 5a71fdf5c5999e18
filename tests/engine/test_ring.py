"""Hold account by hand, and beside a plain account at random: watermarks, room, and what is remembered."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.engine import ring as rings
from angarium.engine.ring import Ring
from angarium.model.event import Entry, Event

P = 3


def _ring(*, events_max: int = 100, bytes_max: int = 10**6) -> Ring:
    return Ring(events_max=events_max, bytes_max=bytes_max)


def _entry(offset: int, *, partition: int = P, data: bytes = b"") -> Entry:
    return Entry(partition, offset, 0, Event("p", "t", "item", "1", "update", data))


def test_the_watermark_is_below_the_lowest_offset_that_anybody_owes() -> None:
    ring = _ring()
    for offset in (4, 5, 6):
        ring.owe(P, offset, 2, 10)
    found = []
    for offset in (5, 4, 5, 6, 6, 4):
        ring.release(P, offset)
        found.append(ring.watermark(P, 9))
    assert found == [3, 3, 3, 3, 3, 9]


def test_nobody_owes_what_nobody_took() -> None:
    ring = _ring()
    assert (ring.watermark(P, 7), ring.release(P, 7), ring.events) == (7, False, 0)


def test_an_event_is_counted_once_whoever_owes_it() -> None:
    ring = _ring()
    ring.owe(P, 1, 1000, 50)
    ring.owe(P, 1, 24, 50)  # the next slice of the same event's lanes
    assert (ring.events, ring.bytes) == (1, 50)
    assert [ring.release(P, 1) for _ in range(1024)] == [False] * 1023 + [True]
    assert (ring.events, ring.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("events", "size", "has_room", "has_ease"),
    [
        (24, 10, True, True),
        (25, 10, True, False),
        (99, 10, True, False),
        (100, 10, False, False),
        (4, 300, False, False),
    ],
)
def test_there_is_room_up_to_so_many_events_and_bytes(
    events: int,
    size: int,
    has_room: bool,  # noqa: FBT001  a case
    has_ease: bool,  # noqa: FBT001  a case
) -> None:
    ring = _ring(bytes_max=1200)
    for offset in range(1, events + 1):
        ring.owe(P, offset, 1, size)
    assert (ring.has_room, ring.has_ease) == (has_room, has_ease)


def test_a_lane_that_joins_brings_what_it_still_owes() -> None:
    ring = _ring()
    for offset in (5, 7):
        ring.owe(P, offset, 1, 10)
    ring.join(P, {2, 5, 9})
    assert (ring.watermark(P, 9), ring.events) == (1, 4)
    found = []
    for offset in (2, 5, 9, 5, 7):
        ring.release(P, offset)
        found.append(ring.watermark(P, 9))
    assert found == [4, 4, 4, 6, 9]


def test_partitions_have_nothing_to_do_with_each_other() -> None:
    ring = _ring()
    ring.owe(1, 5, 1, 10)
    ring.owe(2, 8, 1, 10)
    assert (ring.watermark(1, 9), ring.watermark(2, 9)) == (4, 7)
    assert not ring.release(2, 5)


def test_it_says_which_watermarks_may_have_moved() -> None:
    ring = _ring()
    ring.owe(P, 1, 2, 10)
    ring.release(P, 1)
    assert ring.moved == set()
    ring.release(P, 1)
    ring.remember(_entry(1, partition=4))
    assert ring.moved == {P, 4}


def test_the_latest_entries_are_remembered_for_those_who_catch_up() -> None:
    ring = _ring()
    for offset in (4, 5, 6, 7):
        ring.remember(_entry(offset))
    assert [entry.offset for entry in ring.since(P, 5, 7) or ()] == [6, 7]
    assert [entry.offset for entry in ring.since(P, 3, 7) or ()] == [4, 5, 6, 7]
    assert ring.since(P, 7, 7) == ()
    assert ring.since(P, 2, 7) is None  # Who knows what offset 3 was?
    assert ring.since(P, 5, 8) is None  # The tail has come further than what is remembered.
    assert ring.since(9, 0, 1) is None


def test_the_oldest_are_forgotten_first_whatever_their_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "RECENT_EVENTS", 3)
    ring = _ring()
    for partition, offset in ((1, 1), (2, 1), (1, 2), (1, 3)):
        ring.remember(_entry(offset, partition=partition))
    assert ring.since(1, 0, 3) is None
    assert [entry.offset for entry in ring.since(1, 1, 3) or ()] == [2, 3]
    assert [entry.offset for entry in ring.since(2, 0, 1) or ()] == [1]


def test_large_entries_are_forgotten_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "RECENT_BYTES", 3000)
    ring = _ring()
    for offset in (1, 2, 3):
        ring.remember(_entry(offset, data=b"x" * 1000))
    assert ring.since(P, 0, 3) is None
    assert [entry.offset for entry in ring.since(P, 1, 3) or ()] == [2, 3]


@given(st.integers(0, 10**9))
def test_it_agrees_with_a_plain_account(seed: int) -> None:
    dice, ring = Random(seed), _ring()
    owed: Counter[int] = Counter()
    position = 0
    for _ in range(dice.randrange(1, 80)):
        match dice.randrange(4):
            case 0 | 1:
                position += 1
                if lanes := dice.randrange(4):
                    ring.owe(P, position, lanes, 10)
                    owed[position] += lanes
            case 2 if owed:
                offset = dice.choice(sorted(owed))
                owed[offset] -= 1
                owed += Counter()
                assert ring.release(P, offset) == (offset not in owed)
            case _ if position:
                joined = set(dice.sample(range(1, position + 1), dice.randrange(min(position, 5) + 1)))
                ring.join(P, joined)
                owed.update(joined)
            case _:
                pass
        assert ring.watermark(P, position) == (min(owed) - 1 if owed else position)
        assert ring.events == len(owed)
    assert ring.bytes <= 10 * len(owed)


def test_a_partition_that_is_dropped_takes_no_room_and_is_not_remembered() -> None:
    ring = _ring()
    for offset in (1, 2):
        ring.owe(P, offset, 2, 10)
        ring.owe(P + 1, offset, 1, 20)
        ring.remember(_entry(offset))
        ring.remember(_entry(offset, partition=P + 1))
    ring.drop({P})
    assert (ring.events, ring.bytes, ring.moved) == (2, 40, {P + 1})
    assert (ring.watermark(P, 9), ring.watermark(P + 1, 9)) == (9, 0)
    assert ring.since(P, 0, 2) is None
    assert [entry.offset for entry in ring.since(P + 1, 0, 2) or ()] == [1, 2]
    assert not ring.release(P, 1)  # What ends later is of nobody.
    ring.remember(_entry(3))
    ring.drop({P + 1})
    assert (ring.events, ring.bytes) == (0, 0)
    assert [entry.offset for entry in ring.since(P, 2, 3) or ()] == [3]
