"""A publisher that repeats itself under one key publishes once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.stories.calling import Project, Reply, event
from tests.stories.receiving import Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually


def _publish(project: Project, document: Any, key: str) -> Reply:
    return project.client.call("POST", f"{project.path}/events", document, headers={"idempotency-key": key})


def _until_answered(project: Project, document: Any, key: str) -> list[str]:
    """Repeat while an earlier one is still running; return the ids."""
    reply = eventually(lambda: (found := _publish(project, document, key)).status != 409 and found)
    assert reply
    ids: list[str] = reply.expect(202)["ids"]
    return ids


def test_the_same_key_a_hundred_times_at_once_is_one_event(project: Project, hook: Hook) -> None:
    subscription = project.subscribe(hook.url)["id"]

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: _until_answered(project, event(1, data={"n": 1}), "one"), range(100)))

    assert len({id_ for ids in answers for id_ in ids}) == 1
    assert [item["id"] for item in project.feed(subscription)] == answers[0]
    project.wait_for("delivered", event=answers[0][0])
    assert hook.ids == answers[0]


def test_an_array_under_a_key_is_one_array(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    events = [event(number) for number in range(50)]

    first = _publish(project, events, "array").expect(202)
    again = _publish(project, events, "array").expect(202)

    assert first == again
    assert len(project.feed(subscription)) == 50


def test_the_same_key_with_another_body_is_refused(project: Project) -> None:
    subscription = project.subscribe(kind="pull")["id"]
    _publish(project, event(1), "key").expect(202)

    reply = _publish(project, event(2), "key")

    assert reply.status == 422
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert len(project.feed(subscription)) == 1


def test_a_key_is_its_project_s_own(shared: Server, project: Project) -> None:
    other = shared.project(f"{project.name}-other")

    [mine] = _publish(project, event(1), "key").expect(202)["ids"]
    [theirs] = _publish(other, event(2), "key").expect(202)["ids"]

    assert mine != theirs


def test_a_refused_publish_does_not_use_up_its_key(project: Project) -> None:
    assert _publish(project, {"object": "item"}, "key").status == 422

    assert _publish(project, event(1), "key").expect(202)["accepted"] == 1


def test_a_key_without_sense_is_refused(project: Project) -> None:
    assert _publish(project, event(1), "k" * 10_000).status in {400, 422, 431}
    assert project.all("events") == []


def test_many_keys_at_once_are_many_events(project: Project, hooks: Callable[[], Hook]) -> None:
    hook = hooks()
    project.subscribe(hook.url)

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda n: _until_answered(project, event(n), f"key-{n % 50}-{n // 50}"), range(200)))

    hook.wait_for_ids([id_ for [id_] in ids])
    assert len(set(hook.ids)) == len(hook.ids) == 200
