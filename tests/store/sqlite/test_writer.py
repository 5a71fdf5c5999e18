"""Hold how the writer groups what waits: one commit for many, none of whom suffers from another's fault."""

from __future__ import annotations

import asyncio
from asyncio import gather
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.errors import Conflict, KeyReused, StoreAway
from angarium.store.contract import Page, Settlement
from angarium.store.sqlite import SqliteStore
from tests.store.values import (
    NOON,
    PARTITION,
    PROJECT,
    event,
    fill,
    key,
    publish,
    settled,
    subscribe,
    subscription,
    version,
    watermark,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


async def test_what_waits_together_is_committed_together(sqlite: SqliteStore) -> None:
    heard: list[Mapping[int, int]] = []
    sqlite.listen(heard.append)
    receipts = await gather(*(sqlite.accept(publish(event(number))) for number in range(1000)))
    assert [receipt.places[0].offset for receipt in receipts] == list(range(1, 1001))
    # The writer may have begun with the first before the last was there; nothing else divides them.
    assert len(heard) <= 20
    assert heard[-1] == {PARTITION: 1000}


async def test_futures_are_set_in_order_and_before_listeners_hear(sqlite: SqliteStore) -> None:
    done: list[int] = []
    waiting = [sqlite.accept(publish(event(number))) for number in range(100)]
    for number, future in enumerate(waiting):
        future.add_done_callback(lambda _, number=number: done.append(number))  # type: ignore[misc]  # bound at once

    def hear(heads: Mapping[int, int]) -> None:
        assert all(future.done() for future in waiting[: heads[PARTITION]])

    sqlite.listen(hear)
    await gather(*waiting)
    assert done == list(range(100))


async def test_a_publish_that_cannot_be_written_fails_alone(sqlite: SqliteStore) -> None:
    good = [sqlite.accept(publish(event(number))) for number in range(50)]
    bad = sqlite.accept(publish(event(1), replace(event(2), object_id="\ud800")))
    flushed = sqlite.settle(watermark(7))
    numbered = asyncio.ensure_future(sqlite.number("key"))
    more = [sqlite.accept(publish(event(number))) for number in range(50)]
    with pytest.raises(UnicodeEncodeError):
        await bad
    await flushed
    assert await numbered == 1
    receipts = await gather(*good, *more)
    assert sorted(receipt.places[0].offset for receipt in receipts) == list(range(1, 101))
    assert await sqlite.heads() == {PARTITION: 100}
    assert await sqlite.watermarks() == {PARTITION: 7}
    assert len(await sqlite.read(PARTITION, after=0, limit=200)) == 100


async def test_a_tenant_made_in_a_group_that_failed_comes_into_being_with_its_own(sqlite: SqliteStore) -> None:
    bad = sqlite.accept(publish(event(1, tenant="8"), replace(event(2), object_id="\ud800")))
    good = sqlite.accept(publish(event(1, tenant="9")))
    await gather(bad, good, return_exceptions=True)
    await sqlite.accept(publish(event(1, tenant="8"), now_ms=NOON + 5))
    found = {tenant.name: tenant.created_ms for tenant in (await sqlite.tenants(PROJECT, Page())).data}
    assert found == {"8": NOON + 5, "9": NOON}


async def test_a_refusal_leaves_the_rest_of_its_group_alone(sqlite: SqliteStore) -> None:
    await subscribe(sqlite)
    await sqlite.accept(publish(event(1), key="k", digest=b"1"))
    answers = await gather(
        sqlite.accept(publish(event(2), key="k", digest=b"2")),
        sqlite.accept(publish(event(3))),
        sqlite.change(subscription(), version(), revision=7),
        sqlite.change(subscription(), version(), revision=1),
        sqlite.settle(Settlement(settled=[settled(key(1))])),
        return_exceptions=True,
    )
    assert isinstance(answers[0], KeyReused)
    assert isinstance(answers[2], Conflict)
    assert answers[3] == 4
    assert await sqlite.counts(PROJECT) == {"delivered": 1}


async def test_a_flush_larger_than_a_commit_takes_is_written_whole(sqlite: SqliteStore) -> None:
    await subscribe(sqlite)
    flushes = [
        sqlite.settle(Settlement(settled=[settled(key(1 + start + each)) for each in range(1500)]))
        for start in range(0, 6000, 1500)
    ]
    published = [sqlite.accept(publish(event(number))) for number in range(100)]
    await gather(*flushes, *published)
    assert await sqlite.counts(PROJECT) == {"delivered": 6000}


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "angarium.db")
    await store.open()
    waiting = [store.accept(publish(event(number))) for number in range(300)]
    await store.close()
    assert [(await future).places[0].offset for future in waiting] == list(range(1, 301))
    await store.open()
    assert await store.heads() == {PARTITION: 300}
    await store.close()


async def test_what_comes_after_closing_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "angarium.db")
    await store.open()
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreAway, match="the store is closed"):
        await store.accept(publish())
    with pytest.raises(StoreAway, match="the store is closed"):
        await store.settle(watermark(1))
    await closing
    with pytest.raises(StoreAway, match="the store is closed"):
        await store.number("key")
    with pytest.raises(StoreAway, match="the store is closed"):
        await store.watermarks()


async def test_an_idle_writer_empties_the_write_ahead_log(sqlite: SqliteStore) -> None:
    await fill(sqlite, 20)
    while sqlite._writer._wal_pages:  # noqa: ASYNC110  nobody is told of it
        await asyncio.sleep(0.05)
    assert [entry.offset for entry in await sqlite.read(PARTITION, after=4, limit=3)] == [5, 6, 7]


async def test_the_write_ahead_log_does_not_grow_for_ever(sqlite: SqliteStore, tmp_path: Path) -> None:
    for _ in range(30):
        await gather(*(sqlite.accept(publish(replace(event(), data=b'"' + b"x" * 9998 + b'"'))) for _ in range(100)))
    assert wal_size(tmp_path) < 20_000_000


def wal_size(folder: Path) -> int:
    return (folder / "angarium.db-wal").stat().st_size
