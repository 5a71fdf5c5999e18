"""Drive whole engines: what is published reaches whom it is owed, whatever the receivers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from angarium.model.delivery import TEST_OFFSET, Key, Open, Origin, Settled, State
from angarium.model.subscription import Owed, Status
from angarium.model.wire import NoResponse, Reason, Response
from tests.engine.world import OK, Answer, ids_of, objects_of, world

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, params=["awake", "sleepy"])
def _sleep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with lanes that stay awake, and with lanes that fall asleep whenever they may."""
    if request.param == "sleepy":
        monkeypatch.setattr("angarium.engine.lanes.SWEEP_S", 0.01)
        monkeypatch.setattr("angarium.engine.sleeping.LONG_S", 0.0)


async def test_an_event_reaches_each_subscription_that_wants_it_once() -> None:
    async with world() as w:
        all_, some, none = [await w.subscribe(types=types) for types in ((), ("item.update",), ("other.*",))]
        sent = await w.publish("1", "2", "3")
        await w.quiet()
        assert ids_of(w.sender.by_url[all_.url]) == sent
        assert ids_of(w.sender.by_url[some.url]) == sent
        assert w.sender.by_url[none.url] == []
        assert [d.state for d in await w.deliveries() if isinstance(d, Settled)] == [State.DELIVERED] * 6


async def test_a_failed_delivery_is_tried_again_with_the_same_id_and_body() -> None:
    async with world() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [1, 1]}})
        answers: Iterator[Answer] = iter([Response(500), NoResponse(Reason.TIMEOUT), OK])
        w.sender.answer = lambda _: next(answers)
        sent = await w.publish("1")
        await w.until(lambda: len(w.sender.requests) == 3)
        await w.quiet()
        assert ids_of(w.sender.requests) == sent * 3
        assert len({request.body for request in w.sender.requests}) == 1
        (delivery,) = await w.deliveries(one)
        assert isinstance(delivery, Settled)
        assert (delivery.state, delivery.attempts) == (State.DELIVERED, 3)
        assert [attempt.reason for attempt in await w.store.attempts(delivery.key)] == ["status", "timeout"]


async def test_a_delivery_is_exhausted_after_its_last_attempt() -> None:
    async with world() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [1]}})
        w.sender.answer = lambda _: Response(500)
        await w.publish("1")
        await w.until(lambda: bool(w.settled))
        (delivery,) = await w.deliveries(one)
        assert isinstance(delivery, Settled)
        assert (delivery.state, delivery.attempts, len(w.sender.requests)) == (State.EXHAUSTED, 2, 2)


async def test_a_gone_receiver_disables_its_subscription_at_once() -> None:
    async with world() as w:
        one = await w.subscribe(overrides={"max_in_flight": 1})
        w.sender.answer = lambda _: Response(410)
        w.sender.delay_s = 0.05
        await w.publish("1", "2", "3")
        await w.until(lambda: len(w.settled) >= 2)
        stored = await w.store.subscription(one.number)
        assert stored is not None
        assert (stored.status, stored.owed) == (Status.DISABLED, Owed.FEED)
        assert len(w.sender.requests) == 1
        assert sum(d.count or 1 for d in await w.deliveries(one) if isinstance(d, Settled)) == 3


async def test_a_pause_keeps_what_is_owed_and_a_resume_sends_it() -> None:
    async with world() as w:
        one = await w.subscribe()
        await w.change(one, status=Status.PAUSED)
        sent = await w.publish("1", "2", "3")
        await w.has_backlog(one, 3)
        assert w.sender.requests == []
        await w.change(one, status=Status.ACTIVE, resumed_ms=w.clock.now().wall_ms)
        await w.quiet()
        assert sorted(ids_of(w.sender.requests)) == sorted(sent)


async def test_events_of_one_object_arrive_in_order_while_they_fail() -> None:
    async with world() as w:
        await w.subscribe(overrides={"retry": {"delays_s": [1] * 5}})
        fails = iter([True, False, True, False, False, False])
        w.sender.answer = lambda _: Response(500) if next(fails, False) else OK
        sent = await w.publish("a", "b", "a", "a")
        await w.quiet()
        firsts = list(dict.fromkeys(ids_of(w.sender.requests)))
        assert [each for each in firsts if each != sent[1]] == [sent[0], sent[2], sent[3]]


