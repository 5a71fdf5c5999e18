"""Hold what a feed and a lane behind rely on: a tenant's entries, with neither gap nor repeat, at any cursor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from angarium.model.event import Kind
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
    watermark,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store


async def followed(store: Store, *, limit: int, tenant: str = TENANT) -> list[int]:
    """Follow a tenant's entries to the end of the log; return their offsets."""
    seen: list[int] = []
    cursor = 0
    while True:
        slice_ = await store.read_tenant(PROJECT, tenant, after=cursor, limit=limit)
        seen += [entry.offset for entry in slice_.entries]
        if slice_.scanned_to == cursor:
            return seen
        cursor = slice_.scanned_to


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_following_shows_every_entry_once(store: Store, limit: int) -> None:
    for number in range(5):
        await store.accept(publish(event(number), event(number, tenant=NEIGHBOUR), event(number)))
    assert await followed(store, limit=limit) == [1, 3, 4, 6, 7, 9, 10, 12, 13, 15]
    assert await followed(store, limit=limit, tenant=NEIGHBOUR) == [2, 5, 8, 11, 14]


async def test_every_cursor_goes_on_behind_itself(store: Store) -> None:
    for number in range(5):
        await store.accept(publish(event(number), event(number, tenant=NEIGHBOUR)))
    for cursor in range(12):
        slice_ = await store.read_tenant(PROJECT, TENANT, after=cursor, limit=100)
        assert [entry.offset for entry in slice_.entries] == [offset for offset in (1, 3, 5, 7, 9) if offset > cursor]
        assert slice_.scanned_to == 10


async def test_a_tenant_that_never_was_scans_to_the_head(store: Store) -> None:
    await fill(store, 3, tenant=NEIGHBOUR)
    slice_ = await store.read_tenant(PROJECT, TENANT, after=0, limit=10)
    assert (slice_.entries, slice_.scanned_to) == ([], 3)


async def test_following_while_others_publish_misses_nothing(store: Store) -> None:
    async def publish_some(tenant: str) -> None:
        for number in range(100):
            await store.accept(publish(event(number, tenant=tenant)))

    async def follow() -> list[str]:
        seen: list[str] = []
        cursor = 0
        while len(seen) < 100:
            slice_ = await store.read_tenant(PROJECT, TENANT, after=cursor, limit=7)
            assert slice_.scanned_to >= cursor
            cursor = slice_.scanned_to
            seen += [entry.event.object_id for entry in slice_.entries if entry.event]
            await asyncio.sleep(0)
        return seen

    seen, *_ = await asyncio.gather(follow(), publish_some(TENANT), publish_some(NEIGHBOUR))
    assert seen == [str(number) for number in range(100)]


async def test_replays_and_resyncs_are_a_tenant_s_entries(store: Store) -> None:
    await fill(store, 2)
    await subscribe(store)
    await store.append([replay(2), resync(event(7)), replay(1)])
    slice_ = await store.read_tenant(PROJECT, TENANT, after=3, limit=10)
    assert [(each.kind, each.of, each.event) for each in slice_.entries] == [
        (Kind.REPLAY, 2, event(1)),
        (Kind.RESYNC, 0, event(7)),
        (Kind.REPLAY, 1, event(0)),
    ]
    assert [each.of for each in await store.entries(PARTITION, [6, 4])] == [2, 1]


async def test_a_replay_of_what_retention_has_dropped_has_no_event(store: Store) -> None:
    await fill(store, 2)
    await subscribe(store)
    await store.append([replay(1, now_ms=NOON + 100), replay(2, now_ms=NOON + 100)])
    await store.settle(watermark(1))
    await store.retain(before_ms=NOON + 50, limit=10)
    assert [each.event for each in await store.read(PARTITION, after=3, limit=9)] == [None, event(1)]


async def test_following_goes_on_behind_what_retention_has_dropped(store: Store) -> None:
    for number in range(5):
        await store.accept(publish(event(number), event(number, tenant=NEIGHBOUR)))
    await store.settle(watermark(6))
    await store.retain(before_ms=NOON + 1, limit=100)
    for cursor in range(12):
        slice_ = await store.read_tenant(PROJECT, TENANT, after=cursor, limit=100)
        assert [entry.offset for entry in slice_.entries] == [offset for offset in (7, 9) if offset > cursor]
