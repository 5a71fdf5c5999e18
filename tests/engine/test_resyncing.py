"""Hold resyncs and exports: each object once, in order with what happens meanwhile, whatever stops them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from angarium.engine import resyncing
from angarium.engine.contract import EXPORT, RESYNC
from angarium.model.event import Event
from angarium.model.registry import Job, JobState
from angarium.model.subscription import Owed, Rule, Status
from angarium.model.wire import Response
from angarium.store.contract import Publish
from angarium.store.memory import MemoryStore
from angarium.store.sqlite import SqliteStore
from tests.engine.faults import FrailStore
from tests.engine.world import PROJECT, World, world

if TYPE_CHECKING:
    from pathlib import Path

    from angarium.model.subscription import Subscription
    from angarium.model.wire import Request


async def _publish(w: World, object_: str, *ids: str, action: str = "create", data: bytes = b'{"n":1}') -> None:
    for id_ in ids:
        event = Event(PROJECT, "1", object_, id_, action, data, url="https://api.test/x")
        receipt = await w.store.accept(Publish(PROJECT, (event,), w.clock.now().wall_ms))
        w.engine.offer((event,), receipt.places)


async def _start(w: World, subscription: Subscription, *, kind: str = RESYNC, **spec: Any) -> Job:
    number, now_ms = await w.store.number("job"), w.clock.now().wall_ms
    job = Job(
        number,
        f"job_{number}",
        PROJECT,
        "1",
        kind,
        JobState.RUNNING,
        now_ms,
        now_ms,
        subscription.number,
        {"objects": ["program", "item"], **spec},
    )
    await w.store.put_job(job)
    w.engine.start(job)
    return job


async def _ended(w: World, job: Job) -> Job:
    for _ in range(3000):
        found = await w.store.job(job.number)
        assert found is not None
        if found.state is not JobState.RUNNING:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("the job did not end within 30 s")


def _told(requests: list[Request]) -> list[tuple[str, str, str]]:
    """Return the object, id and action that each request tells of."""
    documents = [msgspec.json.decode(request.body) for request in requests]
    return [(each["object"], each["object_id"], each["action"]) for each in documents]


async def _quiet_world(w: World, **changes: Any) -> Subscription:
    """Publish some objects before anybody subscribes."""
    await _publish(w, "item", *(f"{number:03d}" for number in range(20)))
    await _publish(w, "program", "a", "b", "c")
    await _publish(w, "program", "b", action="delete", data=b"")
    return await w.subscribe(**{"overrides": {"ordering": "strict"}, **changes})


async def test_a_resync_creates_what_is_not_deleted_kind_by_kind() -> None:
    async with world() as w:
        subscription = await _quiet_world(w)
        job = await _ended(w, await _start(w, subscription, actor={"id": 7}))
        assert (job.state, job.total, job.done, job.failed, job.skipped) == (JobState.DONE, 22, 22, 0, 0)
        expected = [("program", "a", "create"), ("program", "c", "create")]
        expected += [("item", f"{number:03d}", "create") for number in range(20)]
        assert _told(w.sender.requests) == expected
        assert {msgspec.json.decode(request.body)["actor"]["id"] for request in w.sender.requests} == {7}


async def test_what_has_no_moment_is_skipped_and_what_lies_outside_is_not_counted() -> None:
    async with world() as w:
        await _publish(w, "item", "1", data=b'{"start":"2026-11-01T00:00:00Z"}')
        await _publish(w, "item", "2", data=b'{"start":"2026-12-01T00:00:00Z"}')
        await _publish(w, "item", "3", data=b'{"start":null}')
        await _publish(w, "program", "9", data=b"")
        subscription = await w.subscribe()
        until_ms = 1_793_491_200_000
        job = await _ended(w, await _start(w, subscription, window={"item": "start"}, until_ms=until_ms))
        assert (job.state, job.total, job.done, job.skipped) == (JobState.DONE, 2, 2, 1)
        assert {id_ for _, id_, _ in _told(w.sender.requests)} == {"9", "1"}


async def test_an_export_goes_by_the_moment_of_the_last_event() -> None:
    async with world() as w:
        await _publish(w, "item", "1", "2")
        await asyncio.sleep(0.01)
        now_ms = w.clock.now().wall_ms
        await asyncio.sleep(0.01)
        await _publish(w, "item", "2", action="update", data=b"")
        subscription = await w.subscribe()
        job = await _ended(w, await _start(w, subscription, kind=EXPORT, from_ms=now_ms))
        assert (job.total, job.done) == (1, 1)
        [request] = w.sender.requests
        assert msgspec.json.decode(request.body)["data"] == {"n": 1}


async def test_live_changes_go_on_in_order_and_what_is_deleted_is_not_created_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resyncing, "PAGE", 3)
    monkeypatch.setattr(resyncing, "OUTSTANDING_MAX", 4)
    async with world() as w:
        subscription = await _quiet_world(w)
        w.sender.delay_s = 0.005
        job = await _start(w, subscription)
        for number in range(19, 9, -1):
            await _publish(w, "item", f"{number:03d}", action="delete", data=b"")
            await asyncio.sleep(0.002)
        job = await _ended(w, job)
        await w.quiet()
        assert job.state is JobState.DONE
        assert job.total == job.done
        last: dict[str, str] = {}
        for _, id_, action in _told(w.sender.requests):
            assert not (action == "create" and last.get(id_) == "delete")
            last[id_] = action
        assert {id_ for id_, action in last.items() if action == "delete"} == {
            f"{number:03d}" for number in range(10, 20)
        }
        assert {"000", "009", "a", "c"} <= last.keys()


@pytest.mark.parametrize("stored", [0, 1, 2])
async def test_a_crash_at_any_moment_creates_each_object_once(monkeypatch: pytest.MonkeyPatch, stored: int) -> None:
    """The job's row may be older than the log: what it had appended already is found there."""
    monkeypatch.setattr(resyncing, "PAGE", 4)
    monkeypatch.setattr(resyncing, "OUTSTANDING_MAX", 9)
    store = _Remembering()
    async with world(store) as w:
        subscription = await _quiet_world(w)
        w.sender.delay_s = 0.01
        job = await _start(w, subscription)
        await w.until(lambda: len(w.sender.requests) > 8)
        await w.engine.close(within_s=0)
        kept = [each for each in store.jobs_put if each.number == job.number and each.spec.get("begins") is not None]
        await store.put_job(kept[min(stored, len(kept) - 1)])
        w.sender.delay_s = 0
        w.engine = w._make()
        await w.start()
        job = await _ended(w, job)
        assert (job.state, job.total, job.done, job.failed) == (JobState.DONE, 22, 22, 0)
        assert set(_told(w.sender.requests)) == {
            ("program", "a", "create"),
            ("program", "c", "create"),
            *(("item", f"{number:03d}", "create") for number in range(20)),
        }
        entries = await store.read(subscription.partition, after=0, limit=1000)
        assert sum(entry.target == subscription.number for entry in entries) == 22


