"""Hold how deliveries are listed: newest first, open and settled together, by whose they are and what they settle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.model.delivery import Origin, State
from angarium.model.event import Place
from angarium.store.contract import DeliveryQuery, Page, Settlement
from tests.store.values import (
    NEIGHBOUR,
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    attempt,
    exhausted_range,
    fill,
    key,
    lane,
    opened,
    settled,
    subscribe,
    walk,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store


async def listed(store: Store, query: DeliveryQuery, *, limit: int = 50) -> list[tuple[int, int]]:
    """Return the last offsets and subscriptions of what a query lists."""
    pages = await walk(lambda page: store.deliveries(query, page), limit=limit)
    return [(each.key.last_offset, each.key.subscription) for page in pages for each in page]


async def test_subscriptions_that_may_be_failing_are_those_whose_lane_or_open_delivery_says_so(store: Store) -> None:
    for number in range(1, 7):
        await subscribe(store, number)
    await subscribe(store, 7, project="cm")
    failed = [opened(key(1, 2)), replace(opened(key(2, 3)), origin=Origin.REDELIVER), opened(key(3, 7))]
    await store.settle(
        Settlement(
            opened=[*failed, opened(key(4, 4), attempts=0)],
            attempts=[attempt(each.key) for each in failed],
            lanes=[lane(1), replace(lane(5), failing_since_ms=0), lane(8)],
        )
    )
    assert await store.failing(PROJECT) == [1, 2]
    assert await store.failing("nobody's") == []


async def some(store: Store) -> None:
    """Fill a store with two tenants' deliveries of three subscriptions, in five states."""
    await fill(store, 8)
    await subscribe(store, 1)
    await subscribe(store, 2)
    await subscribe(store, 3, tenant="2")
    await subscribe(store, 4, project="cm")
    await store.settle(
        Settlement(
            settled=[
                settled(key(1)),
                settled(key(2), State.EXHAUSTED),
                settled(key(3)),
                settled(key(3, 2)),
                settled(key(4, 2), State.CANCELLED),
                settled(key(1, 3, tenant="2", last_ms=NOON + 2)),
                settled(key(2, 4)),
                settled(key(3, 99)),
            ],
            opened=[opened(key(5)), opened(key(6, 2)), opened(key(2, 3, tenant="2", last_ms=NOON + 6))],
        )
    )


async def test_nothing_is_listed_where_nothing_is(store: Store) -> None:
    assert await listed(store, DeliveryQuery(PROJECT)) == []
    await some(store)
    assert await listed(store, DeliveryQuery("nobody")) == []
    assert await listed(store, DeliveryQuery(PROJECT, tenant="3")) == []
    assert await listed(store, DeliveryQuery(PROJECT, subscription=99)) == []
    assert await listed(store, DeliveryQuery(PROJECT, subscription=4)) == []
    assert await listed(store, DeliveryQuery(PROJECT, tenant="2", subscription=1)) == []
    assert await listed(store, DeliveryQuery(PROJECT, state=State.MERGED)) == []


async def test_open_and_settled_deliveries_are_listed_together_newest_first(store: Store) -> None:
    await some(store)
    found = await listed(store, DeliveryQuery(PROJECT))
    # Partition 242, tenant 2's, comes before 219 where the moment is the same.
    assert found == [(2, 3), (6, 2), (5, 1), (4, 2), (3, 2), (3, 1), (1, 3), (2, 1), (1, 1)]
    for limit in (1, 2, 3):
        assert await listed(store, DeliveryQuery(PROJECT), limit=limit) == found


async def test_deliveries_are_listed_by_whose_they_are(store: Store) -> None:
    await some(store)
    assert await listed(store, DeliveryQuery(PROJECT, tenant=TENANT), limit=2) == [
        (6, 2),
        (5, 1),
        (4, 2),
        (3, 2),
        (3, 1),
        (2, 1),
        (1, 1),
    ]
    assert await listed(store, DeliveryQuery(PROJECT, tenant="2"), limit=1) == [(2, 3), (1, 3)]
    assert await listed(store, DeliveryQuery(PROJECT, subscription=2), limit=1) == [(6, 2), (4, 2), (3, 2)]
    assert await listed(store, DeliveryQuery(PROJECT, tenant=TENANT, subscription=1)) == [
        (5, 1),
        (3, 1),
        (2, 1),
        (1, 1),
    ]
    assert await listed(store, DeliveryQuery("cm")) == [(2, 4)]


