"""Hand entries over as they are offered and read: each once, in order, whatever comes first."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.core.partitioning import partition_of
from angarium.engine import tail as tails
from angarium.engine.registry import Registry, TenantSubscriptions
from angarium.engine.ring import Ring
from angarium.engine.tail import SLICE, Tail
from angarium.model.event import PARTITIONS, Entry, Event, Place
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.store.contract import Publish, Settlement
from angarium.store.memory import MemoryStore
from tests.engine.faults import FrailStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TENANT = "1"
PARTITION = partition_of("p", TENANT)


class Reach:
    """A tail on a store, and what it has handed over: (partition, offset) for each lane."""

    def __init__(self, dice: Random | None = None) -> None:
        self.memory = MemoryStore()
        self.frail = FrailStore(self.memory, dice)
        self.registry = Registry(self.frail.as_store)
        self.room = 10**9
        self.handed: list[tuple[int, int, int]] = []
        self.markers: list[int] = []
        self.ring = Ring(events_max=10**6, bytes_max=10**9)
        self.tail = Tail(
            self.frail.as_store,
            self.registry,
            self.ring,
            deliver=self._deliver,
            marked=lambda entry: self.markers.append(entry.offset),
            advanced=lambda: None,
            has_room=lambda: self.room > 0,
        )

    def _deliver(self, entry: Entry, tenant: TenantSubscriptions, numbers: Sequence[int]) -> None:
        self.room -= 1
        self.handed += [(entry.partition, entry.offset, number) for number in numbers]

    def offsets(self, number: int, partition: int = PARTITION) -> list[int]:
        return [offset for each, offset, whose in self.handed if (each, whose) == (partition, number)]

    async def subscribe(
        self, number: int, *, tenant: str = TENANT, owed: Owed = Owed.PUSH, types: tuple[str, ...] = ()
    ) -> None:
        stored = await self.memory.subscription(number)
        made = Subscription(
            number, f"sub_{number}", "p", tenant, partition_of("p", tenant), 0, 0, Status.ACTIVE, rule=Rule(types)
        )
        version = Version(number, 0, owed, made.rule, made.dialect)
        await self.memory.change(made, version, revision=stored.revision if stored else 0)
        self.registry.forget("p", tenant)

    async def publish(self, count: int = 1, *, tenant: str = TENANT) -> tuple[Sequence[Event], Sequence[Place]]:
        events = tuple(Event("p", tenant, "item", str(number), "update") for number in range(count))
        return events, (await self.memory.accept(Publish("p", events, 1000))).places

    async def begin(self) -> None:
        self.tail.learn(await self.memory.heads())
        self.tail.take_up(dict.fromkeys(range(PARTITIONS), 0))
        self.tail.open()
        self.memory.listen(self.tail.learn)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(5000):
            if holds():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"what was waited for did not come about: {self.handed[-5:]}, {self.tail.positions}")

    async def caught_up(self) -> None:
        await self.until(lambda: {p: o for p, o in self.tail.positions.items() if o} == self.memory._heads)
        await asyncio.sleep(0)


async def test_what_comes_next_is_handed_over_as_it_is_offered() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    await reach.registry.load("p", TENANT)
    events, places = await reach.publish(3)
    reach.tail.offer(events, places)
    assert reach.offsets(1) == [2, 3, 4]
    await reach.caught_up()
    assert (reach.offsets(1), reach.ring.watermark(PARTITION, 4)) == ([2, 3, 4], 4)


async def test_the_same_offer_twice_is_handed_over_once() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    offer = await reach.publish(2)
    for _ in range(3):
        reach.tail.offer(*offer)
        await reach.caught_up()
    assert reach.offsets(1) == [2, 3]


async def test_offers_out_of_order_and_with_gaps_are_read_in_order() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    await reach.registry.load("p", TENANT)
    events, places = await reach.publish(5)
    for number in (3, 1, 4):
        reach.tail.offer(events[number : number + 1], places[number : number + 1])
    assert reach.offsets(1) == []
    await reach.caught_up()
    assert reach.offsets(1) == [2, 3, 4, 5, 6]


async def test_who_wants_an_event_is_as_it_was_where_the_event_stands() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.publish(2)
    await reach.subscribe(1, owed=Owed.NOTHING)
    await reach.publish(2)
    await reach.subscribe(1)
    await reach.publish(2)
    await reach.begin()
    await reach.caught_up()
    assert (reach.offsets(1), reach.markers) == ([2, 3, 8, 9], [1, 4, 7])


async def test_a_marker_between_offers_is_read_before_what_comes_after_it() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    first, second = await reach.publish(), None
    await reach.subscribe(2)
    second = await reach.publish()
    reach.tail.offer(*first)
    reach.tail.offer(*second)
    await reach.caught_up()
    assert (reach.offsets(1), reach.offsets(2), reach.markers) == ([2, 4], [4], [1, 3])


async def test_a_tenant_that_is_not_held_is_loaded_first() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    reach.registry.forget("p", TENANT)
    reach.tail.offer(*await reach.publish())
    assert reach.offsets(1) == []
    await reach.caught_up()
    assert reach.offsets(1) == [2]


async def test_without_room_the_log_is_the_queue() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    reach.room = 3
    for _ in range(10):
        reach.tail.offer(*await reach.publish())
    await asyncio.sleep(0.02)
    assert reach.offsets(1) == [2, 3, 4]
    reach.room = 2
    reach.tail.resume()
    await reach.until(lambda: reach.room == 0)
    assert reach.offsets(1) == [2, 3, 4, 5, 6]
    reach.room = 100
    reach.tail.resume()
    await reach.caught_up()
    assert reach.offsets(1) == list(range(2, 12))


async def test_partitions_take_turns() -> None:
    reach = Reach()
    others = [str(number) for number in range(2, 6)]
    for number, tenant in enumerate(others, start=1):
        await reach.subscribe(number, tenant=tenant)
    await reach.begin()
    for tenant in others:
        await reach.publish(700, tenant=tenant)
    await reach.caught_up()
    for number, tenant in enumerate(others, start=1):
        found = reach.offsets(number, partition_of("p", tenant))
        assert found == sorted(set(found))
        assert len(found) == 700


async def test_many_lanes_are_handed_an_event_in_slices_each_once() -> None:
    reach = Reach()
    for number in range(1, 2 * SLICE + 11):
        await reach.subscribe(number)
    await reach.begin()
    await reach.caught_up()
    reach.tail.offer(*await reach.publish())
    await reach.caught_up()
    assert Counter(number for _, _, number in reach.handed) == Counter(range(1, 2 * SLICE + 11))


async def test_who_is_deleted_between_two_slices_is_left_out() -> None:
    """It was handed over with what the tenant had been before, and made a lane that sent it."""
    reach = Reach()
    last = SLICE + 1
    for number in range(1, last + 1):
        await reach.subscribe(number)
    gone = await reach.memory.subscription(last)
    assert gone is not None

    async def delete() -> None:
        await reach.memory.remove(gone)
        reach.registry.forget("p", TENANT)

    def deliver(entry: Entry, tenant: TenantSubscriptions, numbers: Sequence[int]) -> None:
        if not reach.handed:
            deleting.append(asyncio.get_running_loop().create_task(delete()))
        reach._deliver(entry, tenant, numbers)

    deleting: list[asyncio.Task[None]] = []
    reach.tail._deliver = deliver
    await reach.publish()
    await reach.begin()
    await reach.caught_up()
    assert len(reach.handed) == SLICE
    assert deleting[0].done()


async def test_a_store_that_is_away_is_read_on_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_AWAY_S", 0.01)
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    await reach.caught_up()
    reach.registry.forget("p", TENANT)
    reach.frail.is_away = True
    reach.tail.offer(*await reach.publish(3))
    await asyncio.sleep(0.05)
    assert reach.offsets(1) == []
    reach.frail.is_away = False
    await reach.caught_up()
    assert reach.offsets(1) == [2, 3, 4]


async def test_a_store_that_goes_away_between_two_slices_makes_nobody_get_it_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tails, "_AWAY_S", 0.01)
    reach = Reach()
    for number in range(1, 2 * SLICE + 1):
        await reach.subscribe(number)

    def deliver(entry: Entry, tenant: TenantSubscriptions, numbers: Sequence[int]) -> None:
        if not reach.handed:
            reach.registry.forget("p", TENANT)
            reach.frail.is_away = True
            asyncio.get_running_loop().call_later(0.03, setattr, reach.frail, "is_away", False)  # noqa: FBT003  sets it
        reach._deliver(entry, tenant, numbers)

    reach.tail._deliver = deliver
    await reach.publish()
    await reach.begin()
    await reach.caught_up()
    assert Counter(number for _, _, number in reach.handed) == Counter(range(1, 2 * SLICE + 1))


async def test_an_event_that_breaks_our_code_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read again for ever, before any other partition."""
    monkeypatch.setattr(tails, "_AWAY_S", 0.01)
    whole = TenantSubscriptions.push

    def push(self: TenantSubscriptions, entry: Entry) -> Sequence[int]:
        if entry.event is not None and entry.event.tenant == TENANT and entry.event.object_id == "1":
            raise ZeroDivisionError
        return whole(self, entry)

    monkeypatch.setattr(TenantSubscriptions, "push", push)
    reach = Reach()
    await reach.subscribe(1)
    await reach.subscribe(2, tenant="2")
    await reach.registry.load("p", TENANT)
    await reach.begin()
    await reach.caught_up()
    reach.tail.offer(*await reach.publish(4))
    reach.tail.offer(*await reach.publish(2, tenant="2"))
    await reach.caught_up()
    assert (reach.offsets(1), reach.offsets(2, partition_of("p", "2"))) == ([2, 4, 5], [2, 3])


