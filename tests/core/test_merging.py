"""Hold what a lane that merges does while its receiver fails: one delivery that grows, and nothing lost or doubled."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium.model.delivery import TEST_OFFSET, Origin, Outcome, Refused, Silent, State, Throttled
from angarium.model.subscription import Batch, Coalesce, Ordering, Retry
from angarium.model.wire import Reason
from tests.core.lane_world import OK, LaneWorld, policy

DOWN = Silent(Reason.TIMEOUT)
BATCH = Batch(max_events=3, max_wait_ms=1000, coalesce=Coalesce.LATEST)
ENDLESS = Retry((10.0, 20.0, 40.0), give_up=False, jitter=0.0)


def _world(ordering: Ordering = Ordering.STRICT, batch: Batch = BATCH) -> LaneWorld:
    return LaneWorld(policy(ordering=ordering, batch=batch, retry=ENDLESS), merges=True)


def _go(world: LaneWorld, seconds: float = 0.0) -> None:
    """Let time pass, and the lane read and send what it may."""
    world.tick(seconds)
    world.tail()
    for _ in range(20):
        world.read()
        world.pump()


def _fail(world: LaneWorld) -> None:
    world.end(DOWN)
    world.flush()


def test_what_came_while_it_failed_goes_with_the_next_attempt() -> None:
    world = _world()
    world.publish("a")
    _go(world)
    _go(world, 1)
    _fail(world)
    world.publish("b", "a")
    _go(world, 5)
    assert world.sent == [(1,)]
    _go(world, 5)
    assert world.sent == [(1,), (1, 2, 3)]
    world.end(OK)
    world.flush()
    assert [(each.state, each.members, each.key.last_offset, each.attempts) for each in world.settled] == [
        (State.MERGED, (), 1, 1),
        (State.DELIVERED, (1, 2), 3, 2),
    ]
    assert not world.rows


def test_the_same_is_sent_again_when_nothing_has_come() -> None:
    world = _world()
    world.publish("a", "b")
    _go(world)
    _go(world, 1)
    _fail(world)
    _go(world, 10)
    _fail(world)
    _go(world, 20)
    assert world.sent == [(1, 2)] * 3
    assert world.settled == []


def test_waits_go_on_growing_though_the_delivery_is_a_new_one() -> None:
    world = _world()
    world.publish("a")
    _go(world)
    _go(world, 1)
    for wait in (10, 20, 40, 40, 40):
        _fail(world)
        world.publish("a")
        _go(world, wait - 1)
        assert not world.wire
        _go(world, 1)
        assert world.wire
    assert [record.attempt.number for record in world.attempts] == [1, 2, 3, 4, 5]
    assert world.sent == [tuple(range(1, count)) for count in range(2, 8)]


def test_a_delivery_grows_up_to_a_full_batch() -> None:
    world = _world()
    world.publish("a", "b")
    _go(world)
    _go(world, 1)
    _fail(world)
    world.publish("a", "c", "b", "d", "a")
    _go(world, 10)
    _fail(world)
    _go(world, 20)
    world.end(OK)
    _go(world, 2)
    assert world.sent == [(1, 2), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5), (6, 7)]


def test_each_event_counts_where_nothing_is_folded() -> None:
    world = _world(batch=Batch(max_events=3, max_wait_ms=1000))
    world.publish("a", "a")
    _go(world)
    _go(world, 1)
    _fail(world)
    world.publish("a", "a")
    _go(world, 10)
    assert world.sent[-1] == (1, 2, 3)


def test_a_merged_delivery_s_row_says_all_that_it_holds_and_has_no_body_of_an_older_one() -> None:
    world = _world()
    world.publish("a")
    _go(world)
    _go(world, 1)
    _fail(world)
    [old] = world.rows.values()
    assert old.body == b"{}"
    world.publish("b")
    _go(world, 10)
    world.flush()
    [row] = world.rows.values()
    assert (row.members, row.key.last_offset, row.attempts, row.body) == ((1,), 2, 1, None)
    assert row.opened_ms == old.opened_ms
    world.crash()
    _go(world)
    assert world.sent[-1] == (1, 2)
    world.end(OK)
    world.flush()
    assert sorted(world.covered()) == [1, 2]


def test_a_crash_before_the_merger_is_on_disk_sends_the_old_one_or_merges_again() -> None:
    world = _world()
    world.publish("a")
    _go(world)
    _go(world, 1)
    _fail(world)
    world.publish("b")
    _go(world, 10)
    world.crash()
    world.drain()
    assert sorted(world.covered()) == [1, 2]
    assert not world.rows


def test_what_is_in_another_delivery_waits_for_it() -> None:
    world = _world(Ordering.OBJECT, Batch(max_events=2, max_wait_ms=0))
    world.publish("a", "b", "c", "d")
    world.tail()
    world.pump()
    assert world.sent == [(1, 2), (3, 4)]
    world.end(DOWN)
    world.publish("c", "e")
    _go(world, 10)
    assert world.sent == [(1, 2), (3, 4), (1, 2)]
    world.end(OK)
    world.end(OK)
    _go(world, 1)
    assert world.sent[3:] == [(5, 6)]


def test_what_waited_for_a_delivery_goes_with_it_before_what_came_later() -> None:
    world = _world(Ordering.OBJECT, Batch(max_events=2, max_wait_ms=0, coalesce=Coalesce.LATEST))
    world.publish("a", "b", "c", "d")
    world.tail()
    world.pump()
    world.end(DOWN, which=1)
    world.tick(1)
    world.end(DOWN)
    world.publish("a")
    _go(world, 9)
    assert world.sent[2:] == [(3, 4)]
    world.publish("a")
    world.end(DOWN)
    _go(world, 1)
    assert world.sent[3:] == [(1, 2, 5, 6)]


def test_a_test_is_sent_as_it_is_while_a_delivery_fails() -> None:
    world = _world()
    world.publish("a")
    _go(world)
    _go(world, 1)
    _fail(world)
    [row] = world.rows.values()
    test = replace(row, key=replace(row.key, last_offset=TEST_OFFSET + 1), origin=Origin.TEST, attempts=0)
    world.publish("b")
    world.lane.adopt(test, (), world.now, wait_s=0)
    _go(world, 1)
    assert world.sent[-1] == (TEST_OFFSET + 1,)


POLICIES = [
    policy(ordering=Ordering.STRICT, batch=BATCH, retry=ENDLESS),
    policy(ordering=Ordering.STRICT, batch=Batch(max_events=6, max_wait_ms=500), retry=ENDLESS),
    policy(ordering=Ordering.STRICT, batch=BATCH),
    policy(ordering=Ordering.OBJECT, batch=BATCH, retry=ENDLESS),
    policy(ordering=Ordering.OBJECT, batch=Batch(max_events=4, max_wait_ms=500), max_in_flight=2),
    policy(ordering=Ordering.NONE, batch=BATCH, retry=ENDLESS),
]
OUTCOMES: list[Outcome] = [OK, OK, DOWN, DOWN, Refused(400), Throttled(503, 3.0)]


def _step(world: LaneWorld, dice: Random, *, crashes: bool) -> None:
    match dice.randrange(10):
        case 0 | 1:
            world.publish(*(dice.choice("abcdef") for _ in range(dice.randrange(1, 8))))
        case 2 | 3:
            world.tail(dice.randrange(1, 20))
        case 4 | 5 | 6 if world.wire:
            world.end(dice.choice(OUTCOMES), which=dice.randrange(len(world.wire)))
        case 7:
            world.tick(dice.choice([0.1, 1, 12, 40, 400]))
        case 8:
            world.flush()
        case 9 if crashes and dice.random() < 0.3:
            world.crash()
        case 9 if dice.random() < 0.3:
            world.fall_behind()
        case _:
            pass
    world.read()
    world.pump()


def _run(seed: int, *, crashes: bool) -> LaneWorld:
    dice = Random(seed)
    world = LaneWorld(dice.choice(POLICIES), seed=seed, merges=True)
    for _ in range(dice.randrange(5, 120)):
        _step(world, dice, crashes=crashes)
        if world.policy.ordering is Ordering.STRICT:
            assert len(world.wire) <= 1
    world.drain()
    return world


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_every_event_ends_in_one_delivery_that_was_not_merged(seed: int) -> None:
    world = _run(seed, crashes=False)
    assert sorted(world.covered()) == [entry.offset for entry in world.log]
    assert not world.rows
    assert world.watermark == len(world.log) or world.lane.is_behind


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_no_crash_loses_an_event_of_a_merger(seed: int) -> None:
    world = _run(seed, crashes=True)
    assert set(world.covered()) == {entry.offset for entry in world.log}
    assert not world.rows


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_a_merged_delivery_is_contained_in_one_that_was_sent_later(seed: int) -> None:
    world = _run(seed, crashes=False)
    for each in world.settled:
        if each.state is State.MERGED:
            old = {*each.members, each.key.last_offset}
            assert any(old < set(sent) and max(sent) > each.key.last_offset for sent in world.sent)


@given(st.integers(0, 10**9))
@example(88)
@example(248)
@example(775)
@settings(max_examples=300)
def test_events_of_an_object_are_first_sent_in_order_though_deliveries_are_merged(seed: int) -> None:
    world = _run(seed, crashes=False)
    if world.policy.ordering is Ordering.NONE:
        return
    first_sent, seen = Counter[str](), set[int]()
    for sent in world.sent:
        for offset in sent:
            event = world.log[offset - 1].event
            assert event is not None
            if offset not in seen:
                assert offset > first_sent[event.object_id]
                first_sent[event.object_id] = offset
                seen.add(offset)


@given(st.integers(0, 10**9))
@settings(max_examples=200)
def test_no_merger_is_larger_than_a_batch(seed: int) -> None:
    world = _run(seed, crashes=True)
    batch = world.policy.batch
    for sent in world.sent:
        names = [event.object_id for offset in sent if (event := world.log[offset - 1].event) is not None]
        assert len(set(names) if batch.coalesce is Coalesce.LATEST else names) <= batch.max_events
