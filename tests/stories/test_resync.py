"""The current state, asked for by a person: RadioManager's Manual Resync, its window, its order, its progress."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from tests.stories.calling import Client, Project, event
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually

NOVEMBER = {"from": "2026-11-01T00:00:00Z", "until": "2026-11-30T23:59:59Z"}
IN_ORDER = ["program", "presenter", "contact", "campaign", "broadcast", "item"]

_numbers = count(1)


@pytest.fixture
def radio(shared: Server) -> Iterator[Project]:
    """Return a project of RadioManager's dialect."""
    project = Project(shared.client, f"resync-{next(_numbers)}").create(dialect="radiomanager")
    yield project
    project.client.call("DELETE", project.path).expect(204)


def station(project: Project, hook: Hook, *types: str, **members: Any) -> str:
    """Connect a station; return its subscription's id."""
    made = project.subscribe(
        hook.url, tenant=1, types=list(types) or None, options={"api_key": "k3y"}, **{"max_in_flight": 1, **members}
    )
    return str(made["id"])


def starting(id_: int | str, model: str, start: str, action: str = "create") -> dict[str, Any]:
    return event(id_, f"{model}.{action}", tenant=1, data={"start": start})


def begin(project: Project, subscription: str, asked: Mapping[str, Any]) -> str:
    """Press the button; return the job's id."""
    job = project.post(f"subscriptions/{subscription}/resync", dict(asked))
    assert (job["kind"], job["state"]) == ("resync", "running")
    return str(job["id"])


def ended(project: Project, job: str) -> dict[str, Any]:
    """Wait for a job's end."""
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(project.get(f"jobs/{job}"))
        return bool(found["state"] != "running")

    eventually(is_over, told=lambda: found)
    return found


def run(project: Project, subscription: str, **asked: Any) -> dict[str, Any]:
    return ended(project, begin(project, subscription, asked))


def test_a_resync_sends_what_there_is_as_creations_by_whoever_asked_references_first(
    radio: Project, hook: Hook
) -> None:
    for model in ("item", "broadcast", "campaign"):
        radio.publish(starting(1, model, "2026-11-22T09:00:00Z"), starting(2, model, "2026-12-22T09:00:00Z"))
    for model in ("contact", "presenter", "program"):
        radio.publish(event(1, f"{model}.create", tenant=1), event(2, f"{model}.update", tenant=1))
    radio.publish(event(2, "program.delete", tenant=1), event(3, "program.create", tenant=2))
    subscription = station(radio, hook)

    job = run(radio, subscription, **NOVEMBER, actor={"user_id": 7})

    assert (job["state"], job["total"], job["done"], job["failed"], job["skipped"]) == ("done", 8, 8, 0, 0)
    assert [body["model"] for body in hook.bodies] == [
        *("program", "presenter", "presenter", "contact", "contact"),
        *("campaign", "broadcast", "item"),
    ]
    assert {body["model_id"] for body in hook.bodies if body["model"] in IN_ORDER[3:]} == {1}
    fixed = {
        (body["action"], body["resync"], body["station_id"], body["user_id"], body["api_id"]) for body in hook.bodies
    }
    assert fixed == {("create", True, 1, 7, None)}
    job_ids = [body["job_id"] for body in hook.bodies]
    assert job_ids == sorted(set(job_ids))


def test_a_live_message_is_no_resync_and_a_recovered_object_is_there_again(radio: Project, hook: Hook) -> None:
    subscription = station(radio, hook, "program.*")
    for action in ("create", "delete", "recover"):
        radio.publish(event(1, f"program.{action}", tenant=1))
    hook.wait_for(3)
    assert run(radio, subscription)["done"] == 1
    assert [(body["action"], body["resync"]) for body in hook.bodies] == [
        ("create", False),
        ("delete", False),
        ("recover", False),
        ("create", True),
    ]


def test_both_ends_of_the_window_are_in_it_and_moments_are_compared_not_texts(radio: Project, hook: Hook) -> None:
    starts = {
        1: "2026-10-31T23:59:59Z",
        2: "2026-11-01T00:00:00Z",
        3: "2026-11-01T00:30:00+01:00",
        4: "2026-11-30T23:59:59Z",
        5: "2026-12-01T00:59:59+01:00",
        6: "2026-12-01T00:00:00Z",
        7: "2026-11-15T12:00:00.5+02:00",
    }
    radio.publish(*(starting(id_, "item", start) for id_, start in starts.items()))
    subscription = station(radio, hook, "item.*")
    assert run(radio, subscription, **NOVEMBER)["done"] == 4
    assert [body["model_id"] for body in hook.bodies] == [2, 4, 5, 7]


