"""One receiver, however slow or dead, costs its probes only, and the others nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually

BACKLOG = 5_000


def _publish_many(project: Project, number: int) -> list[str]:
    return [
        id_
        for start in range(0, number, 500)
        for id_ in project.publish(*(event(n % 100, data=n) for n in range(start, start + 500)))
    ]


def test_a_dead_receiver_with_a_backlog_costs_its_probes_and_catches_up_gently(
    serve: Callable[..., Server], hooks: Callable[[], Hook]
) -> None:
    server = serve(dev="1", time_scale="50")
    project = server.project()
    dead, well = hooks(), hooks()
    made = project.subscribe(dead.url, retry={"delays_s": [200] * 100})
    project.subscribe(well.url)
    dead.always(Answer(500))

    ids = _publish_many(project, BACKLOG)

    well.wait_for_ids(ids)
    assert well.counted.total() == BACKLOG
    eventually(lambda: project.subscription(made["id"])["backlog"] == BACKLOG)
    assert project.subscription(made["id"])["state"] == "failing"
    assert len(dead.requests) <= 100
    eventually(lambda: dead.unanswered == 0)
    dead.always(OK)
    back = len(dead.requests)
    dead.wait_for_ids(ids)
    # Slow start: each answer may at most double what is on the wire, so the nth request meets fewer than n others.
    assert all(request.beside < place for place, request in enumerate(dead.requests[back:], start=1))
    assert dead.counted.total() - back == BACKLOG
    in_order = [request.json["data"] for request in dead.requests[back:]]
    for object_id in range(100):
        assert [n for n in in_order if n % 100 == object_id] == list(range(object_id, BACKLOG, 100))
    eventually(lambda: project.subscription(made["id"])["state"] == "active")
    assert project.subscription(made["id"])["backlog"] == 0


def test_a_dead_receiver_s_backlog_is_exhausted_as_a_range_and_can_be_replayed(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [20, 20, 20]}, max_in_flight=2)
    hook.always(Answer(500))

    ids = _publish_many(project, 1000)

    eventually(lambda: project.subscription(made["id"])["backlog"] == 0, told=lambda: project.subscription(made["id"]))
    # What the lane has decided is written a moment later.
    eventually(lambda: {each["state"] for each in project.deliveries(subscription=made["id"])} == {"exhausted"})
    exhausted = project.deliveries(subscription=made["id"])
    assert len(exhausted) < 500
    assert len(hook.requests) < 500
    assert [item["id"] for item in project.feed(made["id"])] == ids
    hook.always(OK)
    eventually(lambda: hook.unanswered == 0)
    seen = len(hook.requests)
    job = project.post(f"subscriptions/{made['id']}/replay", {"state": "exhausted"})
    eventually(
        lambda: project.get(f"jobs/{job['id']}")["state"] == "done", told=lambda: project.get(f"jobs/{job['id']}")
    )
    hook.wait_for_ids(ids)
    assert sorted(request.id for request in hook.requests[seen:]) == sorted(ids)


def test_a_probe_is_one_request_though_its_lane_has_slept(serve: Callable[..., Server], hook: Hook) -> None:
    """A lane that fell asleep was once woken twice, and then sent everything twice."""
    project = serve(dev="1", time_scale="2").project()
    made = project.subscribe(hook.url, retry={"delays_s": [1, 100_000], "give_up": False})
    hook.always(Answer(500))

    project.publish(*(event(number) for number in range(100)))

    hook.wait_for(made["max_in_flight"] * 2 + 2)
    assert set(hook.counted.values()) == {2}
    assert len(hook.counted) == made["max_in_flight"] + 1


def test_a_receiver_that_hangs_holds_up_nobody(project: Project, hooks: Callable[[], Hook]) -> None:
    hanging, well = hooks(), hooks()
    gate = threading.Event()
    hanging.always(Answer(gate=gate))
    made = project.subscribe(hanging.url, timeout_s=60)
    project.subscribe(well.url)

    ids = _publish_many(project, 2000)

    well.wait_for_ids(ids)
    assert len(hanging.requests) <= made["max_in_flight"]
    gate.set()
    hanging.wait_for_ids(ids)
    assert hanging.counted.total() == well.counted.total() == 2000


def test_many_dead_receivers_of_one_tenant_do_not_starve_the_one_that_is_well(
    project: Project, hooks: Callable[[], Hook]
) -> None:
    well = hooks()
    dead = [hooks().always(Answer(500)) for _ in range(30)]
    for hook in dead:
        project.subscribe(hook.url, retry={"delays_s": [100_000] * 3})
    project.subscribe(well.url)

    ids = _publish_many(project, 500)

    well.wait_for_ids(ids)
    assert well.counted.total() == 500
