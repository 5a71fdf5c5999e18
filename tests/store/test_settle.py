"""Hold what `settle` promises: a flush is written whole, and what it says last is what stands."""

from __future__ import annotations

from asyncio import gather
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.model.delivery import TEST_OFFSET, LaneRow, Origin, State
from angarium.store.contract import DeliveryQuery, Page, Settlement
from tests.store.values import (
    PARTITION,
    PROJECT,
    TENANT,
    attempt,
    exhausted_range,
    fill,
    key,
    lane,
    opened,
    publish,
    settled,
    subscribe,
    watermark,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store


async def test_a_new_store_owes_nothing(store: Store) -> None:
    assert await store.watermarks() == {}
    assert await store.lanes() == []
    assert await store.opens() == []
    assert await store.settled_after(PARTITION, 0) == []
    assert await store.counts(PROJECT) == {}
    assert await store.delivery(key(1)) is None
    assert await store.attempts(key(1)) == []


async def test_a_settled_delivery_comes_back_whole(store: Store) -> None:
    await subscribe(store)
    full = settled(key(9), members=(3, 5, 8))
    await store.settle(Settlement(settled=[full]))
    assert await store.delivery(key(9)) == full
    assert await store.settled_after(PARTITION, 8) == [full]
    assert await store.settled_after(PARTITION, 9) == []
    assert await store.counts(PROJECT) == {"delivered": 1}


async def test_a_range_counts_for_all_that_it_stands_for(store: Store) -> None:
    await subscribe(store)
    gone = exhausted_range(key(90), first_offset=10, count=70)
    await store.settle(Settlement(settled=[gone, settled(key(95), State.EXHAUSTED)]))
    assert await store.delivery(key(90)) == gone
    assert await store.counts(PROJECT) == {"exhausted": 71}


async def test_an_open_delivery_comes_back_whole_until_it_is_closed(store: Store) -> None:
    await subscribe(store)
    waiting = opened(key(9), members=(3, 5))
    await store.settle(Settlement(opened=[waiting]))
    assert await store.opens() == [waiting]
    assert await store.delivery(key(9)) == waiting
    assert await store.counts(PROJECT) == {"retrying": 1}
    again = replace(waiting, attempts=2, next_ms=waiting.next_ms + 9, status=0, reason="timeout")
    await store.settle(Settlement(opened=[again]))
    assert await store.opens() == [again]
    await store.settle(Settlement(closed=[key(9)], settled=[settled(key(9))]))
    assert await store.opens() == []
    assert await store.delivery(key(9)) == settled(key(9))
    assert await store.counts(PROJECT) == {"delivered": 1}


async def test_a_body_of_one_that_has_not_failed_is_none_and_an_empty_one_is_empty(store: Store) -> None:
    await subscribe(store)
    fresh, empty = replace(opened(key(1)), body=None), replace(opened(key(2)), body=b"")
    await store.settle(Settlement(opened=[fresh, empty]))
    assert await store.opens() == [fresh, empty]


async def test_what_is_closed_and_opened_in_one_flush_is_open(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(opened=[opened(key(1))], lanes=[lane(cursor=1)]))
    again = opened(key(1), attempts=5)
    await store.settle(
        Settlement(closed=[key(1)], opened=[again], lanes_gone=[(PARTITION, 1)], lanes=[lane(cursor=7)]),
    )
    assert await store.opens() == [again]
    assert await store.lanes() == [lane(cursor=7)]


async def test_flushes_of_one_commit_are_written_in_their_order(store: Store) -> None:
    await subscribe(store)
    await gather(
        store.settle(Settlement(opened=[opened(key(1)), opened(key(2))], lanes=[lane(cursor=1)])),
        store.settle(Settlement(closed=[key(1)], settled=[settled(key(1))], lanes_gone=[(PARTITION, 1)])),
        store.settle(Settlement(opened=[opened(key(2), attempts=2)], settled=[settled(key(1), State.EXHAUSTED)])),
        store.settle(watermark(1)),
        store.settle(watermark(2)),
    )
    assert await store.opens() == [opened(key(2), attempts=2)]
    assert await store.delivery(key(1)) == settled(key(1), State.EXHAUSTED)
    assert await store.lanes() == []
    assert await store.watermarks() == {PARTITION: 2}
    assert await store.counts(PROJECT) == {"retrying": 1, "exhausted": 1}


async def test_a_later_end_replaces_an_older_one(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(5)), settled(key(6))]))
    await store.settle(Settlement(settled=[exhausted_range(key(5), first_offset=1, count=4)]))
    assert await store.delivery(key(5)) == exhausted_range(key(5), first_offset=1, count=4)
    assert await store.counts(PROJECT) == {"delivered": 1, "exhausted": 4}
    assert len((await store.deliveries(DeliveryQuery(PROJECT), Page())).data) == 2
    await store.settle(Settlement(settled=[settled(key(5), State.CANCELLED)]))
    assert await store.counts(PROJECT) == {"delivered": 1, "cancelled": 1}