def test_an_end_that_is_left_out_is_open_but_one_is_asked_for_where_something_starts(
    radio: Project, hook: Hook
) -> None:
    radio.publish(starting(1, "item", "2026-10-01T00:00:00Z"), starting(2, "item", "2026-12-01T00:00:00Z"))
    radio.publish(event(3, "contact.create", tenant=1))
    subscription = station(radio, hook)
    problem = radio.post(f"subscriptions/{subscription}/resync", {}, status=422)
    assert problem["errors"][0]["field"] == "from"
    assert run(radio, subscription, objects=["contact"])["done"] == 1
    assert run(radio, subscription, objects=["item"], until="2026-11-01T00:00:00Z")["done"] == 1
    assert run(radio, subscription, objects=["item"], **{"from": "2026-11-01T00:00:00Z"})["done"] == 1
    assert [body["model_id"] for body in hook.bodies] == [3, 1, 2]


def test_only_selected_models_are_sent(radio: Project, hook: Hook) -> None:
    for model in IN_ORDER:
        radio.publish(starting(1, model, "2026-11-22T09:00:00Z"))
    subscription = station(radio, hook, "presenter.*", "item.*")
    assert run(radio, subscription, **NOVEMBER)["done"] == 2
    assert [body["model"] for body in hook.bodies] == ["presenter", "item"]
    job = run(radio, subscription, objects=["contact", "presenter"])
    assert (job["done"], "contact" in job["detail"]) == (1, True)


def test_what_does_not_say_when_it_starts_is_skipped_and_counted(radio: Project, hook: Hook) -> None:
    radio.publish(
        starting(1, "item", "2026-11-22T09:00:00Z"),
        event(2, "item.create", tenant=1),
        event(3, "item.create", tenant=1, data={"start": None}),
        event(4, "item.create", tenant=1, data={"start": "soon"}),
    )
    subscription = station(radio, hook)
    job = run(radio, subscription, **NOVEMBER)
    assert (job["total"], job["done"], job["skipped"]) == (1, 1, 3)


def test_data_outlives_events_without_any(radio: Project, hook: Hook) -> None:
    radio.publish(starting(1, "item", "2026-11-22T09:00:00Z"), event(1, "item.update", tenant=1))
    subscription = station(radio, hook)
    assert run(radio, subscription, **NOVEMBER)["done"] == 1
    found = radio.get("objects/item/1", tenant=1)
    assert (found["action"], found["data"]) == ("update", {"start": "2026-11-22T09:00:00Z"})


def test_who_pressed_the_button_may_be_known_by_their_key(radio: Project, hook: Hook) -> None:
    radio.publish(event(1, "contact.create", tenant=1, actor={"user_id": 1}))
    subscription = station(radio, hook)
    key = radio.post("keys", {"scope": "tenant", "tenant": "1", "actor": {"user_id": 9}}, status=201)["key"]
    mine = Project(Client(radio.client.port, key), radio.name)
    run(mine, subscription, objects=["contact"])
    assert [body["user_id"] for body in hook.bodies] == [9]


def test_the_project_s_objects_have_windows_of_their_own_in_any_dialect(project: Project, hook: Hook) -> None:
    project.create(objects={"item": {"window": "start"}, "note": {}})
    project.publish(
        event(1, "item.create", data={"start": "2026-11-22T09:00:00Z", "title": "old"}),
        event(1, "item.update", data={"start": "2026-11-23T09:00:00Z", "title": "News"}),
        event(2, "item.create", data={"start": "2026-12-23T09:00:00Z"}),
        event(3, "note.create", data="x"),
    )
    made = project.subscribe(hook.url, max_in_flight=1)
    assert run(project, made["id"], **NOVEMBER)["done"] == 2
    assert [(body["type"], body["data"]) for body in hook.bodies] == [
        ("item.create", {"start": "2026-11-23T09:00:00Z", "title": "News"}),
        ("note.create", "x"),
    ]


def test_a_project_that_names_no_objects_resyncs_what_there_is(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, types=["item.*", "note.*"], max_in_flight=1)
    assert run(project, made["id"])["total"] == 0
    project.publish(event(1, "note.update"), event(1, "other.update"), event(1, "item.update"))
    hook.wait_for(2)
    assert run(project, made["id"])["done"] == 2
    assert [body["type"] for body in hook.bodies[2:]] == ["item.create", "note.create"]


def test_what_a_resync_sent_can_be_looked_up_pulled_and_sent_again(project: Project, hook: Hook) -> None:
    project.publish(event(1, "item.update", data={"n": 1}))
    made = project.subscribe(hook.url)
    run(project, made["id"], actor={"user_id": 7})
    [request] = hook.wait_for(1)
    assert request.json == {**request.json, "type": "item.create", "data": {"n": 1}, "actor": {"user_id": 7}}
    [delivery] = project.wait_for("delivered", event=request.id)
    assert project.get(f"events/{request.id}")["action"] == "create"
    assert [item["id"] for item in project.feed(made["id"])] == [request.id]
    assert [listed["action"] for listed in project.all("events")] == ["update"]

    project.post(f"deliveries/{delivery['id']}/redeliver")

    again = hook.wait_for(2)[1]
    assert (again.id, again.body) == (request.id, request.body)


def test_a_pattern_applies_to_what_is_resynced(project: Project, hook: Hook) -> None:
    project.create(objects={"item": {}})
    project.publish(event(1, "item.create", data={"n": 1}), event(2, "item.create", data={"n": 2}))
    made = project.subscribe(hook.url, filter={"data": {"n": 2}})
    assert run(project, made["id"])["done"] == 1
    assert [body["object_id"] for body in hook.bodies] == ["2"]


