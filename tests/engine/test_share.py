"""Move partitions between engines that share a store: nothing is lost, and little is sent twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.dialects import registry as dialects
from angarium.engine import routes, share, supervisor
from angarium.model.delivery import TEST_OFFSET, Key, Open, Origin, State
from angarium.model.registry import Job, JobState, Project
from angarium.model.subscription import Status
from angarium.model.wire import Response
from tests.engine.shares import ShareWorld
from tests.engine.traffic import MERGING, Traffic
from tests.engine.world import PROJECT, ids_of, objects_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from angarium.dialects.dialect import Dialect
    from angarium.model.subscription import Subscription

SEEDS = 12
TENANT = "1"
PARTITION = partition_of(PROJECT, TENANT)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Dialect] = {**dialects.DIALECTS, "merging": MERGING}
    monkeypatch.setattr(routes, "dialect_of", known.__getitem__)
    monkeypatch.setattr(supervisor, "LOOK_S", 0.01)


@asynccontextmanager
async def shared(**settings: Any) -> AsyncIterator[ShareWorld]:
    """Run two engines for a test; the first owns the partition of most tests."""
    w = ShareWorld(Random(1), **settings)
    w.locks.wanted[PARTITION] = 0
    await w.store.put_project(Project(PROJECT, "standard", 0, 0, settings={"allow_http": True}))
    await w.start()
    await w.until(lambda: w.served_by(PARTITION) == 0)
    try:
        yield w
    finally:
        await w.close()


async def test_engines_share_all_partitions_and_each_sends_its_own() -> None:
    async with shared() as w:
        await w.until(lambda: all(w.served_by(each) == worker for each, worker in w.locks.wanted.items()))
        other = next(str(n) for n in range(100) if w.locks.wanted[partition_of(PROJECT, str(n))] == 1)
        mine, theirs = await w.subscribe(), await w.subscribe(tenant=other)
        await w.publish("1", "2")
        await w.publish("3", tenant=other)
        await w.until(lambda: len(w.settled) == 3)
        assert {request.url for _, _, request in w.account.posts} == {mine.url, theirs.url}
        assert [w.served_by(each.partition) for each in (mine, theirs)] == [0, 1]


async def test_what_is_handed_over_goes_on_elsewhere_and_nothing_is_sent_twice() -> None:
    async with shared() as w:
        one = await w.subscribe()
        w.delay_s = lambda _: 0.02
        sent = await w.publish(*map(str, range(30)))
        await w.move({PARTITION: 1})
        sent += await w.publish(*map(str, range(30, 40)))
        await w.until(lambda: len(w.settled) == 40)
        assert sorted(name for _, name, _ in w.account.posts) == sorted(sent)
        assert not w.account.may_repeat
        assert {each.state for each in w.ends(one)} == {State.DELIVERED}


async def test_what_is_still_on_the_wire_is_due_elsewhere_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_S", 0.02)
    async with shared(time_scale=1.0) as w:
        one = await w.subscribe(overrides={"timeout_s": 20})
        w.delay_s = lambda _: 60.0
        began_ms = w.clock.now().wall_ms
        (sent,) = await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 1)
        await w.move({PARTITION: 1})
        (row,) = await w.memory.opens()
        assert began_ms + 20_000 <= row.next_ms <= w.clock.now().wall_ms + 20_000
        courier = w.workers[1].engine._lanes.couriers[one.number]
        assert not courier.lane.in_flight
        assert [name for _, name, _ in w.account.posts] == [sent]


async def test_what_failed_is_still_sent_with_the_same_body_after_a_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_S", 0.02)
    async with shared() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [20, 20]}})
        w.answer = lambda _: Response(500)
        w.delay_s = lambda _: 60.0 if len(w.account.posts) == 3 else 0.0
        await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 3)
        await w.workers[0].engine._settler.settle_all()
        before = (await w.memory.opens())[0].next_ms
        await w.move({PARTITION: 1})
        (row,) = await w.memory.opens()
        assert (row.body is not None, row.next_ms > before) == (True, True)
        assert row.key.subscription == one.number


async def test_a_paused_lane_s_backlog_is_counted_by_its_new_owner() -> None:
    async with shared() as w:
        one = await w.subscribe()
        one = await w.change(one, status=Status.PAUSED)
        await w.publish("1", "2", "3")
        await w.until(lambda: w.workers[0].engine.figures()["backlog_events"] == 3)
        w.workers[0].engine._lanes._sweep()
        await w.move({PARTITION: 1})
        assert [each.engine.figures()["backlog_events"] for each in w.workers] == [0, 3]
        assert not w.workers[0].engine._dormitory.asleep
        await w.change(one, status=Status.ACTIVE, resumed_ms=w.clock.now().wall_ms)
        await w.until(lambda: len(w.settled) == 3)


async def test_what_ends_after_all_was_lost_means_nothing() -> None:
    async with shared() as w:
        one = await w.subscribe()
        w.delay_s = lambda _: 0.3
        (sent,) = await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 1)
        w.workers[0].member.sever()
        w.locks.wanted[PARTITION] = 1
        assert not w.workers[0].engine._share.held
        await w.until(lambda: w.served_by(PARTITION) == 1 and len(w.account.posts) == 2)
        await w.until(lambda: not w.workers[0].engine._lanes.in_flight)
        assert not w.ends(one)
        await w.until(lambda: len(w.ends(one)) == 1)
        assert [name for _, name, _ in w.account.posts] == [sent, sent]
        assert not w.account.repeated


async def test_what_was_not_written_when_all_was_lost_is_not_written_later() -> None:
    async with shared(max_in_flight=64) as w:
        one = await w.subscribe()
        w.workers[0].store.is_slow = True
        await w.publish("1", "2")
        await w.until(lambda: w.workers[0].engine._settler.unsettled > 0 and bool(w.workers[0].store.waiting))
        w.workers[0].member.sever()
        w.locks.wanted[PARTITION] = 1
        await w.until(lambda: len(w.ends(one)) == 2)
        w.workers[0].store.catch_up()
        await w.until(lambda: w.workers[0].engine._settler.unsettled == 0)
        assert w.workers[0].store.refused == 1
        await w.workers[0].engine._settler.settle_all()
        assert not w.account.repeated


async def test_nothing_is_sent_while_it_may_not_be_and_no_attempt_is_counted() -> None:
    async with shared() as w:
        one = await w.subscribe()
        w.workers[0].member.is_mute = True
        await w.publish("1", "2")
        await asyncio.sleep(0.1)
        assert w.account.posts == []
        w.workers[0].member.is_mute = False
        await w.until(lambda: len(w.ends(one)) == 2)
        assert [each.attempts for each in w.ends(one)] == [1, 1]


async def test_a_request_that_is_withheld_at_the_last_moment_goes_later_as_the_first() -> None:
    async with shared() as w:
        one = await w.subscribe()
        answers = iter([True, False, True, True, True])
        w.workers[0].engine._lanes._may_send = lambda: True
        w.workers[0].engine._lanes._poster._may_send = lambda: next(answers, True)
        await w.publish("1", "2")
        await w.until(lambda: len(w.ends(one)) == 2)
        assert [each.attempts for each in w.ends(one)] == [1, 1]


async def test_a_store_that_is_away_moves_nothing_and_is_waited_for() -> None:
    async with shared() as w:
        await w.subscribe()
        w.workers[0].member.is_away = True
        w.locks.wanted[PARTITION] = 1
        await w.publish("1")
        await w.until(lambda: len(w.settled) == 1)
        assert w.served_by(PARTITION) == 0
        w.workers[0].member.is_away = False
        await w.until(lambda: w.served_by(PARTITION) == 1)


async def test_what_fails_while_it_is_taken_up_is_taken_up_again() -> None:
    async with shared() as w:
        one = await w.subscribe()
        w.workers[1].store.is_away = True
        w.locks.wanted[PARTITION] = 1
        await w.until(lambda: PARTITION in w.workers[1].member.owned)
        await asyncio.sleep(0.05)
        assert w.served_by(PARTITION) is None
        w.workers[1].store.is_away = False
        await w.publish("1")
        await w.until(lambda: len(w.ends(one)) == 1)


async def test_what_is_wanted_elsewhere_before_it_was_taken_up_goes_there() -> None:
    async with shared() as w:
        one = await w.subscribe()
        w.workers[1].store.is_away = True
        w.locks.wanted[PARTITION] = 1
        await w.until(lambda: PARTITION in w.workers[1].member.owned)
        w.locks.wanted[PARTITION] = 0
        w.workers[1].store.is_away = False
        await w.until(lambda: w.served_by(PARTITION) == 0)
        await w.publish("1")
        await w.until(lambda: len(w.ends(one)) == 1)


async def test_a_change_elsewhere_is_served_at_once() -> None:
    async with shared() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [1] * 200}})
        w.answer = lambda _: Response(500)
        await w.publish("1")
        await w.until(lambda: len(w.account.posts) >= 3)
        one = await w.change(one, status=Status.PAUSED)
        w.account.silenced.add(one.url)
        await w.publish("2")
        await w.until(lambda: w.workers[0].engine.figures()["backlog_events"] == 2)
        await asyncio.sleep(0.05)
        assert not w.account.unwanted
        await w.change(one, status=Status.ACTIVE, url="http://elsewhere", resumed_ms=w.clock.now().wall_ms)
        w.answer = lambda _: Response(200)
        await w.until(lambda: len(w.ends(one)) == 2)
        assert {url for url, _, _ in w.account.posts} == {one.url, "http://elsewhere"}


async def test_a_change_while_a_partition_is_taken_up_is_seen() -> None:
    async with shared() as w:
        one = await w.subscribe()
        await w.publish("1")
        await w.until(lambda: len(w.ends(one)) == 1)
        w.locks.wanted[PARTITION] = 1
        while PARTITION not in w.workers[1].engine._share._taking:  # noqa: ASYNC110  soon it is served already
            await asyncio.sleep(0)
        one = await w.change(one, url="http://elsewhere")
        await w.publish("2")
        await w.until(lambda: len(w.ends(one)) == 2)
        assert [url for url, _, _ in w.account.posts] == ["http://receiver/1", "http://elsewhere"]


async def test_what_changed_while_it_was_taken_up_is_not_sent_on_its_old_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [1] * 200}})
        w.answer = lambda _: Response(500)
        await w.publish("1")
        await w.until(lambda: len(w.account.posts) >= 2)
        heir, gate = w.workers[1], asyncio.Event()
        await w.until(lambda: bool(heir.engine._share.served))

        async def change_last(*_: Any, **__: Any) -> None:
            w.account.silenced.add(one.url)
            await w.store.change(replace(one, url="http://elsewhere"), None, revision=one.revision)
            monkeypatch.setattr(heir.store, "subscriptions_of", read_late, raising=False)
            while not heir.engine._share._taking[PARTITION].changed:  # noqa: ASYNC110  a few turns of the loop
                await asyncio.sleep(0)

        async def read_late(project: str, tenant: str) -> Any:
            await gate.wait()
            return await w.memory.subscriptions_of(project, tenant)

        monkeypatch.setattr(share, "recount", change_last)
        await w.move({PARTITION: 1})
        await asyncio.sleep(0.05)
        assert not w.account.unwanted
        w.answer = lambda _: Response(200)
        gate.set()
        await w.until(lambda: len(w.ends(one)) == 1)
        assert w.account.posts[-1][0] == "http://elsewhere"
        assert not w.account.unwanted


async def test_a_test_that_was_asked_for_elsewhere_is_sent_once() -> None:
    async with shared() as w:
        one = await w.subscribe()
        key = Key(one.partition, TEST_OFFSET + 1, one.number, w.clock.now().wall_ms)
        test = Open(key, origin=Origin.TEST, body=b'{"object_id":"example"}', content_type="application/json")
        assert await w.store.reopen(test)
        await w.until(lambda: len(w.ends(one)) == 1)
        await w.change(one, description="something else, so that all is read once more")
        assert objects_of([request for _, _, request in w.account.posts]) == ["example"]


async def test_a_redelivery_that_was_asked_for_here_or_elsewhere_is_sent_once_each_time() -> None:
    async with shared() as w:
        one = await w.subscribe()
        (sent,) = await w.publish("1")
        await w.until(lambda: len(w.ends(one)) == 1)
        for turn in range(1, 4):
            (ended,) = w.ends(one)
            again = Open(ended.key, origin=Origin.REDELIVER, attempts=ended.attempts, next_ms=w.clock.now().wall_ms)
            asked = w.workers[0].engine.dispatch(again) if turn % 2 else w.store.reopen(again)
            assert await asked
            await w.until(partial(_has_attempts, w, one, turn + 1))
        assert ids_of([request for _, _, request in w.account.posts]) == [sent] * 4


def _has_attempts(w: ShareWorld, one: Subscription, count: int) -> bool:
    return [each.attempts for each in w.ends(one)] == [count]


async def _job(w: ShareWorld, kind: str, **spec: Any) -> Job:
    now_ms = w.clock.now().wall_ms + 1
    number = await w.store.number("job")
    job = Job(number, f"job_{number}", PROJECT, spec.pop("tenant", TENANT), kind, JobState.RUNNING, now_ms, now_ms)
    return Job(**{name: getattr(job, name) for name in job.__struct_fields__} | spec)


async def test_a_job_is_run_by_whoever_serves_its_partition_and_goes_on_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("angarium.engine.jobs.LOOK_S", 0.02)
    async with shared() as w:
        one = await w.subscribe()
        sent = await w.publish(*map(str, range(50)))
        await w.until(lambda: len(w.ends(one)) == 50)
        await asyncio.sleep(0.002)
        w.delay_s = lambda _: 0.05
        job = await _job(w, "replay", subscription=one.number, spec={})
        await w.store.put_job(job)
        await w.until(lambda: job.number in w.workers[0].engine._jobs._tasks)
        assert job.number not in w.workers[1].engine._jobs._tasks
        await w.move({PARTITION: 1})
        await w.until(lambda: not w.workers[0].engine._jobs._tasks)
        await w.until(lambda: len(w.ends(one)) == 100)
        await w.until(lambda: w.memory._jobs[job.number].state is JobState.DONE)
        assert (w.memory._jobs[job.number].done, w.memory._jobs[job.number].total) == (50, 50)
        assert sorted(name for _, name, _ in w.account.posts) == sorted(sent * 2)


async def test_a_job_over_all_partitions_sees_what_others_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angarium.engine.jobs.LOOK_S", 0.02)
    monkeypatch.setattr("angarium.engine.running._NOTE_S", 0.02)
    async with shared() as w:
        tenants = [str(number) for number in range(6)]
        subscriptions = [await w.subscribe(tenant=tenant) for tenant in tenants]
        for tenant in tenants:
            await w.publish("a", "b", tenant=tenant)
        await w.until(lambda: len(w.settled) == 12)
        assert {w.served_by(each.partition) for each in subscriptions} == {0, 1}
        await asyncio.sleep(0.002)
        job = await _job(w, "redeliver", tenant="", spec={"state": "delivered"})
        await w.store.put_job(job)
        await w.until(lambda: w.memory._jobs[job.number].state is JobState.DONE)
        assert (w.memory._jobs[job.number].done, w.memory._jobs[job.number].failed) == (12, 0)
        assert len(w.account.posts) == 24


async def test_one_of_all_folds_what_is_committed_whoever_serves_it() -> None:
    async with shared() as w:
        await w.move({0: 1})
        await w.subscribe()
        await w.publish("1", "2")
        await w.until(lambda: w.workers[1].engine.figures()["entries_folded_total"] == 3)
        assert w.workers[0].engine.figures()["entries_folded_total"] == 0
        await w.move({0: 0})
        await w.publish("3")
        await w.until(lambda: w.workers[0].engine.figures()["entries_folded_total"] == 1)


async def test_a_worker_that_stops_hands_over_at_once_what_has_nothing_on_the_wire() -> None:
    async with shared() as w:
        slow = await w.subscribe()
        other = next(str(n) for n in range(2, 100) if w.served_by(partition_of(PROJECT, str(n))) == 0)
        quick = await w.subscribe(tenant=other)
        w.delay_s = lambda request: 3.0 if request.url == slow.url else 0.0
        await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 1)
        closing = asyncio.ensure_future(w.workers[0].engine.close(within_s=10.0))
        await w.until(lambda: w.served_by(quick.partition) == 1)
        await w.publish("2", tenant=other)
        await w.until(lambda: len(w.ends(quick)) == 1)
        assert not closing.done()
        await closing
        assert [each.attempts for each in w.ends(slow)] == [1]
        await w.until(lambda: w.served_by(PARTITION) == 1)
        assert len(w.account.posts) == 2
        w.workers.pop(0)


async def test_a_worker_that_stops_leaves_what_does_not_end_to_the_others() -> None:
    async with shared(time_scale=20.0) as w:
        one = await w.subscribe(overrides={"timeout_s": 2})
        w.delay_s = lambda _: 60.0
        (sent,) = await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 1)
        w.delay_s = lambda _: 0.0
        await w.workers[0].engine.close(within_s=0.05)
        await w.until(lambda: len(w.ends(one)) == 1)
        assert [name for _, name, _ in w.account.posts] == [sent, sent]
        w.workers.pop(0)


async def test_a_worker_that_stops_and_loses_all_on_the_way_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_S", 0.02)
    async with shared() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [20, 20]}})
        w.answer = lambda _: Response(500)
        w.delay_s = lambda _: 60.0 if len(w.account.posts) == 2 else 0.0
        (sent,) = await w.publish("1")
        await w.until(lambda: len(w.account.posts) == 2)
        first = w.workers.pop(0)
        await first.engine._settler.settle_all()

        async def lose(key: Key) -> Any:
            first.member.sever()
            return await w.memory.delivery(key)

        monkeypatch.setattr(first.store, "delivery", lose, raising=False)
        w.answer = lambda _: Response(200)
        await first.engine.close(within_s=0.0)
        await w.until(lambda: len(w.ends(one)) == 1)
        assert [name for _, name, _ in w.account.posts] == [sent] * 3
        assert first.store.refused == 0


async def _shake(traffic: Traffic, w: ShareWorld) -> None:
    """Let time pass, and move partitions or lose them."""
    await asyncio.sleep(traffic.dice.random() * 0.03)
    if traffic.dice.random() < 0.2:
        traffic.dice.choice(w.workers).engine._lanes._sweep()
    if traffic.dice.random() < 0.6:
        for tenant in "12":
            w.locks.wanted[partition_of(PROJECT, tenant)] = traffic.dice.randrange(len(w.workers))
    if traffic.dice.random() < 0.15:
        traffic.dice.choice(w.workers).member.sever()


def _traffic(seed: int) -> tuple[Traffic, ShareWorld]:
    traffic = Traffic(seed, ShareWorld)
    assert isinstance(traffic.w, ShareWorld)
    traffic.terms = {"timeout_s": 0.1}  # What is on the wire at a hand-over is due when it must have ended.
    return traffic, traffic.w


@pytest.mark.parametrize("wait_s", [0.0, 0.5], ids=["in haste", "with time"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_every_owed_event_ends_settled_once_whoever_owns_it(
    seed: int, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_S", wait_s)
    traffic, w = _traffic(seed)
    await traffic.start()
    for _ in range(traffic.dice.randrange(5, 20)):
        await traffic.publish()
        await _shake(traffic, w)
    await traffic.end()
    assert traffic.ended() == traffic.owed
    assert not w.account.repeated
    ordered = [each for each in traffic.subscriptions if each.overrides.get("ordering") != "none"]
    assert all(traffic.first_posts_in_order(each) for each in ordered)
    await w.close()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_sent_to_whom_it_should_not_while_all_changes_and_moves(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HAND_OVER_S", 0.02)
    traffic, w = _traffic(1000 + seed)
    await traffic.start()
    for _ in range(traffic.dice.randrange(5, 20)):
        await traffic.publish()
        await traffic.change_something()
        await _shake(traffic, w)
    for place, each in enumerate(traffic.subscriptions):
        if each.status is Status.PAUSED:
            await traffic.change(place, status=Status.ACTIVE)
    await traffic.end()
    assert not w.account.unwanted
    assert traffic.ended() == traffic.owed
    assert not w.account.repeated
    await w.close()