class _Remembering(MemoryStore):
    """Remember what was written of jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs_put: list[Job] = []

    async def put_job(self, job: Job) -> None:
        self.jobs_put.append(job)
        await super().put_job(job)


async def test_a_store_that_is_away_for_a_while_delays_a_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resyncing, "PAGE", 2)
    store = FrailStore(MemoryStore())
    async with world(store.as_store) as w:
        subscription = await _quiet_world(w)
        job = await _start(w, subscription)
        await w.until(lambda: len(w.sender.requests) > 2)
        store.is_away = True
        await asyncio.sleep(0.05)
        store.is_away = False
        job = await _ended(w, job)
        assert (job.state, job.total, job.done, job.skipped) == (JobState.DONE, 22, 22, 0)


async def test_a_job_counts_what_was_given_up_as_failed() -> None:
    async with world() as w:
        subscription = await _quiet_world(w, overrides={"retry": {"delays_s": []}})
        w.sender.answer = lambda request: Response(422 if b'"00' in request.body else 200)
        job = await _ended(w, await _start(w, subscription))
        assert (job.state, job.total, job.done, job.failed) == (JobState.DONE, 22, 22, 10)


@pytest.mark.parametrize("ends", ["removed", "disabled"])
async def test_a_resync_ends_with_its_subscription(ends: str) -> None:
    async with world() as w:
        subscription = await _quiet_world(w)
        w.sender.answer = lambda _: Response(500)
        job = await _start(w, subscription)
        await w.until(lambda: len(w.sender.requests) > 1)
        if ends == "removed":
            await w.store.remove(subscription)
            await w.engine.changed(subscription)
        else:
            await w.change(subscription, owed=Owed.NOTHING, status=Status.DISABLED)
        job = await _ended(w, job)
        assert (job.state, job.total, job.done, job.failed) == (JobState.DONE, 22, 22, 22)


async def test_a_resync_of_what_is_pushed_nothing_fails_and_says_why() -> None:
    async with world() as w:
        subscription = await _quiet_world(w)
        await w.change(subscription, owed=Owed.NOTHING, status=Status.DISABLED)
        job = await _ended(w, await _start(w, subscription))
        assert (job.state, job.detail) == (JobState.FAILED, "its subscription is pushed nothing any more")
        await w.store.remove(subscription)
        job = await _ended(w, await _start(w, subscription))
        assert (job.state, job.detail) == (JobState.FAILED, "its subscription has been deleted")


async def test_a_rule_s_pattern_and_words_hold_for_a_resync_too() -> None:
    async with world() as w:
        await _publish(w, "item", "1", "2")
        subscription = await w.subscribe(rule=Rule((), b'{"object_id":"1"}'))
        job = await _ended(w, await _start(w, subscription))
        assert (job.total, job.done, job.skipped) == (1, 1, 0)
        mute = await w.subscribe(rule=Rule(sayable=("*.update",)))
        job = await _ended(w, await _start(w, mute))
        assert (job.state, job.total, job.skipped) == (JobState.DONE, 0, 2)


async def test_a_cancelled_resync_appends_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resyncing, "PAGE", 2)
    monkeypatch.setattr(resyncing, "OUTSTANDING_MAX", 3)
    async with world() as w:
        subscription = await _quiet_world(w)
        w.sender.delay_s = 0.02
        job = await _start(w, subscription)
        await w.until(lambda: len(w.sender.requests) > 3)
        w.engine.stop(job.number)
        found = await w.store.job(job.number)
        assert found is not None
        await w.store.put_job(replace(found, state=JobState.CANCELLED))
        await w.quiet()
        assert len(w.sender.requests) < 22
        stopped = await w.store.job(job.number)
        assert stopped is not None
        assert stopped.state is JobState.CANCELLED


async def test_a_resync_on_the_embedded_store_is_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "angarium.db")
    await store.open()
    try:
        async with world(store) as w:
            subscription = await _quiet_world(w)
            job = await _ended(w, await _start(w, subscription))
            assert (job.state, job.total, job.done) == (JobState.DONE, 22, 22)
            assert len(w.sender.requests) == 22
    finally:
        await store.close()
