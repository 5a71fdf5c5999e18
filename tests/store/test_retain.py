"""Hold what retention promises: what is old goes, in order and a little at a time, and nothing that is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.model.delivery import TEST_OFFSET, Origin, State
from angarium.model.event import Place
from angarium.store.contract import KEY_LASTS_MS, DeliveryQuery, EventQuery, Page, Settlement
from tests.store.values import (
    HOUR,
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    attempt,
    event,
    exhausted_range,
    fill,
    key,
    lane,
    opened,
    publish,
    settled,
    subscribe,
    subscription,
    version,
    watermark,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store

LATER = NOON + HOUR


async def offsets(store: Store) -> list[int]:
    """Return the offsets that are left."""
    return [entry.offset for entry in await store.read(PARTITION, after=0, limit=100)]


async def test_nothing_is_dropped_from_an_empty_store(store: Store) -> None:
    assert await store.retain(before_ms=LATER, limit=10, now_ms=LATER) == 0
    assert set((await store.floors()).values()) == {0}
    assert len(await store.floors()) == 256


async def test_old_entries_go_and_their_offsets_are_not_given_out_again(store: Store) -> None:
    await fill(store, 6)
    await store.settle(watermark(6))
    assert await store.retain(before_ms=NOON + 4, limit=100) == 4
    assert await offsets(store) == [5, 6]
    assert (await store.floors())[PARTITION] == 4
    assert await store.entries(PARTITION, [1, 4, 5]) == await store.read(PARTITION, after=4, limit=1)
    assert [entry.offset for entry in (await store.events(EventQuery(PROJECT), Page())).data] == [6, 5]
    assert await store.retain(before_ms=LATER, limit=100) == 2
    assert await offsets(store) == []
    assert await store.heads() == {PARTITION: 6}
    assert (await store.accept(publish())).places == (Place(PARTITION, 7, NOON),)


async def test_a_limit_is_kept_and_fewer_say_that_none_is_left(store: Store) -> None:
    await fill(store, 5)
    await fill(store, 5, tenant="2")
    await store.settle(Settlement(watermarks={PARTITION: 5, partition_of(PROJECT, "2"): 5}))
    assert [await store.retain(before_ms=LATER, limit=4) for _ in range(4)] == [4, 4, 2, 0]


async def test_more_rows_than_a_commit_drops_are_dropped_by_one_call(store: Store) -> None:
    await store.accept(publish(*(event(number) for number in range(1200))))
    await store.settle(watermark(1200))
    assert await store.retain(before_ms=LATER, limit=1100) == 1100
    assert await store.retain(before_ms=LATER, limit=1100) == 100


async def test_what_lies_above_the_watermark_is_needed(store: Store) -> None:
    await fill(store, 5)
    assert await store.retain(before_ms=LATER, limit=100) == 0
    await store.settle(watermark(3))
    assert await store.retain(before_ms=LATER, limit=100) == 3
    assert await offsets(store) == [4, 5]


async def test_what_a_behind_lane_has_not_read_is_needed(store: Store) -> None:
    await fill(store, 5)
    await subscribe(store)
    await store.settle(Settlement(watermarks={PARTITION: 6}, lanes=[lane(cursor=2)]))
    assert await store.retain(before_ms=LATER, limit=100) == 2
    await store.settle(Settlement(lanes_gone=[(PARTITION, 1)]))
    assert await store.retain(before_ms=LATER, limit=100) == 4


async def test_what_is_open_is_needed_unless_it_is_a_test(store: Store) -> None:
    await fill(store, 5)
    await subscribe(store)
    test = replace(opened(key(TEST_OFFSET + 1), members=(1,)), origin=Origin.TEST)
    await store.settle(Settlement(watermarks={PARTITION: 6}, opened=[opened(key(5), members=(3, 4)), test]))
    assert await store.retain(before_ms=LATER, limit=100) == 2
    assert await offsets(store) == [3, 4, 5, 6]


async def test_an_entry_that_is_not_old_keeps_what_comes_after_it(store: Store) -> None:
    """Clocks may go back: offsets go in order all the same."""
    for now_ms in (NOON, NOON + 9, NOON + 1):
        await store.accept(publish(now_ms=now_ms))
    await store.settle(watermark(3))
    assert await store.retain(before_ms=NOON + 5, limit=100) == 1
    assert await offsets(store) == [2, 3]


async def test_deliveries_go_with_the_last_of_their_entries(store: Store) -> None:
    await fill(store, 5)
    await subscribe(store)
    ranged = exhausted_range(key(5), first_offset=1, count=5)
    await store.settle(
        Settlement(
            watermarks={PARTITION: 4},
            settled=[settled(key(2), members=(1,)), settled(key(4), State.EXHAUSTED), ranged, settled(key(3, 9))],
        )
    )
    assert await store.retain(before_ms=NOON + 3, limit=100) == 5
    left = [each.key.last_offset for each in (await store.deliveries(DeliveryQuery(PROJECT), Page())).data]
    assert left == [5, 4]
    assert await store.counts(PROJECT) == {"exhausted": 6}
    assert await store.delivery(key(2)) is None


async def test_tests_go_by_their_moment(store: Store) -> None:
    await subscribe(store)
    ends = [
        replace(settled(key(TEST_OFFSET + number, last_ms=NOON + number)), origin=Origin.TEST) for number in range(1, 4)
    ]
    await store.settle(Settlement(settled=ends))
    assert await store.retain(before_ms=NOON + 3, limit=1) == 1
    assert await store.retain(before_ms=NOON + 3, limit=100) == 1
    assert [each.key for each in (await store.deliveries(DeliveryQuery(PROJECT), Page())).data] == [ends[2].key]


async def test_attempts_go_by_their_moment(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(attempts=[attempt(key(1), number, at_ms=NOON + number) for number in range(1, 6)]))
    assert await store.retain(before_ms=NOON + 4, limit=2) == 2
    assert await store.retain(before_ms=NOON + 4, limit=2) == 1
    assert [each.number for each in await store.attempts(key(1))] == [4, 5]


async def test_keys_go_when_they_have_expired(store: Store) -> None:
    await store.accept(publish(key="a"))
    await store.accept(publish(key="b", now_ms=NOON + 9))
    assert await store.retain(before_ms=0, limit=100, now_ms=NOON + KEY_LASTS_MS - 1) == 0
    assert await store.retain(before_ms=0, limit=100, now_ms=NOON + KEY_LASTS_MS) == 1
    assert (await store.accept(publish(key="b"))).is_replay
    assert not (await store.accept(publish(key="a"))).is_replay


async def test_versions_go_when_no_entry_is_left_that_they_were_in_force_for(store: Store) -> None:
    await subscribe(store)
    await fill(store, 2)
    for revision in range(1, 4):
        await store.change(subscription(), version(types=(str(revision),)), revision=revision)
    await fill(store, 1)
    assert [each.from_offset for each in await store.versions_of(PROJECT, TENANT)] == [1, 4, 5, 6]
    for below, left in ((1, [1, 4, 5, 6]), (2, [1, 4, 5, 6]), (3, [4, 5, 6]), (4, [5, 6]), (7, [6])):
        await store.settle(watermark(below))
        await store.retain(before_ms=LATER, limit=100)
        assert [each.from_offset for each in await store.versions_of(PROJECT, TENANT)] == left


async def test_what_was_dropped_can_be_listed_past(store: Store) -> None:
    await fill(store, 6)
    first = await store.events(EventQuery(PROJECT), Page(limit=2))
    await store.settle(watermark(6))
    await store.retain(before_ms=NOON + 3, limit=100)
    second = await store.events(EventQuery(PROJECT), Page(limit=2, after=first.next))
    assert ([entry.offset for entry in second.data], second.next) == ([4], None)
    assert [entry.offset for entry in (await store.events(EventQuery(PROJECT, since_ms=NOON + 5), Page())).data] == [6]
