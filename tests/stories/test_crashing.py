"""What was answered 202 is on disk: whatever ends the server, nothing is lost; what repeats was on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import count

from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually

KILLS = 3
PUBLISHERS = 4
IN_FLIGHT = 512
"""What a kill may repeat at most: as much as a server has in flight, not all of it still on the wire, the rest answered
within the last moments and not settled yet."""


class Load:
    """Publishers that never rest: each sends one event, then ten, and notes which object ids were answered 202."""

    def __init__(self, server: Server, project: Project) -> None:
        self.acknowledged: set[str] = set()
        self._server, self._project = server, project
        self._numbers = count()
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish all the while."""
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            ends = [pool.submit(self._publish) for _ in range(PUBLISHERS)]
            try:
                yield
            finally:
                self._is_over.set()
            for end in ends:
                end.result()

    def _publish(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        for turn in count():
            if self._is_over.is_set():
                return connection.close()
            object_ids = [str(next(self._numbers)) for _ in range(10 if turn % 2 else 1)]
            body = json.dumps([event(object_id, data={"n": object_id}) for object_id in object_ids])
            try:
                connection.request("POST", f"{self._project.path}/events", body, self._headers())
                response = connection.getresponse()
                response.read()
            except (OSError, HTTPException):
                connection.close()
                self._is_over.wait(0.02)
                continue
            if response.status == 202:
                self.acknowledged |= set(object_ids)
        return None

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._project.client.key}", "content-type": "application/json"}


def test_three_kills_under_load_lose_nothing_that_was_answered(
    serve: Callable[..., Server], hooks: Callable[[], Hook]
) -> None:
    server = serve()
    project = server.project()
    subscribed = [hooks() for _ in range(3)]
    subscriptions = [project.subscribe(hook.url, max_in_flight=16)["id"] for hook in subscribed]
    load = Load(server, project)

    with load.running():
        for _ in range(KILLS):
            subscribed[0].wait_for(len(subscribed[0].requests) + 1500)
            server.kill()
            server.start()
        subscribed[0].wait_for(len(subscribed[0].requests) + 1500)

    in_feed = {item["id"]: item["body"]["object_id"] for item in project.feed(subscriptions[0])}
    assert set(in_feed.values()) >= load.acknowledged
    assert len(set(in_feed.values())) == len(in_feed)
    for hook in subscribed:
        hook.wait_for_ids(in_feed)
        assert set(hook.ids) == set(in_feed)
    repeated = sum(len(hook.requests) - len(set(hook.ids)) for hook in subscribed)
    assert repeated <= KILLS * IN_FLIGHT
    assert all(_is_same_each_time(hook) for hook in subscribed)
    assert {delivery["state"] for delivery in project.deliveries()} == {"delivered"}


def _is_same_each_time(hook: Hook) -> bool:
    first: dict[str, bytes] = {}
    return all(first.setdefault(request.id, request.body) == request.body for request in hook.requests)


def test_a_kill_in_the_midst_of_a_fan_out_leaves_no_receiver_out(
    serve: Callable[..., Server], hooks: Callable[[], Hook]
) -> None:
    server = serve()
    project = server.project()
    subscribed = [hooks() for _ in range(300)]
    for hook in subscribed:
        project.subscribe(hook.url)

    ids = project.publish(*(event(number) for number in range(20)))
    eventually(lambda: sum(len(hook.requests) for hook in subscribed) >= 1000)
    server.kill()
    arrived = sum(len(hook.requests) for hook in subscribed)
    server.start()

    for hook in subscribed:
        hook.wait_for_ids(ids)
        assert set(hook.ids) == set(ids)
        assert _is_same_each_time(hook)
    assert arrived < 300 * 20
    assert sum(len(hook.requests) for hook in subscribed) - 300 * 20 <= IN_FLIGHT


