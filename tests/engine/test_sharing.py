"""The engine of one process among several, over one memory store: what is asked here, and what of the store."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.engine.contract import LaneView
from angarium.engine.sharing import SharedEngine
from angarium.model.delivery import TEST_OFFSET, Key, Open, Origin
from angarium.model.registry import Job, JobState
from angarium.model.wire import Response
from angarium.store.memory import MemoryStore
from tests.engine.world import PROJECT, World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from angarium.model.subscription import Subscription

FAILED = Response(500)
PARTITION = partition_of(PROJECT, "1")


class _Stranger:
    """A store as a process has it that owns nothing."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.owner = MemoryStore().owner

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@asynccontextmanager
async def elsewhere(w: World) -> AsyncIterator[SharedEngine]:
    engine = SharedEngine(_Stranger(w.store))  # type: ignore[arg-type]  # all of a store but who owns it
    await engine.open()
    yield engine
    await engine.close(within_s=0)


async def _views(w: World, engine: SharedEngine, subscription: Subscription) -> tuple[LaneView, LaneView]:
    """Return how a lane is doing, as its owner says and as it is seen from elsewhere, once all is written."""
    await w.engine._settler.settle_all()
    return await w.engine.lane(subscription), await engine.lane(subscription)


async def test_from_elsewhere_a_lane_is_seen_as_its_owner_sees_it() -> None:
    async with world() as w, elsewhere(w) as engine:
        one = await w.subscribe()
        assert await _views(w, engine, one) == (LaneView(), LaneView())
        await w.publish("1", "2")
        await w.quiet()
        assert await _views(w, engine, one) == (LaneView(), LaneView())


async def test_a_failing_lane_is_seen_with_all_that_waits_for_it() -> None:
    async with world(time_scale=1.0) as w, elsewhere(w) as engine:
        one = await w.subscribe()
        await w.publish("0")
        await w.quiet()
        w.sender.answer = lambda _: FAILED
        await w.publish("1", "1", "2")
        await w.until(lambda: len(w.sender.requests) == 3)
        await w.has_backlog(one, 3)
        own, seen = await _views(w, engine, one)
        assert (own.backlog, seen.backlog) == (3, 3)
        assert own.is_failing
        assert abs(own.failing_since_ms - seen.failing_since_ms) < 1000  # Each has its own end of the attempt.
        assert await engine.lane_failing(PROJECT) == [one.number]
        assert await engine.lane_failing("another's") == []


async def test_a_paused_lane_is_seen_with_what_its_row_has_counted_and_what_came_since() -> None:
    async with world() as w, elsewhere(w) as engine:
        one = await w.subscribe()
        await w.change(one, status="paused")
        await w.publish(*map(str, range(9)))
        await w.has_backlog(one, 9)
        own, seen = await _views(w, engine, one)
        assert (own.backlog, seen.backlog) == (9, 9)
        assert not seen.is_failing


async def test_what_the_log_owes_before_anybody_has_read_it_is_seen() -> None:
    async with world() as w:
        one = await w.subscribe()
        other = await w.subscribe(types=("order.*",))
        await w.quiet()
        await w.engine.close(within_s=0)
        async with elsewhere(w) as engine:
            head = (await w.store.heads())[one.partition]
            await w.publish("1", "2", "3")
            assert await engine.moved(one.partition, beyond=head + 2, within_s=30)
            assert (await engine.lane(one)).backlog == 3
            assert (await engine.lane(other)).backlog == 0
        await w.restart()


async def test_what_another_owns_is_sent_by_its_owner() -> None:
    async with world() as w, elsewhere(w) as engine:
        one = await w.subscribe()
        key = Key(one.partition, TEST_OFFSET + 1, one.number, w.clock.now().wall_ms)
        test = Open(key, origin=Origin.TEST, body=b"{}", content_type="application/json")
        assert await engine.dispatch(test)
        assert not await engine.dispatch(test)
        assert await w.store.delivery(key) == test


async def test_subscriptions_that_another_process_has_changed_are_read_again() -> None:
    async with world() as w, elsewhere(w) as engine:
        await w.subscribe()
        held, generation = await engine.subscriptions(PROJECT, "1"), engine.generation
        assert engine.held(PROJECT, "1") is held
        await w.subscribe()
        counters = await w.store.registry()
        assert engine.is_outdated(counters, generation=generation)
        assert len((await engine.subscriptions(PROJECT, "1")).subscriptions) == 2


async def test_what_was_matched_before_others_were_dropped_is_old_also_when_the_drop_is_long_done() -> None:
    async with world() as w, elsewhere(w) as engine:
        await w.subscribe()
        generation = engine.generation
        counters = await w.store.registry()
        assert engine.is_outdated(counters, generation=generation) or engine.generation > generation
        assert engine.is_outdated(counters, generation=generation - 1)
        assert not engine.is_outdated(counters, generation=engine.generation)
        assert not engine.is_outdated({}, generation=engine.generation)


async def test_a_counter_that_was_there_at_the_start_is_nothing_new() -> None:
    async with world() as w:
        await w.subscribe()
        async with elsewhere(w) as engine:
            assert not engine.is_outdated(await w.store.registry(), generation=engine.generation)


async def test_who_waits_for_the_log_to_go_on_is_told_by_any_commit() -> None:
    async with world() as w, elsewhere(w) as engine:
        head = (await w.store.heads()).get(PARTITION, 0)
        waiting = asyncio.ensure_future(engine.moved(PARTITION, beyond=head, within_s=30))
        await w.publish("1")
        assert await waiting


async def test_jobs_are_run_where_their_partition_is_owned() -> None:
    async with world() as w, elsewhere(w) as engine:
        one = await w.subscribe()
        await w.publish("1")
        await w.quiet()
        job = Job(1, "job_1", PROJECT, "1", "replay", JobState.RUNNING, 0, 0, one.number)
        await w.store.put_job(job)
        engine.start(job)
        engine.stop(job.number)
        assert await w.store.job(1) == job
        local = SharedEngine(w.store, local=w.engine)
        local.start(job)
        while (found := await w.store.job(1)) is None or found.state is JobState.RUNNING:  # noqa: ASYNC110  it is told nobody
            await asyncio.sleep(0.01)
        assert (found.state, found.done) == (JobState.DONE, 1)
