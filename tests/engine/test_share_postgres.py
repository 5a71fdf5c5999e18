"""Share a real server's partitions between engines: by its locks, whatever becomes of their connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

import asyncpg
import pytest

from angarium.core.partitioning import partition_of
from angarium.engine import supervisor
from angarium.engine.engine import LogEngine
from angarium.model.event import PARTITIONS
from angarium.model.registry import Project
from angarium.model.subscription import Status
from angarium.model.wire import Response
from angarium.store.postgres import PostgresStore
from tests.engine.world import PROJECT, ScriptedSender, World, ids, ids_of
from tests.store.databases import Databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from angarium.model.event import Event, Place
    from angarium.model.subscription import Subscription

TENANTS = [str(number) for number in range(12)]
END_OWNERS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
    AND "database" = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY pid
"""


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    """Lend databases on one server for all tests here."""
    lent = Databases()
    yield lent
    asyncio.run(lent.close())


class Worker:
    """One process of several: its engine and its connections."""

    def __init__(self, world: Cluster) -> None:
        self.store = PostgresStore(world.dsn)
        self.engine = LogEngine(
            store=self.store,
            sender=world.sender,
            clock=world.clock,
            ids=ids,
            vault=world.vault,
            settings=world.settings,
        )

    @property
    def served(self) -> set[int]:
        return self.engine._share.served

    async def open(self) -> None:
        await self.store.open()
        await self.engine.open()

    async def close(self, *, within_s: float = 5.0) -> None:
        await self.engine.close(within_s=within_s)
        await self.store.close()


class Api:
    """A process that only publishes and changes: others find out by themselves."""

    async def changed(self, _: Subscription) -> None:
        """Do nothing: the others find out."""

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Do nothing: the others find out."""


class Cluster(World):
    """Workers that come and go, beside one who publishes."""

    def __init__(self, dsn: str, stack: AsyncExitStack) -> None:
        self.dsn, self._stack = dsn, stack
        super().__init__(PostgresStore(dsn), time_scale=1000.0)
        self.sender = ScriptedSender()
        self.workers: list[Worker] = []
        self.subscriptions: dict[str, Subscription] = {}

    def _make(self) -> LogEngine:
        return cast("LogEngine", Api())  # That is all that is asked of it here.

    async def start(self) -> None:
        await self.store.open()
        self._stack.push_async_callback(self.store.close)
        await self.store.put_project(Project(PROJECT, "standard", 0, 0, settings={"allow_http": True}))
        for tenant in TENANTS:
            self.subscriptions[tenant] = await self.subscribe(tenant=tenant)

    async def add(self) -> Worker:
        worker = Worker(self)
        await worker.open()
        worker.engine.watch(lambda _, settled: self.settled.extend(settled))
        self.workers.append(worker)
        self._stack.push_async_callback(worker.close)
        return worker

    async def is_shared(self, *shares: int) -> None:
        """Wait until workers serve so many partitions each."""
        await self.until(lambda: [len(each.served) for each in self.workers] == list(shares))

    async def publish_to_all(self, count: int) -> list[str]:
        sent: list[str] = []
        for number in range(count):
            for tenant in TENANTS:
                sent += await self.publish(str(number), tenant=tenant)
        return sent

    def sent(self) -> Counter[str]:
        return Counter(ids_of(self.sender.requests))

    async def run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture
async def cluster(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Lend a cluster that has no worker yet."""
    monkeypatch.setattr(supervisor, "LOOK_S", 0.05)
    dsn = await databases.lend()
    async with AsyncExitStack() as stack:
        made = Cluster(dsn, stack)
        await made.start()
        yield made
    await databases.drop(dsn)


async def test_workers_share_evenly_as_they_come_and_go_and_nothing_is_lost_or_sent_twice(cluster: Cluster) -> None:
    await cluster.add()
    await cluster.is_shared(PARTITIONS)
    sent = await cluster.publish_to_all(5)
    second, more = await asyncio.gather(cluster.add(), cluster.publish_to_all(10))
    await cluster.is_shared(128, 128)
    sent += more
    await cluster.add()
    sent += await cluster.publish_to_all(5)
    await cluster.is_shared(86, 85, 85)
    cluster.workers.remove(second)
    _, more = await asyncio.gather(second.engine.close(within_s=5.0), cluster.publish_to_all(10))
    sent += more
    await cluster.is_shared(128, 128)
    await cluster.until(lambda: len(cluster.settled) >= len(sent))
    assert cluster.sent() == Counter(sent)


async def test_a_lost_connection_loses_no_event_and_settles_nothing_late(cluster: Cluster) -> None:
    for _ in range(2):
        await cluster.add()
    await cluster.is_shared(128, 128)
    cluster.sender.delay_s = 0.005
    sent: list[str] = []
    for _ in range(4):
        _, more = await asyncio.gather(cluster.run(END_OWNERS), cluster.publish_to_all(6))
        sent += more
    await cluster.is_shared(128, 128)
    await _all_settled(cluster, len(sent))
    assert set(cluster.sent()) == set(sent)
    assert not await cluster.store.opens()


async def _all_settled(cluster: Cluster, count: int) -> None:
    for _ in range(3000):
        if (await cluster.store.counts(PROJECT)).get("delivered", 0) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not all of {count} were delivered: {await cluster.store.counts(PROJECT)}")


async def test_a_change_stops_another_process_and_what_was_asked_for_is_sent(cluster: Cluster) -> None:
    for _ in range(2):
        await cluster.add()
    await cluster.is_shared(128, 128)
    one = cluster.subscriptions["3"]
    paused = await cluster.change(one, status=Status.PAUSED)
    worker = next(each for each in cluster.workers if partition_of(PROJECT, "3") in each.served)
    await cluster.until(lambda: _knows(worker, paused))
    await cluster.publish("1", "2", tenant="3")
    await cluster.until(lambda: worker.engine.figures()["backlog_events"] == 2)
    assert cluster.sender.requests == []
    await cluster.change(one, status=Status.ACTIVE, resumed_ms=cluster.clock.now().wall_ms)
    await cluster.until(lambda: len(cluster.sender.requests) == 2)


def _knows(worker: Worker, subscription: Subscription) -> bool:
    held = worker.engine._registry.held(subscription.project, subscription.tenant)
    return held is None or held.subscriptions[subscription.number].revision == subscription.revision


async def test_what_failed_is_tried_again_by_the_next_owner(cluster: Cluster) -> None:
    first = await cluster.add()
    await cluster.is_shared(PARTITIONS)
    requests = cluster.sender.requests
    cluster.sender.answer = lambda _: Response(500 if len(requests) <= len(TENANTS) else 200)
    sent = await cluster.publish_to_all(1)
    await cluster.until(lambda: len(cluster.sender.requests) >= len(sent))
    await cluster.add()
    cluster.workers.remove(first)
    await first.engine.close(within_s=5.0)
    await cluster.is_shared(PARTITIONS)
    await _all_settled(cluster, len(sent))
    assert set(cluster.sent()) == set(sent)