async def test_a_behind_lane_comes_back_whole(store: Store) -> None:
    await subscribe(store)
    await subscribe(store, 2)
    bare = LaneRow(PARTITION, 2, 4)
    await store.settle(Settlement(lanes=[bare, lane(cursor=9)]))
    assert await store.lanes() == [lane(cursor=9), bare]
    assert await store.lane(PARTITION, 1) == lane(cursor=9)
    assert await store.lane(PARTITION, 3) is None
    await store.settle(Settlement(lanes=[lane(cursor=10)], lanes_gone=[(PARTITION, 2)]))
    assert await store.lanes() == [lane(cursor=10)]


async def test_attempts_come_oldest_first_and_the_same_number_replaces(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(attempts=[attempt(key(1), 2), attempt(key(1), 1), attempt(key(2), 1)]))
    again = replace(attempt(key(1), 2), status=0, reason="timeout", answer=b"", detail="")
    await store.settle(Settlement(attempts=[again]))
    assert await store.attempts(key(1)) == [attempt(key(1), 1), again]


async def test_watermarks_stand_where_they_were_put(store: Store) -> None:
    await store.settle(Settlement(watermarks={3: 9, 200: 1, 7: 0}))
    await store.settle(Settlement(watermarks={3: 8}))
    assert await store.watermarks() == {3: 8, 200: 1}


async def test_many_rows_are_written_in_one_flush(store: Store) -> None:
    await subscribe(store)
    ends = [settled(key(offset)) for offset in range(1, 5001)]
    await store.settle(Settlement(settled=ends, watermarks={PARTITION: 5000}))
    assert await store.settled_after(PARTITION, 0) == ends
    assert await store.counts(PROJECT) == {"delivered": 5000}


async def test_flushes_and_publishes_mix(store: Store) -> None:
    await subscribe(store)
    await gather(
        *(store.settle(Settlement(settled=[settled(key(offset))])) for offset in range(1, 300)),
        *(store.accept(publish()) for _ in range(300)),
        *(store.number("key") for _ in range(50)),
    )
    assert (await store.heads())[PARTITION] == 301
    assert await store.counts(PROJECT) == {"delivered": 299}
    assert await store.number("key") == 51


async def test_reopening_moves_a_settled_delivery_back(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(1)), settled(key(2))]))
    again = replace(opened(key(1), attempts=0), origin=Origin.REDELIVER)
    assert await store.reopen(again)
    assert not await store.reopen(again)
    assert await store.opens() == [again]
    assert await store.delivery(key(1)) == again
    assert await store.counts(PROJECT) == {"retrying": 1, "delivered": 1}
    assert await store.settled_after(PARTITION, 0) == [settled(key(2))]


async def test_a_test_is_opened_and_settled_like_any_other(store: Store) -> None:
    await subscribe(store)
    test = replace(opened(key(TEST_OFFSET + 1, last_ms=77)), origin=Origin.TEST)
    assert await store.reopen(test)
    assert await store.opens() == [test]
    end = replace(settled(test.key), origin=Origin.TEST)
    await store.settle(Settlement(closed=[test.key], settled=[end]))
    assert await store.delivery(test.key) == end
    assert await store.opens() == []
    await fill(store, 1, tenant=TENANT)
    assert await store.counts(PROJECT) == {"delivered": 1}