async def test_what_retention_has_dropped_is_passed_over() -> None:
    reach = Reach()
    await reach.publish(3)
    await reach.memory.settle(Settlement(watermarks={PARTITION: 3}))
    assert await reach.memory.retain(before_ms=5000, limit=100) == 3
    await reach.begin()
    await reach.caught_up()
    assert reach.handed == []
    await reach.tail.close()


async def _publisher(reach: Reach, dice: Random, tenant: str, rounds: int) -> int:
    """Publish now and then, offering what was committed late, out of order or not at all; return how many."""
    total = 0
    for _ in range(rounds):
        events, places = await reach.publish(dice.randrange(1, 6), tenant=tenant)
        total += len(events)
        order = list(range(len(events)))
        if dice.random() < 0.3:
            dice.shuffle(order)
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        for number in order:
            if dice.random() < 0.9:
                reach.tail.offer(events[number : number + 1], places[number : number + 1])
        if dice.random() < 0.2:
            reach.registry.forget("p", tenant)
        if dice.random() < 0.2:
            await asyncio.sleep(0.001)
    return total


async def _run(seed: int) -> None:
    dice = Random(seed)
    reach = Reach(dice)
    tenants = ["1", "2", "3"]
    for number, tenant in enumerate(tenants, start=1):
        await reach.subscribe(number, tenant=tenant)
    await reach.begin()

    async def breathe() -> None:
        while True:
            reach.room = dice.randrange(20)
            reach.tail.resume()
            await asyncio.sleep(0)

    async def come_and_go() -> None:
        for number in range(4, 10):
            await reach.subscribe(number, tenant=dice.choice(tenants))
            await asyncio.sleep(0.001)

    breathing = asyncio.ensure_future(breathe())
    totals = await asyncio.gather(*(_publisher(reach, dice, tenant, 12) for tenant in tenants), come_and_go())
    await reach.caught_up()
    breathing.cancel()
    await reach.tail.close()
    for number, tenant in enumerate(tenants, start=1):
        found = reach.offsets(number, partition_of("p", tenant))
        assert found == sorted(set(found)), "handed over twice, or out of order"
        assert len(found) == totals[number - 1]


