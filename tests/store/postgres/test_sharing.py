"""Hold what many processes that share one database are promised. Two stores in one process are two to the server."""

from __future__ import annotations

import asyncio
from asyncio import gather
from collections.abc import Awaitable, Callable, Collection, Mapping

import asyncpg
import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import Conflict, KeyReused
from angarium.model.event import Event
from angarium.model.registry import ApiKey, App, Grant, Project, Scope, Tenant
from angarium.store.contract import Publish
from angarium.store.postgres import PostgresStore, waking
from angarium.store.postgres.connection import connect
from tests.store.values import (
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    event,
    fill,
    publish,
    subscribe,
    subscription,
    version,
    watermark,
)

DEADLINE_S = 20


async def test_offsets_have_no_gaps_when_processes_race(one: PostgresStore, other: PostgresStore) -> None:
    tenants = [str(number) for number in range(12)]

    async def say(store: PostgresStore, seed: int) -> None:
        for number in range(40):
            chosen = [tenants[(seed + number * step) % len(tenants)] for step in (1, 5, 7)]
            await store.accept(publish(*(event(number, tenant=tenant) for tenant in chosen)))

    await gather(*(say(store, seed) for seed in range(8) for store in (one, other)))
    heads = await one.heads()
    assert sum(heads.values()) == 8 * 2 * 40 * 3
    for partition, head in heads.items():
        offsets = [entry.offset for entry in await other.read(partition, after=0, limit=10_000)]
        assert offsets == list(range(1, head + 1))
    assert await one.check() == []


async def test_a_reader_never_finds_later_what_was_not_there_before(one: PostgresStore, other: PostgresStore) -> None:
    """A visible offset implies all lower ones, though several commit at once."""

    async def say(store: PostgresStore, tenant: str) -> None:
        for number in range(60):
            await store.accept(publish(event(number), event(number, tenant=tenant)))

    async def follow() -> list[int]:
        seen: list[int] = []
        while len(seen) < 4 * 60:
            entries = await other.read(PARTITION, after=seen[-1] if seen else 0, limit=1000)
            seen += [entry.offset for entry in entries]
            await asyncio.sleep(0)
        return seen

    seen, *_ = await gather(follow(), *(say(store, tenant) for store in (one, other) for tenant in ("2", "3")))
    assert seen == list(range(1, 4 * 60 + 1))


async def test_publishes_that_cross_each_other_are_all_accepted(one: PostgresStore, other: PostgresStore) -> None:
    """All take keys and partitions in one order, so that none waits for who waits for it."""
    names = [str(number) for number in range(1, 9)]

    async def say(store: PostgresStore, number: int) -> None:
        way = names if number % 2 else names[::-1]
        events = tuple(Event(PROJECT, tenant, "item", "1", "update") for tenant in way)
        await store.accept(Publish(PROJECT, events, NOON, key=f"k{number % 7}", digest=b"d"))

    await gather(*(say(store, number) for number in range(100) for store in (one, other)))
    assert set((await one.heads()).values()) <= {7, 14, 21}
    assert sum((await one.heads()).values()) == 7 * len(names)


async def test_who_stops_in_the_midst_of_a_transaction_does_not_stop_others(one: PostgresStore, dsn: str) -> None:
    stopped = await connect(dsn)
    await stopped.execute("BEGIN")
    await stopped.execute('SELECT 1 FROM "partition" FOR UPDATE')
    receipt = await asyncio.wait_for(one.accept(publish()), DEADLINE_S)
    assert receipt.places[0].offset == 1
    assert await one.number("key") == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await stopped.execute("COMMIT")
    stopped.terminate()


async def test_a_key_that_two_processes_use_at_once_makes_one_event(one: PostgresStore, other: PostgresStore) -> None:
    publishes = [publish(event(1), key="k", digest=b"d") for _ in range(20)]
    receipts = await gather(*(store.accept(each) for each in publishes for store in (one, other)))
    assert {receipt.places for receipt in receipts} == {receipts[0].places}
    assert [receipt.is_replay for receipt in receipts].count(False) == 1
    answers = await gather(other.accept(publish(key="k", digest=b"e")), return_exceptions=True)
    assert isinstance(answers[0], KeyReused)
    assert await other.heads() == {PARTITION: 1}


async def test_other_processes_hear_of_what_was_accepted(one: PostgresStore, other: PostgresStore) -> None:
    heard: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    other.listen(heard.put_nowait)
    await one.accept(publish(event(1), event(2, tenant="2")))
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == {PARTITION: 1, partition_of(PROJECT, "2"): 1}


async def test_what_nobody_was_told_is_found_all_the_same(one: PostgresStore, connection: asyncpg.Connection) -> None:
    heard: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    one.listen(heard.put_nowait)
    await connection.execute('UPDATE "partition" SET registry = registry + 1 WHERE "partition" = 7')
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == {7: 0}
    assert heard.empty()


async def test_own_commits_are_heard_once(one: PostgresStore, other: PostgresStore) -> None:
    heard: list[Mapping[int, int]] = []
    one.listen(heard.append)
    await fill(one, 1)
    await asyncio.sleep(waking.LOOKS_S + 0.5)
    assert heard == [{PARTITION: 1}]


async def test_other_processes_hear_of_registries(one: PostgresStore, other: PostgresStore) -> None:
    heard: asyncio.Queue[Collection[int]] = asyncio.Queue()
    other.listen_registry(heard.put_nowait)
    await fill(one, 1)
    await subscribe(one)
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == {PARTITION}
    await one.remove(subscription())
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == {PARTITION}
    assert heard.empty()


