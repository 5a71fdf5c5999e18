"""Write what became of deliveries, in their order, whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from angarium.core.lane import Lane
from angarium.core.policy import resolve
from angarium.dialects.registry import dialect
from angarium.engine import settler as settlers
from angarium.engine.settler import PENDING_MAX, Settler
from angarium.errors import OwnershipLost
from angarium.model.delivery import Attempt, Key, Open, Settled, State
from angarium.store.memory import MemoryStore
from tests.engine.faults import FrailStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from angarium.store.contract import Settlement

P = 3


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pause take long."""
    for name in ("REST_S", "LAZY_S", "AWAY_S"):
        monkeypatch.setattr(settlers, name, 0.001)


class Desk:
    """A settler on a store that may fail."""

    def __init__(self, dice: Random | None = None, *, lag_s: float = 0.0) -> None:
        self.memory = MemoryStore()
        self.store = FrailStore(self.memory, dice, lag_s=lag_s)
        self.marks: dict[int, int] = {}
        self.flushed: list[Settlement] = []
        self.settler = Settler(self.store.as_store, watermarks=self._watermarks, flushed=self.flushed.append)

    def _watermarks(self) -> Mapping[int, int]:
        moved, self.marks = self.marks, {}
        return moved

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(5000):
            if holds():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("what was waited for did not come about")


def _key(offset: int) -> Key:
    return Key(P, offset, 7, 1000)


def _settled(offset: int, state: State = State.DELIVERED) -> Settled:
    return Settled(_key(offset), state, 2000)


def _lane(number: int = 7) -> Lane:
    lane = Lane(number, P, resolve(dialect("standard").policy, {}))
    lane.fall_behind(5)
    return lane


async def test_what_is_added_together_is_written_together() -> None:
    desk = Desk()
    desk.settler.settle(_settled(1), closes=False)
    desk.settler.open(Open(_key(2)))
    desk.settler.attempt(Attempt(_key(2), 1, 1500, 500, "status", 3))
    desk.settler.lane(_lane())
    desk.marks = {P: 4}
    await desk.settler.settle_all()
    (written,) = desk.store.settlements
    assert [settled.key.last_offset for settled in written.settled] == [1]
    assert [row.key.last_offset for row in written.opened] == [2]
    assert [attempt.number for attempt in written.attempts] == [1]
    assert [row.subscription for row in written.lanes] == [7]
    assert written.watermarks == {P: 4}
    assert (desk.flushed, desk.settler.rows, desk.settler.unsettled) == ([written], 1, 0)


async def test_where_nothing_is_to_be_written_nothing_is_asked_of_the_store() -> None:
    """Whoever had handed over all waited, at its end, for a store that would not take even that."""
    desk = Desk()
    desk.store.is_away = True
    await desk.settler.settle_all()
    assert desk.store.settlements == []


async def test_a_row_that_is_settled_before_it_was_written_is_never_written() -> None:
    desk = Desk()
    desk.settler.open(Open(_key(1)))
    desk.settler.settle(_settled(1), closes=True)
    await desk.settler.settle_all()
    assert (await desk.memory.opens(), await desk.memory.delivery(_key(1))) == ([], _settled(1))


async def test_a_row_is_gone_once_its_delivery_is_settled() -> None:
    desk = Desk()
    desk.settler.open(Open(_key(1)))
    await desk.settler.settle_all()
    assert len(await desk.memory.opens()) == 1
    desk.settler.settle(_settled(1), closes=True)
    await desk.settler.settle_all()
    assert await desk.memory.opens() == []


async def test_a_delivery_that_is_opened_again_at_once_is_open() -> None:
    desk = Desk()
    desk.settler.settle(_settled(1), closes=True)
    desk.settler.open(Open(_key(1), attempts=1))
    await desk.settler.settle_all()
    assert [row.attempts for row in await desk.memory.opens()] == [1]


