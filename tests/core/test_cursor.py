"""Keep account by hand, and of a lane at random: the cursor and what is above it describe exactly what is resolved."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.core.cursor import Progress

LAST = 80


def _behind(read_to: int, owed: list[int], resolved: list[int]) -> Progress:
    progress = Progress()
    progress.read(owed, read_to)
    for offset in resolved:
        progress.resolve(offset)
    return progress


@pytest.mark.parametrize(
    ("resolved", "cursor", "above"),
    [
        ([], 2, ()),
        ([3], 4, ()),
        ([5], 2, (5,)),
        ([9], 2, (9,)),
        ([5, 3], 8, ()),
        ([3, 9], 4, (9,)),
        ([9, 5, 3], 10, ()),
    ],
)
def test_what_is_resolved_is_below_the_cursor_or_listed(
    resolved: list[int], cursor: int, above: tuple[int, ...]
) -> None:
    progress = _behind(10, [3, 5, 9], resolved)
    assert (progress.cursor, progress.above) == (cursor, above)


def test_an_offset_is_resolved_once() -> None:
    progress = _behind(10, [3, 5], [])
    assert [progress.resolve(offset) for offset in (5, 5, 4, 3, 3)] == [True, False, False, True, False]


def test_a_live_lane_that_falls_behind_has_its_cursor_before_what_it_drops() -> None:
    progress = Progress()
    for offset in (2, 4, 6, 8):
        progress.take_up(offset)
    progress.resolve(4)
    progress.drop([6, 8], 9)
    assert (progress.read_to, progress.cursor, progress.above) == (5, 1, (4,))
    progress.resolve(2)
    assert (progress.cursor, progress.above) == (5, ())


def test_what_was_resolved_beyond_what_is_dropped_is_read_over() -> None:
    progress = Progress()
    for offset in (2, 4, 6, 8):
        progress.take_up(offset)
    progress.resolve(6)
    progress.drop([2, 4], 9)
    assert (progress.cursor, progress.above) == (1, (6,))
    assert progress.read([2, 4, 6, 8], 9) == [2, 4]
    progress.resolve(2)
    progress.resolve(4)
    assert (progress.cursor, progress.above) == (7, ())


def test_who_drops_nothing_has_come_to_the_tail_s_position() -> None:
    progress = Progress()
    progress.take_up(2)
    progress.resolve(2)
    progress.drop([], 9)
    assert (progress.cursor, progress.above) == (9, ())


def test_a_new_owner_skips_what_is_above_its_cursor() -> None:
    progress = Progress(4, (6, 9))
    assert progress.read([5, 6, 7, 8, 9], 9) == [5, 7, 8]
    assert (progress.cursor, progress.above) == (4, (6, 9))


def test_what_an_earlier_owner_resolved_is_kept_above_the_cursor() -> None:
    """It was in nobody's account, so that the owner after that sent it once more."""
    progress = Progress()
    progress.pass_over(1)
    progress.take_up(2)
    progress.pass_over(3)
    progress.take_up(4)
    progress.drop([4], 5)
    assert (progress.cursor, progress.above) == (1, (3,))


def test_what_is_not_owed_moves_the_cursor_on() -> None:
    progress = Progress(4)
    assert progress.read([], 100) == []
    assert progress.cursor == 100


class _Lane:
    """A lane's account beside a plain one: what waits in it, what is sealed, and what is resolved."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.owed = [offset for offset in range(1, LAST) if dice.random() < 0.6]
        self.progress = Progress()
        self.position = 0
        self.is_behind = False
        self.waiting: set[int] = set()
        self.sealed: set[int] = set()
        self.resolved: set[int] = set()

    def between(self, after: int, until: int) -> list[int]:
        return [offset for offset in self.owed if after < offset <= until]

    def step(self) -> None:
        match self.dice.randrange(10):
            case 0 | 1 | 2:
                self.arrive(self.dice.randrange(1, 6))
            case 3 | 4:
                self.seal(self.dice.randrange(1, 4))
            case 5 | 6:
                self.resolve(self.dice.randrange(1, 4))
            case 7:
                self.fall_behind()
            case 8:
                self.crash()
            case _:
                self.read(self.dice.randrange(1, 10))

    def arrive(self, count: int) -> None:
        until = min(self.position + count, LAST)
        if not self.is_behind:
            for offset in self.between(self.position, until):
                self.progress.take_up(offset)
                self.hold([offset])
        self.position = until

    def hold(self, offsets: list[int]) -> None:
        assert not (self.waiting | self.sealed) & set(offsets), "an offset is held twice"
        assert not self.resolved & set(offsets), "an offset is handed over again"
        self.waiting.update(offsets)

    def seal(self, count: int) -> None:
        sealed = set(self.dice.sample(sorted(self.waiting), min(count, len(self.waiting))))
        self.waiting -= sealed
        self.sealed |= sealed

    def resolve(self, count: int) -> None:
        """Settle what was sealed, or let something that waits have a row."""
        held = sorted(self.waiting | self.sealed)
        for offset in self.dice.sample(held, min(count, len(held))):
            assert self.progress.resolve(offset)
            self.waiting.discard(offset)
            self.sealed.discard(offset)
            self.resolved.add(offset)

    def fall_behind(self) -> None:
        self.progress.drop(self.waiting, self.progress.read_to if self.is_behind else self.position)
        self.waiting.clear()
        self.is_behind = True

    def crash(self) -> None:
        if self.is_behind:  # What it held is lost; the row is all that a new owner has.
            self.progress = Progress(self.progress.cursor, self.progress.above)
            self.waiting.clear()
            self.sealed.clear()

    def read(self, count: int) -> None:
        if self.is_behind:
            owed = self.between(self.progress.read_to, self.position)
            until = owed[count - 1] if len(owed) >= count else self.position
            self.hold(self.progress.read(owed[:count], until))

    def check(self) -> None:
        if self.is_behind:
            cursor, above = self.progress.cursor, self.progress.above
            assert list(above) == sorted(offset for offset in self.resolved if offset > cursor)
            assert {offset for offset in self.owed if offset <= cursor} <= self.resolved


@given(st.integers(0, 10**9), st.integers(1, 120))
@settings(max_examples=300)
def test_whatever_the_order_nothing_is_lost_and_nothing_doubled(seed: int, steps: int) -> None:
    lane = _Lane(Random(seed))
    for _ in range(steps):
        lane.step()
        lane.check()
    lane.fall_behind()
    lane.position = LAST
    while len(lane.resolved) < len(lane.owed):
        lane.read(5)
        lane.resolve(5)
        lane.check()
    lane.read(5)
    assert sorted(lane.resolved) == lane.owed
    assert (lane.progress.cursor, lane.progress.above) == (LAST, ())
