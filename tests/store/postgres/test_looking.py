"""Hold that lists which look at much come to their end, page by page, and miss nothing."""

from __future__ import annotations

import pytest

from angarium.store.contract import EventQuery, Page
from angarium.store.postgres import PostgresStore, log
from tests.store.values import NEIGHBOUR, NOON, PROJECT, TENANT, event, publish

TEN_MINUTES = 600_000


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have a page look at few entries only."""
    monkeypatch.setattr(log, "LOOKED_AT", 7)
    return 7


async def walk(store: PostgresStore, query: EventQuery, *, limit: int = 3) -> tuple[list[str], list[str], int]:
    """Walk down and up through a list; return the objects' ids, and how many pages that took down."""
    page = await store.events(query, Page(limit=limit))
    pages = [page]
    while page.next:
        page = await store.events(query, Page(limit=limit, after=page.next))
        pages.append(page)
    down = [entry.event.object_id for each in pages for entry in each.data if entry.event]
    page = next((each for each in reversed(pages) if each.data), page)
    up = [entry.event.object_id for entry in page.data if entry.event]
    while page.prev:
        page = await store.events(query, Page(limit=limit, before=page.prev))
        up = [entry.event.object_id for entry in page.data if entry.event] + up
    return down, up, len(pages)


@pytest.mark.parametrize("tenant", [None, TENANT])
async def test_a_page_that_had_to_pass_over_many_ends_early_and_goes_on(
    one: PostgresStore, looked_at: int, tenant: str | None
) -> None:
    for number in range(60):
        action = "delete" if number in (3, 40, 41) else "update"
        await one.accept(publish(event(number, action=action), event(1000 + number, tenant=NEIGHBOUR)))
    down, up, count = await walk(one, EventQuery(PROJECT, tenant, action="delete"))
    assert down == up == ["41", "40", "3"]
    assert count > 60 // looked_at


@pytest.mark.parametrize("tenant", [None, TENANT])
async def test_a_time_long_ago_is_found_without_looking_at_all_since(
    one: PostgresStore, looked_at: int, tenant: str | None
) -> None:
    for number in range(100):
        await one.accept(publish(event(number), now_ms=NOON + number * TEN_MINUTES))
    since_ms = NOON + 20 * TEN_MINUTES
    query = EventQuery(PROJECT, tenant, since_ms=since_ms, until_ms=since_ms + TEN_MINUTES)
    assert await walk(one, query) == (["20"], ["20"], 1)
    assert await walk(one, EventQuery(PROJECT, tenant, until_ms=NOON)) == ([], [], 1)
    assert await walk(one, EventQuery(PROJECT, tenant, since_ms=NOON + 200 * TEN_MINUTES)) == ([], [], 1)


async def test_clocks_that_go_back_hide_nothing(one: PostgresStore) -> None:
    for number, now_ms in enumerate((NOON, NOON + 9 * TEN_MINUTES, NOON + 1, NOON + 8 * TEN_MINUTES)):
        await one.accept(publish(event(number), now_ms=now_ms))
    down, up, _ = await walk(one, EventQuery(PROJECT, until_ms=NOON + TEN_MINUTES), limit=1)
    assert down == up == ["2", "0"]
    down, up, _ = await walk(one, EventQuery(PROJECT, TENANT, since_ms=NOON + TEN_MINUTES), limit=1)
    assert down == up == ["3", "1"]
