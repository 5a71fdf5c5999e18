"""Hold what `accept` and `append` promise: gap-free offsets, whole publishes, keys that answer again."""

from __future__ import annotations

from asyncio import gather
from typing import TYPE_CHECKING

import pytest

from angarium.core.partitioning import partition_of
from angarium.errors import KeyReused, NotFound
from angarium.model.event import Event, Kind, Place
from angarium.store.contract import KEY_LASTS_MS, Page
from tests.store.values import NOON, PARTITION, PROJECT, TENANT, event, fill, publish, replay, resync, subscribe

if TYPE_CHECKING:
    from angarium.store.contract import Store


async def test_a_receipt_names_the_places_in_the_order_of_the_events(store: Store) -> None:
    receipt = await store.accept(publish(event(1), event(2, tenant="2"), event(3), matched=5))
    other = partition_of(PROJECT, "2")
    assert receipt.places == (Place(PARTITION, 1, NOON), Place(other, 1, NOON), Place(PARTITION, 2, NOON))
    assert receipt.matched == 5
    assert not receipt.is_replay


async def test_offsets_have_no_gaps_when_publishers_race(store: Store) -> None:
    receipts = await gather(*(store.accept(publish(event(n), event(n))) for n in range(100)))
    assert sorted(place.offset for receipt in receipts for place in receipt.places) == list(range(1, 201))
    assert [entry.offset for entry in await store.read(PARTITION, after=0, limit=300)] == list(range(1, 201))


async def test_an_event_comes_back_byte_for_byte(store: Store) -> None:
    full = Event(
        PROJECT,
        TENANT,
        "item",
        "49 é\u0000\U0001f4fb",
        "update",
        data=b'{ "n": 12345678901234567890.10 ,"t":"\\u00e9"}',
        url="https://api.example.com/items/49?x=é",
        actor=b'{"user_id": 1}',
        attributes=b'{"country":  "NO"}',
        occurred_us=1_789_999_999_123_456,
    )
    bare = Event(PROJECT, TENANT, "item", "50", "delete")
    await store.accept(publish(full, bare))
    assert [entry.event for entry in await store.read(PARTITION, after=0, limit=2)] == [full, bare]
    assert [entry.event for entry in await store.entries(PARTITION, [1, 2])] == [full, bare]


async def test_a_large_event_comes_back(store: Store) -> None:
    large = Event(PROJECT, TENANT, "item", "1", "update", data=b'"' + b"x" * 262_142 + b'"')
    await store.accept(publish(large))
    assert (await store.entries(PARTITION, [1]))[0].event == large


async def test_a_key_answers_again_until_it_expires(store: Store) -> None:
    first = await store.accept(publish(event(1), key="k", digest=b"d", matched=3))
    again = await store.accept(publish(event(1), key="k", digest=b"d", matched=9, now_ms=NOON + KEY_LASTS_MS - 1))
    assert (again.places, again.matched, again.is_replay) == (first.places, 3, True)
    late = await store.accept(publish(event(1), key="k", digest=b"e", now_ms=NOON + KEY_LASTS_MS))
    assert [(place.offset, late.is_replay) for place in late.places] == [(2, False)]


async def test_a_key_with_another_body_is_refused(store: Store) -> None:
    await store.accept(publish(key="k", digest=b"d"))
    with pytest.raises(KeyReused, match="'k' was used with another body"):
        await store.accept(publish(key="k", digest=b"e"))
    assert await store.heads() == {PARTITION: 1}


async def test_keys_of_two_projects_are_two_keys(store: Store) -> None:
    await store.accept(publish(key="k", digest=b"d"))
    other = await store.accept(publish(event(project="cm"), key="k", digest=b"e"))
    assert not other.is_replay


async def test_equal_keys_that_race_make_one_event(store: Store) -> None:
    receipts = await gather(*(store.accept(publish(event(1), key="k", digest=b"d")) for _ in range(100)))
    assert {receipt.places for receipt in receipts} == {(Place(PARTITION, 1, NOON),)}
    assert sorted(receipt.is_replay for receipt in receipts) == [False] + [True] * 99


async def test_equal_keys_with_other_bodies_that_race_make_one_event(store: Store) -> None:
    publishes = (publish(event(n), key="k", digest=b"%d" % n) for n in range(10))
    answers = await gather(*(store.accept(each) for each in publishes), return_exceptions=True)
    assert [isinstance(answer, KeyReused) for answer in answers].count(True) == 9
    assert await store.heads() == {PARTITION: 1}


async def test_a_publish_that_nobody_waits_for_is_accepted_all_the_same(store: Store) -> None:
    store.accept(publish(event(1))).cancel()
    await store.accept(publish(event(2)))
    assert await store.heads() == {PARTITION: 2}


async def test_tenants_come_into_being_with_their_first_event(store: Store) -> None:
    await store.accept(publish(event(1), event(2, tenant="2")))
    await store.accept(publish(event(3), now_ms=NOON + 9))
    made = await store.tenant(PROJECT, TENANT)
    assert made is not None
    assert (made.name, made.created_ms) == (TENANT, NOON)
    assert [tenant.name for tenant in (await store.tenants(PROJECT, Page())).data] == ["2", "1"]


async def test_a_replay_shows_its_original(store: Store) -> None:
    await fill(store, 2)
    await subscribe(store)
    assert await store.append([replay(1, now_ms=NOON + 9)]) == [Place(PARTITION, 4, NOON + 9)]
    (shown,) = await store.read(PARTITION, after=3, limit=9)
    assert (shown.kind, shown.of, shown.of_ms, shown.target, shown.event) == (Kind.REPLAY, 1, NOON, 1, event(0))


async def test_a_resync_entry_holds_its_event(store: Store) -> None:
    await subscribe(store)
    await store.append([resync(event(5), now_ms=NOON + 9), resync(event(6), now_ms=NOON + 9)])
    shown = await store.read(PARTITION, after=1, limit=9)
    assert [(each.offset, each.kind, each.target, each.event) for each in shown] == [
        (2, Kind.RESYNC, 1, event(5)),
        (3, Kind.RESYNC, 1, event(6)),
    ]


async def test_an_entry_for_nobody_is_refused(store: Store) -> None:
    await subscribe(store)
    with pytest.raises(NotFound, match="target 2 was never a subscription"):
        await store.append([resync(event(1)), resync(event(2), target=2)])
    assert await store.heads() == {PARTITION: 1}