async def test_registries_that_nobody_was_told_of_are_found_all_the_same(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    heard: asyncio.Queue[Collection[int]] = asyncio.Queue()
    one.listen_registry(heard.put_nowait)
    await connection.execute('UPDATE "partition" SET registry = registry + 1 WHERE "partition" IN (7, 9)')
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == {7, 9}


async def test_accepting_tells_of_registries_that_others_have_raised(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    heard: list[Collection[int]] = []
    one.listen_registry(heard.append)
    await connection.execute('UPDATE "partition" SET registry = registry + 1 WHERE "partition" = $1', PARTITION)
    await one.accept(publish())
    assert heard == [{PARTITION}]


CHANGES: dict[str, Callable[[PostgresStore], Awaitable[object]]] = {
    "a project is put": lambda store: store.put_project(Project(PROJECT, "standard", NOON, NOON)),
    "a project is deleted": lambda store: store.delete_project(PROJECT),
    "a tenant is put": lambda store: store.put_tenant(Tenant(PROJECT, TENANT, NOON)),
    "a key is put": lambda store: store.put_key(ApiKey(1, "key_1", b"d", Scope.PUBLISH, NOON)),
    "a key is deleted": lambda store: store.delete_key(1),
    "an app is put": lambda store: store.put_app(App(1, "app_1", PROJECT, "a", NOON)),
    "an app is deleted": lambda store: store.delete_app(1),
    "a grant is put": lambda store: store.put_grant(Grant(1, "gra_1", PROJECT, 1, TENANT, "", NOON, NOON)),
    "a grant is deleted": lambda store: store.delete_grant(1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_other_processes_hear_of_changes(
    one: PostgresStore, other: PostgresStore, change: Callable[[PostgresStore], Awaitable[object]]
) -> None:
    heard = asyncio.Event()
    other.listen_changes(heard.set)
    await change(one)
    await asyncio.wait_for(heard.wait(), DEADLINE_S)


async def test_own_changes_are_not_heard_of_but_those_between_are(one: PostgresStore, other: PostgresStore) -> None:
    heard: list[str] = []
    told = asyncio.Event()
    one.listen_changes(lambda: heard.append("one"))
    other.listen_changes(told.set)
    for number in range(1, 20):
        await one.put_tenant(Tenant(PROJECT, str(number), NOON))
    await asyncio.wait_for(told.wait(), DEADLINE_S)
    await asyncio.sleep(waking.LOOKS_S + 0.2)
    assert heard == []
    await other.put_tenant(Tenant(PROJECT, "20", NOON))
    async with asyncio.timeout(DEADLINE_S):
        while not heard:  # noqa: ASYNC110  it is a list, not an event
            await asyncio.sleep(0.01)


async def test_two_processes_do_not_both_write_one_revision(one: PostgresStore, other: PostgresStore) -> None:
    await subscribe(one)
    answers = await gather(
        *(store.change(subscription(), version(), revision=1) for _ in range(5) for store in (one, other)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == 9
    assert await one.heads() == {PARTITION: 2}


async def test_numbers_are_given_out_once_by_all(one: PostgresStore, other: PostgresStore) -> None:
    given = await gather(*(store.number("key") for _ in range(25) for store in (one, other)))
    assert sorted(given) == list(range(1, 51))


async def test_a_tenant_that_another_process_deleted_comes_into_being_again(
    one: PostgresStore, other: PostgresStore
) -> None:
    await fill(one, 1)
    await fill(other, 1)
    await other.delete_project(PROJECT)
    await one.accept(publish(now_ms=NOON + 5))
    made = await other.tenant(PROJECT, TENANT)
    assert made
    assert made.created_ms == NOON + 5


async def test_folds_at_once_come_to_the_same(one: PostgresStore, other: PostgresStore) -> None:
    said = [replace(event(number % 20, tenant=str(number % 7)), data=b"%d" % number) for number in range(700)]
    await one.accept(publish(*said))
    await gather(*(store.fold_objects(limit=50) for _ in range(20) for store in (one, other)))
    assert await one.fold_objects(limit=10) == 0
    for tenant in range(7):
        held = await other.objects(PROJECT, str(tenant), "item", after="", limit=99)
        last = {each.object_id: each.data for each in said if each.tenant == str(tenant)}
        assert {each.object_id: each.data for each in held} == last


async def test_what_is_retained_while_it_is_folded_and_published_is_whole(
    one: PostgresStore, other: PostgresStore
) -> None:
    await fill(one, 50)
    await one.settle(watermark(10_000))

    async def drop(store: PostgresStore) -> int:
        return sum([await store.retain(before_ms=NOON + 25 + step, limit=7) for step in range(25)])

    async def fold(store: PostgresStore) -> None:
        for _ in range(30):
            await store.fold_objects(limit=9)

    dropped = await gather(drop(one), drop(other))
    await gather(drop(one), fold(one), fold(other), *(fill(store, 50, now_ms=NOON + 99) for store in (one, other)))
    assert sum(dropped) == 49
    assert await one.check() == []
    while await one.fold_objects(limit=100):
        pass
    assert await other.count_objects(PROJECT, TENANT, "item") == 50


async def test_a_project_stops_to_keep_objects_for_all(one: PostgresStore, other: PostgresStore) -> None:
    kept = Project(PROJECT, "standard", NOON, NOON)
    await one.put_project(kept)
    await fill(one, 30)

    async def fold() -> None:
        for _ in range(20):
            await other.fold_objects(limit=3)

    await gather(fold(), one.put_project(replace(kept, settings={"keep_objects": False})))
    await fill(other, 5)
    while await one.fold_objects(limit=100):
        pass
    assert await one.objects(PROJECT, TENANT, "item", after="", limit=9) == []