async def test_a_row_that_waits_or_is_being_written_can_be_read() -> None:
    desk = Desk()
    desk.store.is_slow = True
    row = Open(_key(1), attempts=3)
    desk.settler.open(row)
    assert desk.settler.opened(_key(1)) is row
    await desk.until(lambda: bool(desk.store.waiting))
    assert desk.settler.opened(_key(1)) is row
    desk.store.catch_up()
    await desk.settler.settle_all()
    assert desk.settler.opened(_key(1)) is None


async def test_a_lane_is_written_as_it_stands_when_it_is_written() -> None:
    desk = Desk()
    lane = _lane()
    desk.settler.lane(lane)
    lane.count(6)
    lane.count(8)
    await desk.settler.settle_all()
    (row,) = await desk.memory.lanes()
    assert (row.cursor, row.waiting, row.counted_to) == (5, 2, 8)


async def test_a_lane_that_has_joined_is_not_written_and_one_that_fell_behind_again_is() -> None:
    desk = Desk()
    lane = _lane()
    desk.settler.lane(lane)
    lane.join(5)
    desk.settler.lane_gone(P, 7)
    await desk.settler.settle_all()
    assert await desk.memory.lanes() == []
    desk.settler.lane_gone(P, 7)
    lane.fall_behind(9)
    desk.settler.lane(lane)
    await desk.settler.settle_all()
    assert [row.cursor for row in await desk.memory.lanes()] == [9]


async def test_while_the_store_is_away_nothing_is_lost_and_all_is_written_once_it_is_back() -> None:
    desk = Desk()
    desk.store.is_away = True
    for offset in range(1, 6):
        desk.settler.settle(_settled(offset), closes=False)
        await desk.until(lambda: desk.settler.is_away)
    assert desk.settler.unsettled == 5
    desk.store.is_away = False
    await desk.settler.settle_all()
    assert not desk.settler.is_away
    written = [settled.key.last_offset for each in desk.store.settlements for settled in each.settled]
    assert written == [1, 2, 3, 4, 5]
    assert (desk.settler.rows, desk.settler.unsettled) == (5, 0)


async def test_what_is_added_while_something_is_written_comes_afterwards() -> None:
    desk = Desk()
    desk.store.is_slow = True
    desk.settler.open(Open(_key(1)))
    await desk.until(lambda: bool(desk.store.waiting))
    desk.settler.settle(_settled(1), closes=True)
    desk.store.catch_up()
    await desk.settler.settle_all()
    assert len(desk.store.settlements) == 2
    assert await desk.memory.opens() == []


async def test_a_watermark_that_moves_while_something_is_written_is_written_too() -> None:
    """It waited until the next delivery, however long that took."""
    desk = Desk()
    desk.store.is_slow = True
    desk.settler.settle(_settled(1), closes=False)
    await desk.until(lambda: bool(desk.store.waiting))
    desk.marks = {P: 9}
    desk.settler.touch()
    desk.store.catch_up()
    await desk.until(lambda: len(desk.flushed) == 2)
    assert await desk.memory.watermarks() == {P: 9}


async def test_who_waits_for_what_was_added_is_called_once_it_is_written() -> None:
    desk = Desk()
    desk.store.fails = 1
    seen: list[int] = []
    desk.settler.open(Open(_key(1)))
    desk.settler.after(lambda: seen.append(len(desk.store.settlements)))
    await desk.settler.settle_all()
    desk.settler.after(lambda: seen.append(len(desk.store.settlements)))
    await desk.settler.settle_all()
    assert seen == [1, 1]


async def test_there_is_room_while_the_store_keeps_up() -> None:
    desk = Desk()
    for offset in range(PENDING_MAX):
        assert desk.settler.has_room
        desk.settler.settle(_settled(offset), closes=False)
    assert not desk.settler.has_room
    await desk.settler.settle_all()
    assert desk.settler.has_room