# -- while other things happen -----------------------------------------------------------------------------------------

MANY = 300


def many(project: Project, number: int = MANY) -> None:
    """Publish so many programs, their ids in the order of the alphabet."""
    for first in range(0, number, 100):
        project.publish(*(event(1000 + id_, "program.create", tenant=1) for id_ in range(first, first + 100)))


def test_live_changes_go_on_in_order_and_nothing_is_created_after_its_delete(radio: Project, hook: Hook) -> None:
    many(radio)
    subscription = station(radio, hook, "program.*", max_in_flight=16)
    gate = threading.Event()
    hook.answer = lambda _: Answer(gate=gate) if len(hook.requests) == 50 else OK

    job = begin(radio, subscription, {"actor": {"user_id": 7}})
    hook.wait_for(20)
    for number in range(0, MANY, 10):
        radio.publish(event(1000 + number, "program.update", tenant=1, actor={"user_id": 1}))
        radio.publish(event(1001 + number, "program.delete", tenant=1, actor={"user_id": 1}))
        radio.publish(event(5000 + number, "program.create", tenant=1, actor={"user_id": 1}))
    gate.set()
    found = ended(radio, job)
    eventually(lambda: radio.subscription(subscription)["backlog"] == 0)

    assert found["state"] == "done"
    story: defaultdict[int, list[Any]] = defaultdict(list)
    for body in sorted(hook.bodies, key=lambda body: body["job_id"]):
        story[body["model_id"]].append(body["action"])
    arrived: defaultdict[int, list[Any]] = defaultdict(list)
    for body in hook.bodies:
        arrived[body["model_id"]].append(body["action"])
    assert arrived == story
    for number in range(MANY):
        told = story[1000 + number]
        if number % 10 == 0:
            assert told in (["create", "update"], ["update", "create"])
        elif number % 10 == 1:
            assert told in (["create", "delete"], ["delete"])
        else:
            assert told == ["create"]


def test_progress_is_told_on_the_way(radio: Project, hook: Hook) -> None:
    many(radio)
    subscription = station(radio, hook, "program.*")
    gate = threading.Event()
    hook.answer = lambda _: Answer(gate=gate) if len(hook.requests) >= 100 else OK
    job = begin(radio, subscription, {})
    hook.wait_for(100)
    found = eventually(lambda: (shown := radio.get(f"jobs/{job}"))["done"] >= 90 and shown)
    assert (found["state"], found["total"]) == ("running", MANY)
    assert found["done"] < 100
    problem = radio.post(f"subscriptions/{subscription}/resync", {}, status=409)
    assert job in problem["detail"]

    gate.set()
    found = ended(radio, job)
    assert (found["state"], found["total"], found["done"]) == ("done", MANY, MANY)


def test_a_cancelled_resync_begins_nothing_more_and_live_changes_go_on(radio: Project, hook: Hook) -> None:
    many(radio)
    subscription = station(radio, hook, "program.*")
    gate = threading.Event()
    hook.answer = lambda _: Answer(gate=gate) if len(hook.requests) == 30 else OK
    job = begin(radio, subscription, {})
    hook.wait_for(30)

    cancelled = radio.post(f"jobs/{job}/cancel", status=200)
    gate.set()

    assert cancelled["state"] == "cancelled"
    assert cancelled["done"] < 30
    radio.publish(event(1, "program.update", tenant=1))
    eventually(lambda: not hook.bodies[-1]["resync"])
    assert len(hook.requests) < MANY
    assert radio.get(f"jobs/{job}")["state"] == "cancelled"


def test_a_live_change_does_not_wait_for_all_that_is_resynced(radio: Project, hook: Hook) -> None:
    many(radio)
    subscription = station(radio, hook, "program.*")
    gate = threading.Event()
    hook.answer = lambda _: Answer(gate=gate) if len(hook.requests) == 30 else OK
    job = begin(radio, subscription, {})
    hook.wait_for(30)
    radio.publish(event(1, "program.update", tenant=1))
    gate.set()
    ended(radio, job)
    place = [body["resync"] for body in hook.bodies].index(False)
    assert 30 <= place < MANY


def test_a_resync_goes_on_after_a_crash_and_appends_nothing_twice(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(dev="1", time_scale="100")
    project = server.project("radio").create(dialect="radiomanager")
    many(project, 1200)
    subscription = station(project, hook, "program.*", max_in_flight=4)
    job = begin(project, subscription, {"actor": {"user_id": 7}})

    for number in (150, 500, 800):
        hook.wait_for(number)
        server.kill()
        server.start()
    found = ended(project, job)

    assert (found["state"], found["total"], found["done"], found["failed"]) == ("done", 1200, 1200, 0)
    bodies: defaultdict[int, set[bytes]] = defaultdict(set)
    for request in hook.requests:
        bodies[request.json["model_id"]].add(request.body)
    assert sorted(bodies) == list(range(1000, 2200))
    assert {len(each) for each in bodies.values()} == {1}