def test_a_key_that_was_used_before_a_kill_still_names_its_event(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    subscription = project.subscribe(hook.url)["id"]
    answered: dict[str, list[str]] = {}

    def publish(number: int) -> None:
        key = f"key-{number}"
        try:
            reply = project.client.call(
                "POST", f"{project.path}/events", event(number), headers={"idempotency-key": key}
            )
        except (OSError, HTTPException):
            return
        if reply.status == 202:
            answered[key] = reply.json["ids"]

    with ThreadPoolExecutor(8) as pool:
        for number in range(400):
            pool.submit(publish, number)
        eventually(lambda: len(answered) >= 100)
        server.kill()
    before = dict(answered)
    server.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(400)))

    assert 100 <= len(before) < 400
    assert len(answered) == 400
    assert before == {key: answered[key] for key in before}
    items = project.feed(subscription)
    assert sorted(item["id"] for item in items) == sorted(id_ for ids in answered.values() for id_ in ids)
    hook.wait_for_ids([id_ for ids in answered.values() for id_ in ids])


def test_a_delivery_that_was_retrying_goes_on_after_a_kill_with_the_same_id_and_body(
    serve: Callable[..., Server], hook: Hook
) -> None:
    server = serve(dev="1", time_scale="10")
    project = server.project()
    project.subscribe(hook.url, retry={"delays_s": [5] * 20})
    hook.always(Answer(500))
    [id_] = project.publish(event(data={"n": 1}))
    hook.wait_for(2)

    server.kill()
    before = len(hook.requests)
    hook.always(Answer(200))
    server.start()

    project.wait_for("delivered", event=id_)
    assert len(hook.requests) == before + 1
    assert set(hook.ids) == {id_}
    assert len({request.body for request in hook.requests}) == 1


def test_a_receiver_is_failing_since_the_same_moment_after_a_kill(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(dev="1", time_scale="10")
    project = server.project()
    made = project.subscribe(hook.url, retry={"delays_s": [2] * 50})
    project.publish(event(1))
    project.wait_for("delivered")
    hook.always(Answer(500))
    project.publish(event(2))
    hook.wait_for(4)

    server.kill()
    server.start()

    shown = project.subscription(made["id"])
    first, second, *_ = project.wait_for("retrying")[0]["attempts"]
    assert first["at"] <= shown["failing_since"] < second["at"]


def test_batches_keep_their_ids_and_members_over_a_kill(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(dev="1", time_scale="10")
    project = server.project()
    project.subscribe(hook.url, batch={"max_events": 10, "max_wait_ms": 100}, retry={"delays_s": [20] * 20})
    gate = threading.Event()
    hook.always(Answer(200, gate=gate))
    ids = project.publish(*(event(number) for number in range(60)))
    hook.wait_for(1)

    server.kill()
    gate.set()
    server.start()

    eventually(lambda: _members(hook) >= set(ids), told=server.told)
    assert _members(hook) == set(ids)
    assert _is_same_each_time(hook)


def _members(hook: Hook) -> set[str]:
    return {item["id"] for body in hook.bodies for item in body["events"]}


def test_a_stop_under_load_drains_exits_0_and_repeats_nothing(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    subscription = project.subscribe(hook.url)["id"]
    load = Load(server, project)

    with load.running():
        hook.wait_for(500)
        assert server.stop() == 0, server.told()
    server.start()

    in_feed = [item["id"] for item in project.feed(subscription)]
    assert {item["body"]["object_id"] for item in project.feed(subscription)} >= load.acknowledged
    hook.wait_for_ids(in_feed)
    assert sorted(hook.ids) == sorted(in_feed)


def test_a_stop_waits_for_the_requests_on_the_wire(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    project.subscribe(hook.url)
    gate = threading.Event()
    hook.always(Answer(200, gate=gate))
    [id_] = project.publish(event())
    hook.wait_for(1)

    server.terminate()
    gate.set()

    assert server.wait() == 0, server.told()
    server.start()
    assert [delivery["state"] for delivery in project.deliveries(event=id_)] == ["delivered"]
    assert hook.ids == [id_]
