"""Hold what a lane puts into a batch while some of its objects are busy."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from angarium.model.delivery import Outcome, Refused
from angarium.model.subscription import Batch, Coalesce
from tests.core.lane_world import OK, LaneWorld, policy


def test_a_batch_is_in_the_log_s_order_though_an_object_was_busy() -> None:
    """What had waited for its object came first, so that the delivery's last offset was not its highest."""
    world = LaneWorld(policy(batch=Batch(max_events=3, max_wait_ms=1000)))
    world.publish("a", "x", "y", "a", "b", "a", "b")
    world.tail(3)
    world.pump()
    world.tail()
    world.pump()
    world.end(OK)
    world.tick(1)
    world.pump()
    assert world.sent == [(1, 2, 3), (4, 5, 6)]


@given(st.integers(0, 10**9), st.sampled_from(Coalesce))
def test_no_delivery_s_last_event_is_older_than_its_others(seed: int, how: Coalesce) -> None:
    dice = Random(seed)
    world = LaneWorld(policy(batch=Batch(max_events=3, max_wait_ms=1000, coalesce=how)))
    for _ in range(dice.randrange(1, 40)):
        world.publish(*(dice.choice("abcdef") for _ in range(dice.randrange(1, 6))))
        world.tail()
        world.pump()
        if world.wire and dice.random() < 0.6:
            outcomes: list[Outcome] = [OK, OK, Refused(400)]
            world.end(dice.choice(outcomes), which=dice.randrange(len(world.wire)))
        world.tick(dice.choice([0.1, 1, 5]))
        world.pump()
    for offsets in world.sent:
        assert list(offsets) == sorted(offsets)