async def test_a_dead_receiver_costs_its_probes_and_gets_all_when_it_is_back() -> None:
    async with world(events_in_memory=600) as w:
        dead, well = await w.subscribe(), await w.subscribe()
        w.sender.answer = lambda request: NoResponse(Reason.REFUSED) if request.url == dead.url else OK
        await w.publish(*map(str, range(300)))
        await w.until(lambda: len(w.sender.by_url[well.url]) == 300)
        assert len(w.sender.by_url[dead.url]) < 150
        w.sender.answer = lambda _: OK
        await w.quiet()
        done = [
            d for d in await w.all_settled(dead) if d.state is State.DELIVERED and d.key.subscription == dead.number
        ]
        assert sum(d.count or 1 for d in await w.all_settled(dead) if d.key.subscription == dead.number) == 300
        assert len(done) > 200


async def test_a_restart_goes_on_where_it_stopped_and_repeats_nothing_that_was_settled() -> None:
    async with world() as w:
        one = await w.subscribe(overrides={"retry": {"delays_s": [1] * 50}})
        w.sender.answer = lambda request: Response(500) if "3" in objects_of([request]) else OK
        sent = await w.publish("1", "2", "3")
        await w.until(lambda: len(w.settled) == 2)
        await w.restart()
        w.sender.answer = lambda _: OK
        sent += await w.publish("4")
        await w.quiet()
        ok = [request for request in w.sender.by_url[one.url] if objects_of([request]) != ["3"]]
        assert ids_of(ok) == [sent[0], sent[1], sent[3]]
        assert set(ids_of(w.sender.requests)) == set(sent)
        assert not [d for d in await w.deliveries(one) if isinstance(d, Open)]


async def test_a_burst_of_changes_goes_as_one_request_with_the_final_state() -> None:
    async with world() as w:
        await w.subscribe(overrides={"batch": {"max_events": 100, "max_wait_ms": 300, "coalesce": "latest"}})
        for number in range(20):
            await w.publish("a", data=b'{"n":%d}' % number)
        await w.publish("b")
        await w.quiet()
        (request,) = w.sender.requests
        assert objects_of([request]) == ["a", "b"]
        assert b'"data":{"n":19}' in request.body
        (delivery,) = await w.deliveries()
        assert isinstance(delivery, Settled)
        assert len(delivery.members) == 20


async def test_a_sleeping_lane_counts_what_comes_and_is_cancelled_with_its_subscription() -> None:
    async with world() as w:
        one, other = await w.subscribe(), await w.subscribe()
        await w.change(one, status=Status.PAUSED)
        await w.publish("1", "2")
        await w.until(lambda: len(w.sender.by_url[other.url]) == 2)
        await asyncio.sleep(0.05)
        await w.publish("3")
        await w.has_backlog(one, 3)
        await w.restart()
        await w.has_backlog(one, 3)
        await w.change(one, owed=Owed.NOTHING, status=Status.DISABLED)
        await w.until(lambda: any(each.count == 3 for each in w.settled))
        (cancelled,) = [each for each in w.settled if each.count]
        assert (cancelled.state, cancelled.key.subscription) == (State.CANCELLED, one.number)
        assert w.sender.by_url[one.url] == []
        assert (await w.engine.lane(one)).backlog == 0


async def test_a_test_goes_out_while_its_subscription_is_paused() -> None:
    async with world() as w:
        one = await w.subscribe()
        one = await w.change(one, status=Status.PAUSED)
        await w.publish("1")
        key = Key(one.partition, TEST_OFFSET + 1, one.number, w.clock.now().wall_ms)
        test = Open(key, origin=Origin.TEST, body=b'{"object_id":"example"}', content_type="application/json")
        assert await w.engine.dispatch(test)
        await w.until(lambda: len(w.sender.requests) == 1)
        await w.until(lambda: bool(w.settled))
        assert objects_of(w.sender.requests) == ["example"]
        assert (await w.engine.lane(one)).backlog == 1
