"""Once more, asked for by a person: replays, redeliveries, tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.verifying import is_signed
from tests.stories.waiting import eventually


def _run(project: Project, path: str, document: object = None, **query: Any) -> dict[str, Any]:
    """Ask for a job and wait for its end."""
    id_ = project.post(path, document, **query)["id"]
    assert id_.startswith("job_")
    eventually(lambda: _job(project, id_)["state"] != "running", told=lambda: _job(project, id_))
    return _job(project, id_)


def _job(project: Project, id_: str) -> dict[str, Any]:
    job: dict[str, Any] = project.get(f"jobs/{id_}")
    return job


def test_a_replay_sends_the_same_events_again_in_order_with_their_ids(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, ordering="strict")
    ids = project.publish(*(event(number, data=number) for number in range(20)))
    hook.wait_for(20)
    project.wait_for("delivered", number=20)

    job = _run(project, f"subscriptions/{made['id']}/replay", {})

    hook.wait_for(40)
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("done", 20, 20, 0)
    assert hook.ids == ids * 2
    first, second = hook.requests[:20], hook.requests[20:]
    assert [request.body for request in first] == [request.body for request in second]
    assert not any("angarium-replay" in request.headers for request in first)
    assert all(request.headers["angarium-replay"] == "true" for request in second)
    assert all(is_signed(request, made["secret"]) for request in second)
    assert [item["id"] for item in project.feed(made["id"])] == ids


def test_a_replay_can_be_of_what_was_exhausted_only(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": []})
    hook.answer = lambda request: Answer(422) if request.json["data"] % 2 else OK
    ids = project.publish(*(event(number, data=number) for number in range(10)))
    project.wait_for("exhausted", number=5)
    project.wait_for("delivered", number=5)
    hook.always(OK)

    job = _run(project, f"subscriptions/{made['id']}/replay", {"state": "exhausted"})

    hook.wait_for(15)
    assert (job["state"], job["total"]) == ("done", 5)
    assert sorted(hook.ids[10:]) == sorted(ids[1::2])


def test_a_replay_reaches_one_subscription_only_and_of_its_own_events(
    project: Project, hooks: Callable[[], Hook]
) -> None:
    one, other = hooks(), hooks()
    made = project.subscribe(one.url, types=["item.*"])
    project.subscribe(other.url)
    ids = project.publish(event(1), event(2, "broadcast.update"), event(3))
    other.wait_for(3)
    one.wait_for(2)

    _run(project, f"subscriptions/{made['id']}/replay", {})
    one.wait_for(4)
    [later] = project.publish(event(4))

    one.wait_for_ids([later])
    other.wait_for_ids([later])
    assert sorted(one.ids) == sorted([ids[0], ids[2]] * 2 + [later])
    assert sorted(other.ids) == sorted([*ids, later])


def test_a_replay_of_a_span_takes_what_was_accepted_in_it(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    [early] = project.publish(event(1))
    hook.wait_for(1)
    job = _run(project, f"subscriptions/{made['id']}/replay", {"until": "2001-01-01T00:00:00Z"})
    assert (job["state"], job["total"]) == ("done", 0)

    job = _run(project, f"subscriptions/{made['id']}/replay", {"from": "2001-01-01T00:00:00Z"})

    hook.wait_for(2)
    assert (job["state"], job["total"], job["done"]) == ("done", 1, 1)
    assert hook.ids == [early] * 2


def test_a_delivery_can_be_sent_again(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    [id_] = project.publish(event(data={"n": 1}))
    [delivery] = project.wait_for("delivered", event=id_)

    project.post(f"deliveries/{delivery['id']}/redeliver")

    first, second = hook.wait_for(2)
    assert (first.id, first.body) == (second.id, second.body)
    assert second.headers["angarium-replay"] == "true"
    assert is_signed(second, made["secret"])
    eventually(lambda: len(project.delivery(delivery["id"])["attempts"]) == 2)
    assert project.delivery(delivery["id"])["state"] == "delivered"


def test_an_exhausted_delivery_that_is_sent_again_is_delivered(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, retry={"delays_s": []})
    hook.always(Answer(500))
    [id_] = project.publish(event())
    [delivery] = project.wait_for("exhausted", event=id_)
    hook.always(OK)

    project.post(f"deliveries/{delivery['id']}/redeliver")

    [again] = project.wait_for("delivered", event=id_)
    assert again["id"] == delivery["id"]
    assert hook.ids == [id_] * 2


def test_a_batch_that_is_sent_again_is_the_same_batch(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, batch={"max_events": 5, "max_wait_ms": 60_000})
    project.publish(*(event(number, data=number) for number in range(5)))
    [delivery] = project.wait_for("delivered")

    project.post(f"deliveries/{delivery['id']}/redeliver")

    first, second = hook.wait_for(2)
    assert (first.id, first.json) == (second.id, second.json)


def test_all_deliveries_that_filters_choose_can_be_sent_again(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": []})
    hook.answer = lambda request: Answer(422) if request.json["data"] < 3 else OK
    ids = project.publish(*(event(number, data=number) for number in range(6)))
    project.wait_for("exhausted", number=3)
    project.wait_for("delivered", number=3)
    hook.always(OK)

    job = _run(project, "deliveries/redeliver", subscription=made["id"], state="exhausted")

    hook.wait_for(9)
    assert job["state"] == "done"
    assert sorted(hook.ids[6:]) == sorted(ids[:3])
    project.wait_for("delivered", number=6)


def test_a_test_goes_to_this_subscription_only_and_is_marked(project: Project, hooks: Callable[[], Hook]) -> None:
    one, other = hooks(), hooks()
    made = project.subscribe(one.url, types=["item.*"])
    project.subscribe(other.url)

    reply = project.client.call("POST", f"{project.path}/subscriptions/{made['id']}/test")

    assert reply.status in {200, 202}, reply
    [request] = one.wait_for(1)
    assert is_signed(request, made["secret"])
    assert request.headers["angarium-test"] == "true"
    assert project.all("events") == []
    assert project.feed(made["id"]) == []
    [id_] = project.publish(event())
    other.wait_for_ids([id_])
    assert other.ids == [id_]


def test_a_job_that_is_cancelled_stays_so(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, rate={"per_minute": 60})
    project.publish(*(event(number) for number in range(3)))
    hook.wait_for(1)
    job = project.post(f"subscriptions/{made['id']}/replay", {})

    reply = project.client.call("POST", f"{project.path}/jobs/{job['id']}/cancel")

    assert reply.status in {200, 202, 409}, reply
    state = project.get(f"jobs/{job['id']}")["state"]
    assert state == ("done" if reply.status == 409 else "cancelled")
    assert job["id"] in [listed["id"] for listed in project.all("jobs")]