@given(st.integers(0, 10**9))
@settings(max_examples=40)
def test_nothing_is_lost_or_handed_over_twice_however_offers_and_reads_cross(seed: int) -> None:
    asyncio.run(_run(seed))


async def test_a_partition_that_is_not_ours_is_not_read_but_its_head_is_known() -> None:
    reach = Reach()
    await reach.subscribe(1)
    reach.tail.learn(await reach.memory.heads())
    reach.tail.open()
    reach.memory.listen(reach.tail.learn)
    await reach.registry.load("p", TENANT)
    reach.tail.offer(*await reach.publish(3))
    assert (reach.tail.heads[PARTITION], reach.offsets(1)) == (4, [])
    reach.tail.take_up({PARTITION: 2})
    await reach.until(lambda: reach.offsets(1) == [3, 4])
    await reach.tail.close()


async def test_what_is_held_is_read_no_more_and_stands_where_it_stood() -> None:
    reach = Reach()
    await reach.subscribe(1)
    await reach.begin()
    reach.tail.offer(*await reach.publish(2))
    await reach.until(lambda: reach.offsets(1) == [2, 3])
    reach.tail.hold({PARTITION})
    reach.tail.offer(*await reach.publish(2))
    await asyncio.sleep(0.02)
    assert (reach.offsets(1), reach.tail.position(PARTITION), reach.tail.heads[PARTITION]) == ([2, 3], 3, 5)
    reach.tail.drop({PARTITION})
    assert reach.tail.position(PARTITION) == 0
    reach.tail.take_up({PARTITION: 3})
    await reach.until(lambda: reach.offsets(1) == [2, 3, 4, 5])
    await reach.tail.close()


@pytest.mark.parametrize("seed", range(20))
async def test_a_partition_that_goes_while_it_is_read_is_handed_to_nobody(seed: int) -> None:
    dice = Random(seed)
    reach = Reach(dice)
    await reach.subscribe(1)
    await reach.begin()
    expected: list[int] = []
    for _ in range(6):
        await reach.publish(dice.randrange(1, 5))
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        reach.tail.drop({PARTITION})
        position, before = dice.randrange(reach.memory._heads[PARTITION] + 1), len(reach.handed)
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        assert len(reach.handed) == before
        reach.handed.clear()
        reach.tail.take_up({PARTITION: position})
        expected = [offset for offset in range(position + 1, reach.memory._heads[PARTITION] + 1) if offset > 1]
    await reach.until(lambda: reach.offsets(1) == expected)
    await reach.tail.close()
