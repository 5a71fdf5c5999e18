"""Lead a lane through its states by hand, then at random: nothing is lost, repeated, or out of its object's order."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.model.delivery import Gone, Outcome, Refused, Silent, State, Throttled
from angarium.model.subscription import Batch, Coalesce, Ordering, Retry
from angarium.model.wire import Reason
from tests.core.lane_world import OK, LaneWorld, policy

DOWN = Silent(Reason.REFUSED)


def test_events_go_at_once_as_many_as_the_policy_lets() -> None:
    world = LaneWorld()
    world.publish(*"abcdef")
    world.tail()
    world.pump()
    assert world.sent == [(1,), (2,), (3,), (4,)]
    world.end()
    world.pump()
    assert world.sent[4:] == [(5,)]


def test_an_event_waits_for_the_one_of_its_object() -> None:
    world = LaneWorld()
    world.publish("a", "a", "b")
    world.tail()
    world.pump()
    assert world.sent == [(1,), (3,)]
    world.end()
    world.pump()
    assert world.sent == [(1,), (3,), (2,)]


def test_what_waits_for_a_failed_object_gets_a_row_so_that_the_watermark_can_pass() -> None:
    world = LaneWorld()
    world.publish("a", "a", "b", "a")
    world.tail()
    world.pump()
    world.end(Refused(400))
    world.pump()
    world.end(OK)
    world.flush()
    assert sorted(key.last_offset for key in world.rows) == [1, 2, 4]
    assert world.watermark == 4
    world.tick(10)
    world.pump()
    world.end(OK)
    world.pump()
    world.end(OK)
    world.pump()
    assert world.sent == [(1,), (3,), (1,), (2,), (4,)]


def test_without_order_nothing_waits() -> None:
    world = LaneWorld(policy(ordering=Ordering.NONE))
    world.publish("a", "a")
    world.tail()
    world.pump()
    assert world.sent == [(1,), (2,)]


def test_in_strict_order_the_head_blocks_until_its_schedule_has_ended() -> None:
    world = LaneWorld(policy(ordering=Ordering.STRICT))
    world.publish("a", "b")
    world.tail()
    for _ in range(3):
        world.pump()
        world.end(Refused(400))
        world.tick(10)
    world.drain()
    assert world.sent == [(1,), (1,), (1,), (2,)]
    assert [settled.state for settled in world.settled] == [State.EXHAUSTED, State.DELIVERED]


def test_five_failures_in_a_row_open_the_breaker_and_the_lane_falls_behind() -> None:
    world = LaneWorld(policy(max_in_flight=8, retry=Retry((1000.0,) * 9, jitter=0.0)))
    world.publish(*map(str, range(100)))
    world.tail()
    world.pump()
    world.end_all(DOWN)
    assert (len(world.sent), world.lane.is_behind, world.lane.in_flight) == (8, True, 0)
    for _ in range(20):  # Twenty minutes, one look a minute.
        world.tick(60)
        world.read()
        world.pump()
        world.end_all(DOWN)
    # Eight retries at their own moments, and probes after 30 s, 60 s, 2 min, 4 min, and every 5 min.
    assert len(world.sent) <= 8 + 8 + 8
    world.drain()
    assert sorted(world.covered()) == list(range(1, 101))


def test_a_dead_receiver_of_one_busy_object_gets_a_row_a_pause_not_all_at_once() -> None:
    """Each look found only events behind the same object, and the next look came at once: 256 rows in no time."""
    world = LaneWorld(policy(max_in_flight=8, retry=Retry((100_000.0,) * 9, jitter=0.0)))
    world.publish(*"abcde")
    world.tail()
    world.pump()
    world.end_all(DOWN)
    world.publish(*["a"] * 400)
    world.tail()
    world.tick(31)
    for _ in range(200):  # Twenty seconds from the probe's moment on, ten looks a second.
        world.read()
        world.pump()
        world.tick(0.1)
    assert (len(world.sent), len(world.lane.opened)) == (5, 6)


def test_a_lane_that_is_well_again_starts_slowly() -> None:
    world = LaneWorld(policy(max_in_flight=8, retry=Retry((10_000.0,) * 9, jitter=0.0)))
    world.publish(*map(str, range(100)))
    world.tail()
    world.pump()
    world.end_all(DOWN)
    world.tick(31)
    world.read()
    world.pump()
    assert len(world.wire) == 1
    together = []
    for _ in range(5):
        world.end_all(OK)
        world.read()
        world.pump()
        together.append(len(world.wire))
    assert together == [1, 2, 8, 8, 8]


def test_a_failed_probe_exhausts_what_is_older_than_its_lifetime_as_one_range() -> None:
    world = LaneWorld(policy(max_in_flight=8))
    world.publish(*map(str, range(100)))
    world.tail()
    world.pump()
    world.end_all(DOWN)
    world.tick(100)
    world.publish("new")
    world.tail()
    world.pump()
    world.end(DOWN)
    world.flush()
    (range_row,) = [settled for settled in world.settled if settled.count]
    assert (range_row.first_offset, range_row.key.last_offset, range_row.count) == (9, 100, 92)
    assert (range_row.state, world.lane.waiting) == (State.EXHAUSTED, 1)


def test_retry_after_holds_the_whole_lane() -> None:
    world = LaneWorld()
    world.publish("a")
    world.tail()
    world.pump()
    world.end(Throttled(429, 60.0))
    world.publish("b")
    world.tail()
    world.tick(59)
    world.pump()
    assert world.sent == [(1,)]
    assert world.lane.wakes_at(world.now) == pytest.approx(world.mono + 1)
    world.tick(1)
    world.pump()
    assert world.sent == [(1,), (1,), (2,)]


def test_a_gone_receiver_is_given_up() -> None:
    world = LaneWorld()
    world.publish("a")
    world.tail()
    world.pump()
    world.end(Gone())
    world.flush()
    assert (world.given_up, world.settled[0].state) == (["the receiver answered 410 Gone"], State.EXHAUSTED)


def test_a_receiver_that_fails_for_five_days_is_given_up() -> None:
    world = LaneWorld(policy(retry=Retry((86_400.0,) * 9, jitter=0.0)))
    world.publish(*"abcdef")
    world.tail()
    for _ in range(7):
        world.read()
        world.pump()
        world.end_all(DOWN)
        world.tick(86_400)
    assert world.given_up
    assert set(world.given_up) == {"it has been failing for five days"}


def test_a_rate_spaces_requests() -> None:
    world = LaneWorld(policy(per_minute=60, ordering=Ordering.NONE))
    world.publish(*"abc")
    world.tail()
    world.pump()
    assert world.sent == [(1,)]
    assert world.lane.wakes_at(world.now) == pytest.approx(world.mono + 1)
    world.tick(1)
    world.pump()
    assert world.sent == [(1,), (2,)]


def test_a_batch_goes_when_it_is_full_or_has_waited() -> None:
    world = LaneWorld(policy(batch=Batch(max_events=3, max_wait_ms=1000)))
    world.publish(*"abcd")
    world.tail()
    world.pump()
    assert world.sent == [(1, 2, 3)]
    world.tick(1)
    world.pump()
    assert world.sent == [(1, 2, 3), (4,)]


def test_a_batch_has_its_row_before_it_is_sent() -> None:
    world = LaneWorld(policy(batch=Batch(max_events=2, max_wait_ms=1000)))
    world.publish(*"ab")
    world.tail()
    world.pump()
    world.flush()
    assert [row.members for row in world.rows.values()] == [(1,)]


def test_a_batch_of_last_states_is_counted_in_objects() -> None:
    world = LaneWorld(policy(batch=Batch(max_events=2, max_wait_ms=1000, coalesce=Coalesce.LATEST)))
    world.publish(*"aaaabaac")
    world.tail()
    world.pump()
    assert world.sent == [(1, 2, 3, 4, 5, 6, 7)]


def test_nothing_goes_while_paused_and_all_goes_after() -> None:
    world = LaneWorld()
    world.publish(*"abc")
    world.tail()
    world.fall_behind()
    world.lane.pause(world.position)
    world.read()
    world.pump()
    assert (world.sent, world.lane.backlog, world.lane.wakes_at(world.now)) == ([], 3, None)
    world.lane.resume(world.now)
    world.drain()
    assert sorted(world.covered()) == [1, 2, 3]


def test_closing_settles_all_that_is_not_on_the_wire() -> None:
    world = LaneWorld(policy(max_in_flight=2))
    world.publish(*"abcd")
    world.tail()
    world.pump()
    world.end(Refused(400))
    world.fall_behind()
    world.lane.close(State.CANCELLED, "deleted", world.position, world.now)
    world.carry_out()
    world.end(Refused(400))
    world.flush()
    assert [(settled.key.last_offset, settled.state) for settled in world.settled] == [
        (1, State.CANCELLED),
        (2, State.CANCELLED),
    ]
    assert (world.lane.waiting, world.rows) == (2, {})


def test_an_idle_lane_can_be_forgotten_and_a_failing_one_cannot() -> None:
    world = LaneWorld()
    world.publish("a")
    world.tail()
    assert not world.lane.is_idle
    world.pump()
    world.end(DOWN)
    assert not world.lane.is_idle
    world.tick(10)
    world.pump()
    world.end(OK)
    assert world.lane.is_idle


POLICIES = [
    policy(),
    policy(ordering=Ordering.STRICT),
    policy(ordering=Ordering.NONE, max_in_flight=2),
    policy(batch=Batch(max_events=3, max_wait_ms=2000)),
    policy(batch=Batch(max_events=2, max_wait_ms=2000, coalesce=Coalesce.LATEST), per_minute=60),
    policy(retry=Retry((5.0,), give_up=False, jitter=0.0), max_in_flight=3),
]
OUTCOMES: list[Outcome] = [OK, OK, OK, OK, DOWN, Refused(400), Throttled(503, 3.0)]


def _step(world: LaneWorld, dice: Random, *, crashes: bool) -> None:
    match dice.randrange(12):
        case 0 | 1 | 2:
            world.publish(*(dice.choice("abcde") for _ in range(dice.randrange(1, 12))))
        case 3 | 4:
            world.tail(dice.randrange(1, 20))
        case 5 | 6 if world.wire:
            world.end(dice.choice(OUTCOMES), which=dice.randrange(len(world.wire)))
        case 7:
            world.end_all(DOWN if dice.random() < 0.5 else OK)
        case 8:
            world.tick(dice.choice([0.1, 1, 12, 40, 400]))
        case 9:
            world.flush()
        case 10 if dice.random() < 0.3:
            _pause_or_resume(world)
        case 11 if crashes and dice.random() < 0.3:
            world.crash()
        case 11:
            world.fall_behind()
        case _:
            pass
    world.read()
    world.pump()


def _pause_or_resume(world: LaneWorld) -> None:
    if world.lane.is_paused:
        world.lane.resume(world.now)
    else:
        world.fall_behind()
        world.lane.pause(world.position)


def _limit(world: LaneWorld) -> int:
    return 1 if world.policy.ordering is Ordering.STRICT else world.policy.max_in_flight


def _run(seed: int, *, crashes: bool) -> LaneWorld:
    dice = Random(seed)
    world = LaneWorld(dice.choice(POLICIES), seed=seed)
    for _ in range(dice.randrange(5, 120)):
        _step(world, dice, crashes=crashes)
        assert len(world.wire) <= _limit(world)
    if world.lane.is_paused:
        world.lane.resume(world.now)
    world.drain()
    return world


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_every_event_ends_settled_exactly_once(seed: int) -> None:
    world = _run(seed, crashes=False)
    assert sorted(world.covered()) == [entry.offset for entry in world.log]
    assert not world.rows
    assert world.watermark == len(world.log) or world.lane.is_behind


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_no_crash_loses_an_event(seed: int) -> None:
    world = _run(seed, crashes=True)
    assert set(world.covered()) == {entry.offset for entry in world.log}
    assert not world.rows


@given(st.integers(0, 10**9))
@settings(max_examples=300)
def test_events_of_an_object_are_first_sent_in_order_and_never_twice_at_once(seed: int) -> None:
    world = _run(seed, crashes=False)
    if world.policy.ordering is Ordering.NONE:
        return
    first_sent = Counter[str]()
    for offsets in dict.fromkeys(world.sent):
        for offset in offsets:
            event = world.log[offset - 1].event
            assert event is not None
            assert offset > first_sent[event.object_id]
            first_sent[event.object_id] = offset