async def _run(seed: int) -> None:
    """Open and settle deliveries at random on a store that lags and fails; what is left is what was said last."""
    dice = Random(seed)
    desk = Desk(dice, lag_s=0.002)
    said: dict[Key, Open | Settled] = {}
    order: list[Key] = []
    for _ in range(dice.randrange(1, 60)):
        offset = dice.randrange(1, 8)
        key, held = _key(offset), said.get(_key(offset))
        if held is None or isinstance(held, Settled) or dice.random() < 0.5:
            attempts = held.attempts + 1 if isinstance(held, Open) else 0
            said[key] = row = Open(key, attempts=attempts)
            desk.settler.open(row)
        else:
            said[key] = settled = _settled(offset, dice.choice([State.DELIVERED, State.EXHAUSTED]))
            order.append(key)
            desk.settler.settle(settled, closes=True)
        if dice.random() < 0.3:
            desk.store.fails += dice.randrange(3)
        if dice.random() < 0.4:
            await asyncio.sleep(dice.random() * 0.003)
    await desk.settler.settle_all()
    for key, last in said.items():
        assert await desk.memory.delivery(key) == last
    assert [settled.key for each in desk.store.settlements for settled in each.settled] == order
    assert desk.settler.unsettled == 0


@given(st.integers(0, 10**9))
@hypothesis_settings(max_examples=40)
def test_what_was_said_last_is_what_is_kept(seed: int) -> None:
    asyncio.run(_run(seed))


class LostStore(FrailStore):
    """A store that refuses what is of some partitions."""

    lost: frozenset[int] = frozenset()

    def _settle(self, settlement: Settlement, future: asyncio.Future[None]) -> None:
        if any(each.key.partition in self.lost for each in settlement.settled):
            future.set_exception(OwnershipLost("a partition is not owned here"))
        else:
            super()._settle(settlement, future)


async def test_what_is_dropped_is_not_written_and_the_rest_is() -> None:
    desk = Desk()
    desk.settler.settle(_settled(1), closes=True)
    desk.settler.open(Open(_key(2)))
    desk.settler.attempt(Attempt(_key(2), 1, 1500, 500, "status", 3))
    desk.settler.lane(_lane())
    desk.settler.lane_gone(P, 9)
    other = Settled(Key(P + 1, 1, 8, 1000), State.DELIVERED, 2000)
    desk.settler.settle(other, closes=False)
    desk.settler.drop({P})
    assert desk.settler.unsettled == 1
    await desk.settler.settle_all()
    (written,) = desk.flushed
    assert (list(written.settled), written.opened, written.closed, written.lanes) == ([other], [], [], [])
    assert (written.attempts, written.lanes_gone, desk.settler.unsettled) == ([], [], 0)


async def test_what_the_store_refuses_is_dropped_and_the_rest_is_written_without_it() -> None:
    desk = Desk()
    desk.store = LostStore(desk.memory)
    desk.store.lost = frozenset({P})
    told: list[bool] = []

    def lost() -> None:
        told.append(True)
        desk.settler.drop({P})

    desk.settler = Settler(desk.store.as_store, watermarks=desk._watermarks, flushed=desk.flushed.append, lost=lost)
    other = Settled(Key(P + 1, 1, 8, 1000), State.DELIVERED, 2000)
    desk.settler.settle(_settled(1), closes=False)
    desk.settler.settle(other, closes=False)
    await desk.settler.settle_all()
    assert told == [True]
    assert [list(each.settled) for each in desk.flushed] == [[other]]
    assert (desk.settler.unsettled, desk.settler.is_away) == (0, False)


async def test_whoever_waits_for_what_was_dropped_waits_no_longer() -> None:
    desk = Desk()
    desk.store.is_away = True
    desk.settler.settle(_settled(1), closes=False)
    waiting = asyncio.ensure_future(desk.settler.settle_all())
    await desk.until(lambda: desk.settler.is_away)
    desk.settler.drop({P})
    await waiting
    assert (desk.settler.unsettled, desk.memory._settled) == (0, {})


async def test_what_is_settled_anew_after_a_drop_is_written() -> None:
    desk = Desk()
    desk.store.is_away = True
    desk.settler.settle(_settled(1), closes=False)
    await desk.until(lambda: desk.settler.is_away)
    desk.settler.drop({P})
    desk.settler.settle(_settled(2), closes=False)
    desk.store.is_away = False
    await desk.settler.settle_all()
    assert list(desk.memory._settled) == [_key(2)]
