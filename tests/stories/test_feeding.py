"""What is pushed can be pulled: the same ids in the log's order, without a gap, however one pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from itertools import islice
from typing import Any

import pytest

from tests.stories.calling import Project, event, server_sent
from tests.stories.receiving import Answer, Hook
from tests.stories.waiting import eventually


def _publish_many(project: Project, number: int) -> list[str]:
    """Publish from several threads at once; return the ids in no order that matters."""
    with ThreadPoolExecutor(4) as pool:
        return [id_ for ids in pool.map(lambda n: project.publish(event(n % 7, data=n)), range(number)) for id_ in ids]


@pytest.mark.parametrize("limit", [1, 7, 250])
def test_feed_and_pushes_agree(project: Project, hook: Hook, limit: int) -> None:
    made = project.subscribe(hook.url, types=["item.*"])
    published = _publish_many(project, 60)
    project.publish(event(1, "broadcast.update"))
    hook.wait_for(60)

    items = project.feed(made["id"], limit=limit)

    assert sorted(item["id"] for item in items) == sorted(published) == sorted(hook.ids)
    pushed = {request.id: request.json for request in hook.requests}
    assert [item["body"] for item in items] == [pushed[item["id"]] for item in items]
    assert {item["type"] for item in items} == {"item.update"}
    for object_id in range(7):  # Of one object, the pushes came in the log's order.
        in_log = [item["id"] for item in items if item["body"]["object_id"] == str(object_id)]
        assert [request.id for request in hook.requests if request.json["object_id"] == str(object_id)] == in_log


def test_a_feed_goes_on_from_any_item_s_cursor(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    ids = project.publish(*(event(number) for number in range(20)))
    items = project.feed(subscription)
    assert [item["id"] for item in items] == ids

    for place, item in enumerate(items):
        assert [later["id"] for later in project.feed(subscription, after=item["cursor"])] == ids[place + 1 :]


def test_a_pull_subscription_has_a_feed_and_no_pushes(project: Project) -> None:
    made = project.subscribe(kind="pull", types=["item.delete"])
    project.publish(event(1), event(2, "item.delete"), event(3))

    items = project.feed(made["id"])

    assert [item["body"]["object_id"] for item in items] == ["2"]
    assert project.deliveries(subscription=made["id"]) == []


def test_next_passes_what_did_not_match(project: Project) -> None:
    subscription = project.subscribe(kind="pull", types=["item.delete"])["id"]
    path = f"subscriptions/{subscription}/feed"
    project.publish(*(event(number) for number in range(50)))

    page = project.get(path)
    assert page["data"] == []
    [id_] = project.publish(event(1, "item.delete"))

    assert [item["id"] for item in project.get(path, after=page["next"])["data"]] == [id_]


def test_a_feed_shows_each_event_before_coalescing(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, batch={"max_events": 4, "max_wait_ms": 500, "coalesce": "latest"})
    ids = project.publish(*(event(number % 2, data=number) for number in range(10)))

    hook.wait_for(1)
    assert [item["id"] for item in project.feed(made["id"])] == ids
    assert [item["body"]["data"] for item in project.feed(made["id"])] == list(range(10))


def test_a_feed_does_not_care_whether_the_receiver_is_there(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [1]})
    hook.always(Answer(500))
    ids = project.publish(*(event(number) for number in range(5)))
    project.wait_for("exhausted")

    assert [item["id"] for item in project.feed(made["id"])] == ids


def test_a_long_poll_returns_what_comes_while_it_waits(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    path = f"subscriptions/{subscription}/feed"
    start = project.get(path)["next"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(project.get, path, after=start, wait_s=30)
        [id_] = project.publish(event())
        page = waiting.result(timeout=60)

    assert [item["id"] for item in page["data"]] == [id_]


def test_a_long_poll_ends_empty_with_a_cursor_to_go_on_from(project: Project) -> None:
    subscription = project.subscribe(kind="pull", types=["item.delete"])["id"]
    path = f"subscriptions/{subscription}/feed"
    project.publish(event())

    page = project.get(path, wait_s=1)

    assert page["data"] == []
    assert project.get(path, after=page["next"])["data"] == []


def test_a_stream_gives_the_feed_s_items_and_goes_on_from_the_last(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    path = f"{project.path}/subscriptions/{subscription}/feed"
    first = project.publish(*(event(number) for number in range(5)))
    headers = {"accept": "text/event-stream"}

    with project.client.stream(path, headers=headers) as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        items = _streamed(response, 5)
        second = project.publish(event(5), event(6))
        items += _streamed(response, 2)
    with project.client.stream(path, headers=headers, after=items[2]["cursor"]) as response:
        again = _streamed(response, 4)

    assert [item["id"] for item in items] == first + second
    assert [item["id"] for item in again] == (first + second)[3:]
    assert items == project.feed(subscription)


def test_a_stream_resumes_where_a_browser_says_it_stopped(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    path = f"{project.path}/subscriptions/{subscription}/feed"
    ids = project.publish(*(event(number) for number in range(4)))
    cursor = project.feed(subscription)[1]["cursor"]

    with project.client.stream(path, headers={"accept": "text/event-stream", "last-event-id": cursor}) as response:
        items = _streamed(response, 2)

    assert [item["id"] for item in items] == ids[2:]


def _streamed(response: HTTPResponse, number: int) -> list[dict[str, Any]]:
    """Read so many server-sent events."""
    return list(islice(server_sent(response), number))


def test_a_reader_beside_many_publishers_sees_each_event_once_in_the_log_s_order(project: Project) -> None:
    """A gap-free log means that whoever has read up to an offset never finds an earlier one later."""
    subscription = project.subscribe(kind="pull")["id"]
    seen: list[str] = []
    is_over = threading.Event()

    def read() -> None:
        after = None
        while True:
            was_over = is_over.is_set()
            page = project.get(f"subscriptions/{subscription}/feed", after=after, limit=3)
            seen.extend(item["id"] for item in page["data"])
            after = page["next"]
            if was_over and not page["data"]:
                return

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        published = _publish_many(project, 150)
        is_over.set()
        reading.result(timeout=60)

    assert sorted(seen) == sorted(published)
    assert seen == [item["id"] for item in project.feed(subscription)]


def test_a_feed_is_as_the_subscription_was_at_each_event(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, types=["item.*"])
    early = project.publish(event(1), event(2, "broadcast.update"))
    project.change(made["id"], types=["broadcast.*"])
    late = project.publish(event(3), event(4, "broadcast.update"))

    hook.wait_for(2)
    assert [item["id"] for item in project.feed(made["id"])] == [early[0], late[1]]
    assert sorted(hook.ids) == sorted([early[0], late[1]])


def test_a_foreign_or_broken_cursor_is_refused(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    reply = project.client.call("GET", f"{project.path}/subscriptions/{subscription}/feed", after="no-cursor")
    assert reply.status in {400, 422}
    assert reply.headers["content-type"].startswith("application/problem+json")


def test_the_feeds_of_all_tenants_are_apart(project: Project, hooks: Callable[[], Hook]) -> None:
    feeds = {tenant: project.subscribe(kind="pull", tenant=tenant)["id"] for tenant in ("1", "2", "3")}
    ids = {tenant: project.publish(event(1, tenant=tenant), event(2, tenant=tenant)) for tenant in feeds}

    for tenant, subscription in feeds.items():
        assert [item["id"] for item in project.feed(subscription)] == ids[tenant]


def test_the_feed_of_who_is_gone_says_what_its_dialect_can(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, dialect="dashboard")
    hook.always(Answer(410))
    project.publish(event())
    eventually(lambda: project.subscription(made["id"])["state"] == "disabled")
    project.publish(event(type_="item.recover"), event(type_="item.delete"))
    assert [entry["type"] for entry in project.feed(made["id"])] == ["item.update", "item.delete"]