async def test_deliveries_are_listed_by_state(store: Store) -> None:
    await some(store)
    assert await listed(store, DeliveryQuery(PROJECT, tenant=TENANT, state=State.RETRYING), limit=1) == [(6, 2), (5, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, state=State.EXHAUSTED)) == [(2, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, tenant=TENANT, state=State.CANCELLED)) == [(4, 2)]
    assert await listed(store, DeliveryQuery(PROJECT, subscription=1, state=State.EXHAUSTED)) == [(2, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, subscription=2, state=State.DELIVERED)) == [(3, 2)]


async def test_deliveries_are_listed_by_time(store: Store) -> None:
    await some(store)
    theirs = DeliveryQuery(PROJECT, tenant=TENANT)
    assert await listed(store, replace(theirs, since_ms=NOON + 4), limit=1) == [(6, 2), (5, 1), (4, 2)]
    assert await listed(store, replace(theirs, until_ms=NOON + 3), limit=1) == [(2, 1), (1, 1)]
    assert await listed(store, replace(theirs, since_ms=NOON + 3, until_ms=NOON + 4), limit=1) == [(3, 2), (3, 1)]
    assert await listed(store, replace(theirs, since_ms=NOON + 4, until_ms=NOON + 4)) == []


async def test_an_event_shows_every_delivery_that_settles_it(store: Store) -> None:
    await fill(store, 8)
    for number in range(1, 6):
        await subscribe(store, number)
    await store.settle(
        Settlement(
            settled=[
                settled(key(3)),
                settled(key(6, 2), members=(3, 5)),
                exhausted_range(key(7, 3), first_offset=2, count=3),
                exhausted_range(key(8, 3), first_offset=8, count=1),
                settled(key(4, 4)),
            ],
            opened=[opened(key(5, 5), members=(1, 3, 4))],
        )
    )
    third = Place(PARTITION, 3, NOON + 2)
    assert await listed(store, DeliveryQuery(PROJECT, event=third), limit=1) == [(7, 3), (6, 2), (5, 5), (3, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, event=third, subscription=2)) == [(6, 2)]
    assert await listed(store, DeliveryQuery(PROJECT, event=third, state=State.RETRYING)) == [(5, 5)]
    assert await listed(store, DeliveryQuery(PROJECT, event=third, until_ms=NOON + 6)) == [(5, 5), (3, 1)]
    assert await listed(store, DeliveryQuery("cm", event=third)) == []
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 8, NOON + 7))) == [(8, 3)]
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION + 1, 3, NOON))) == []


async def test_a_range_is_shown_with_its_own_tenant_s_events_only(store: Store) -> None:
    await fill(store, 2)
    await fill(store, 1, tenant=NEIGHBOUR)
    await fill(store, 1)
    await subscribe(store)
    await store.settle(Settlement(settled=[exhausted_range(key(4), first_offset=1, count=3)]))
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 2, NOON + 1))) == [(4, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 3, NOON))) == []


async def test_members_of_an_older_delivery_with_the_same_key_are_forgotten(store: Store) -> None:
    await fill(store, 4)
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(4), members=(1, 2))]))
    await store.settle(Settlement(settled=[settled(key(4), members=(2, 3))]))
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 1, NOON))) == []
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 3, NOON))) == [(4, 1)]


async def test_what_is_reopened_is_listed_once(store: Store) -> None:
    await fill(store, 4)
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(4), members=(1, 2))]))
    await store.reopen(replace(opened(key(4), members=(1, 2)), origin=Origin.REDELIVER))
    assert await listed(store, DeliveryQuery(PROJECT)) == [(4, 1)]
    assert await listed(store, DeliveryQuery(PROJECT, event=Place(PARTITION, 1, NOON))) == [(4, 1)]
    await store.settle(Settlement(closed=[key(4)], settled=[settled(key(4), members=(1, 2))]))
    assert await listed(store, DeliveryQuery(PROJECT)) == [(4, 1)]


async def test_a_later_cursor_sees_what_was_settled_meanwhile(store: Store) -> None:
    await fill(store, 4)
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(2)), settled(key(3))]))
    first = await store.deliveries(DeliveryQuery(PROJECT), Page(limit=1))
    await store.settle(Settlement(settled=[settled(key(1)), settled(key(4))]))
    second = await store.deliveries(DeliveryQuery(PROJECT), Page(limit=9, after=first.next))
    assert [each.key.last_offset for each in second.data] == [2, 1]
    newer = await store.deliveries(DeliveryQuery(PROJECT), Page(limit=9, before=second.prev))
    assert [each.key.last_offset for each in newer.data] == [4, 3]
