"""Hold what happens when a question would have to look at too much: it answers in part, and says where to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from angarium.store.contract import EventQuery, Page
from angarium.store.sqlite import SqliteStore
from angarium.store.sqlite.listing import LOOKED_AT
from angarium.store.sqlite.log import LOOKED_AT as READ_AT
from tests.store.values import NEIGHBOUR, NOON, PARTITION, PROJECT, TENANT, event, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from angarium.model.event import Entry
    from angarium.store.contract import Listing


@pytest.fixture(params=[1, 1_000_000], ids=["indexed", "in memory"])
async def busy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Open a store in which little of what happened concerns one tenant, or one action."""
    store = SqliteStore(tmp_path / "angarium.db", unindexed_max=request.param)
    await store.open()
    others = tuple(event(number, action="create", tenant=NEIGHBOUR) for number in range(LOOKED_AT))
    for number in range(3):
        await store.accept(publish(event(number, action="delete"), *others, now_ms=NOON + number))
        await store.accept(publish(*others, now_ms=NOON + number))
    yield store
    await store.close()


QUERIES = [EventQuery(PROJECT, action="delete"), EventQuery(PROJECT, tenant=TENANT)]


@pytest.mark.parametrize("query", QUERIES, ids=["of a project", "of a tenant"])
async def test_pages_end_early_and_go_on(busy: SqliteStore, query: EventQuery) -> None:
    listing, pages = await busy.events(query, Page(limit=10)), 1
    found = ids(listing)
    while listing.next:
        listing, pages = await busy.events(query, Page(limit=10, after=listing.next)), pages + 1
        found += ids(listing)
    assert found == ["2", "1", "0"]
    assert pages <= 8


@pytest.mark.parametrize("query", QUERIES, ids=["of a project", "of a tenant"])
async def test_pages_go_back_the_same_way(busy: SqliteStore, query: EventQuery) -> None:
    listing = oldest = await busy.events(query, Page(limit=1))
    while listing.next:
        listing = await busy.events(query, Page(limit=1, after=listing.next))
        oldest = listing if listing.data else oldest
    found, listing = ids(oldest), oldest
    while listing.prev:
        listing = await busy.events(query, Page(limit=1, before=listing.prev))
        found = ids(listing) + found
    assert found == ["2", "1", "0"]


def ids(listing: Listing[Entry]) -> list[str]:
    return [entry.event.object_id for entry in listing.data if entry.event]


async def test_a_tenant_is_followed_past_what_is_not_its_own(busy: SqliteStore) -> None:
    seen: list[str] = []
    cursor, head = 0, 6 * LOOKED_AT + 3
    while cursor < head:
        slice_ = await busy.read_tenant(PROJECT, TENANT, after=cursor, limit=10)
        assert slice_.scanned_to > cursor
        cursor = slice_.scanned_to
        seen += [entry.event.object_id for entry in slice_.entries if entry.event]
    assert seen == ["0", "1", "2"]
    assert cursor == head
    assert head > READ_AT


async def test_data_that_lies_far_back_is_found(busy: SqliteStore) -> None:
    """What an object was is searched a little at a time, so that no reader is kept for long."""
    await busy.accept(publish(event(0, action="create")))
    while await busy.fold_objects(limit=10_000):
        pass
    head = (await busy.heads())[PARTITION]
    found = [await busy.data_at(PROJECT, TENANT, "item", "0", offset=offset) for offset in (head, head - 1, 1, 0)]
    assert found == [b'{"n":0}', b'{"n":0}', b'{"n":0}', None]
    assert await busy.data_at(PROJECT, TENANT, "item", "nobody", offset=head) is None
