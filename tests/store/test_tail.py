"""Hold how the log is read: in order, after an offset, whole or one tenant's, and who is told that there is more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.model.event import Kind
from angarium.store.contract import EventQuery, Page, Slice
from tests.store.values import (
    NEIGHBOUR,
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    event,
    fill,
    publish,
    replay,
    resync,
    subscribe,
    version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.store.contract import Store


async def test_an_empty_log(store: Store) -> None:
    assert await store.read(PARTITION, after=0, limit=10) == []
    assert await store.read_tenant(PROJECT, TENANT, after=0, limit=10) == Slice([], 0)
    assert await store.entries(PARTITION, [1]) == []
    assert await store.heads() == {}


async def test_reading_goes_on_where_it_ended(store: Store) -> None:
    await fill(store, 10)
    seen: list[int] = []
    while page := await store.read(PARTITION, after=seen[-1] if seen else 0, limit=3):
        seen += [entry.offset for entry in page]
    assert seen == list(range(1, 11))


async def test_markers_are_read_with_what_they_say(store: Store) -> None:
    await fill(store, 1)
    await subscribe(store)
    event_, marker = await store.read(PARTITION, after=0, limit=10)
    assert (event_.kind, marker.kind, marker.event, marker.accepted_ms) == (Kind.EVENT, Kind.MARKER, None, NOON + 1)
    assert marker.version is not None
    assert (marker.version.from_offset, marker.version.rule) == (2, version().rule)


async def test_a_tenant_reads_its_own_entries_only(store: Store) -> None:
    for number in range(6):
        await store.accept(publish(event(number), event(number, tenant=NEIGHBOUR)))
    await subscribe(store, tenant=NEIGHBOUR)
    await store.append([resync(event(9, tenant=NEIGHBOUR)), replay(2, tenant=NEIGHBOUR)])
    mine = await store.read_tenant(PROJECT, TENANT, after=0, limit=100)
    assert [entry.offset for entry in mine.entries] == [1, 3, 5, 7, 9, 11]
    assert mine.scanned_to == 15
    theirs = await store.read_tenant(PROJECT, NEIGHBOUR, after=10, limit=100)
    assert [(entry.offset, entry.kind) for entry in theirs.entries] == [
        (12, Kind.EVENT),
        (13, Kind.MARKER),
        (14, Kind.RESYNC),
        (15, Kind.REPLAY),
    ]


async def test_a_full_slice_ends_at_its_last_entry(store: Store) -> None:
    for number in range(6):
        await store.accept(publish(event(number), event(number, tenant=NEIGHBOUR)))
    slice_ = await store.read_tenant(PROJECT, TENANT, after=1, limit=2)
    assert [entry.offset for entry in slice_.entries] == [3, 5]
    assert slice_.scanned_to == 5


async def test_entries_come_in_order_and_without_those_that_are_not_there(store: Store) -> None:
    await fill(store, 5)
    assert [entry.offset for entry in await store.entries(PARTITION, [4, 99, 2, 4])] == [2, 4]
    assert await store.entries(PARTITION, []) == []


async def test_listeners_hear_of_moved_partitions_and_their_heads(store: Store) -> None:
    heard: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    store.listen(heard.put_nowait)
    accepted = store.accept(publish(event(1), event(2, tenant="2"), event(3)))
    assert await asyncio.wait_for(heard.get(), 10) == {PARTITION: 2, partition_of(PROJECT, "2"): 1}
    assert accepted.done()


async def test_listeners_hear_of_a_changed_registry(store: Store) -> None:
    await fill(store, 3)
    await subscribe(store)
    changed = await store.subscription(1)
    assert changed is not None
    heard: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    store.listen(heard.put_nowait)
    await store.change(changed, None, revision=1)
    assert await asyncio.wait_for(heard.get(), 10) == {PARTITION: 4}


async def test_what_was_accepted_is_seen_at_once(store: Store) -> None:
    for number in range(1, 20):
        await store.accept(publish(event(number)))
        assert (await store.heads())[PARTITION] == number
        assert [entry.offset for entry in await store.read(PARTITION, after=number - 1, limit=9)] == [number]


async def test_events_are_listed_newest_first_both_ways(store: Store) -> None:
    await fill(store, 7)
    first = await store.events(EventQuery(PROJECT), Page(limit=3))
    assert ([entry.offset for entry in first.data], first.prev) == ([7, 6, 5], None)
    second = await store.events(EventQuery(PROJECT), Page(limit=3, after=first.next))
    assert [entry.offset for entry in second.data] == [4, 3, 2]
    last = await store.events(EventQuery(PROJECT), Page(limit=3, after=second.next))
    assert ([entry.offset for entry in last.data], last.next) == ([1], None)
    back = await store.events(EventQuery(PROJECT), Page(limit=2, before=last.prev))
    assert [entry.offset for entry in back.data] == [3, 2]
    assert [entry.offset for entry in (await store.events(EventQuery(PROJECT), Page(before=back.prev))).data] == [
        7,
        6,
        5,
        4,
    ]


async def test_events_are_listed_by_their_members(store: Store) -> None:
    await store.accept(publish(event(1), event(2, action="delete"), event(3, tenant="2"), now_ms=NOON))
    await store.accept(publish(event(1, project="cm"), now_ms=NOON + 1))
    await store.accept(publish(event(1), now_ms=NOON + 2))
    await subscribe(store)
    await store.append([resync(event(1)), replay(1)])

    async def listed(query: EventQuery) -> list[tuple[str, str, int]]:
        page = await store.events(query, Page())
        return [(each.event.tenant, each.event.object_id, each.accepted_ms - NOON) for each in page.data if each.event]

    assert await listed(EventQuery(PROJECT)) == [("1", "1", 2), ("2", "3", 0), ("1", "2", 0), ("1", "1", 0)]
    assert await listed(EventQuery(PROJECT, tenant="2")) == [("2", "3", 0)]
    assert await listed(EventQuery(PROJECT, tenant="3")) == []
    assert await listed(EventQuery("nobody")) == []
    assert await listed(EventQuery(PROJECT, object="item", object_id="1")) == [("1", "1", 2), ("1", "1", 0)]
    assert await listed(EventQuery(PROJECT, object="other")) == []
    assert await listed(EventQuery(PROJECT, action="delete")) == [("1", "2", 0)]
    assert await listed(EventQuery(PROJECT, since_ms=NOON + 1)) == [("1", "1", 2)]
    assert await listed(EventQuery(PROJECT, tenant=TENANT, until_ms=NOON + 2)) == [("1", "2", 0), ("1", "1", 0)]
