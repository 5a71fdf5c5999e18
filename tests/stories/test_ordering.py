"""In which order, how many together and how fast a subscription gets its events."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook, Received
from tests.stories.waiting import eventually


def _accepted_by_object(hook: Hook) -> dict[str, list[str]]:
    """Return the ids that came, by object, repeats after a failure left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for request in hook.requests:
        ids = found[request.json["object_id"]]
        if not ids or ids[-1] != request.id:
            ids.append(request.id)
    return found


def test_events_of_one_object_keep_their_order_while_some_fail(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, retry={"delays_s": [3] * 20})
    tried: set[str] = set()

    def fail_every_third_at_first(request: Received) -> Answer:
        if request.json["data"] % 3 == 0 and request.id not in tried:
            tried.add(request.id)
            return Answer(500)
        return OK

    hook.answer = fail_every_third_at_first
    ids = project.publish(*(event(number % 5, data=number) for number in range(100)))

    hook.wait_for_ids(ids)
    for object_id, came in _accepted_by_object(hook).items():
        assert came == ids[int(object_id) :: 5]


def test_an_object_that_fails_holds_up_no_other(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, retry={"delays_s": [2_000_000]})
    hook.answer = lambda request: Answer(422) if request.json["object_id"] == "bad" else OK
    bad = project.publish(event("bad", data=1), event("bad", data=2))
    good = project.publish(*(event(number) for number in range(20)))

    hook.wait_for_ids(good)
    assert sorted(hook.ids) == sorted([bad[0], *good])


def test_strict_order_waits_for_the_first(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, ordering="strict", retry={"delays_s": [3] * 20})
    hook.script(*[Answer(500)] * 3, OK)

    ids = project.publish(*(event(number) for number in range(20)))

    hook.wait_for_ids(ids)
    assert hook.ids == [ids[0]] * 3 + ids
    assert hook.most_at_once == 1


def test_without_an_order_nothing_waits(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, ordering="none", retry={"delays_s": [2_000_000]})
    hook.answer = lambda request: Answer(422) if request.json["data"] == 0 else OK

    ids = project.publish(*(event("same", data=number) for number in range(20)))

    hook.wait_for_ids(ids)
    assert sorted(hook.ids) == sorted(ids)


def test_no_more_are_on_the_wire_than_asked_for(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, max_in_flight=3)
    gate = threading.Event()
    hook.always(Answer(gate=gate))

    ids = project.publish(*(event(number) for number in range(30)))
    hook.wait_for(3)
    gate.set()

    hook.wait_for_ids(ids)
    assert hook.most_at_once == 3


def test_a_rate_is_kept(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, rate={"per_minute": 120})

    ids = project.publish(*(event(number) for number in range(8)))

    hook.wait_for_ids(ids)
    assert sorted(hook.ids) == sorted(ids)
    # However much of the first second's share may come at once, six of eight take time at two a second.
    assert hook.requests[-1].at_s - hook.requests[0].at_s >= 2


def _batches(hook: Hook) -> list[list[dict[str, Any]]]:
    return [body["events"] for body in hook.bodies]


def test_a_batch_is_full_by_its_number_or_its_time(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, batch={"max_events": 10, "max_wait_ms": 300}, max_in_flight=1)

    ids = project.publish(*(event(number, data=number) for number in range(25)))

    hook.wait_for(3)
    assert [[item["id"] for item in batch] for batch in _batches(hook)] == [ids[:10], ids[10:20], ids[20:]]
    assert [body["type"] for body in hook.bodies] == ["batch"] * 3
    assert [body["id"] for body in hook.bodies] == hook.ids
    deliveries = project.wait_for("delivered", number=3, subscription=made["id"])
    assert {delivery["id"] for delivery in deliveries} == set(hook.ids)


def test_a_batch_is_full_by_its_bytes(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, batch={"max_events": 100, "max_wait_ms": 300, "max_bytes": 4096})

    ids = project.publish(*(event(number, data="x" * 1000) for number in range(10)))

    hook.wait_for(4)
    assert sorted(item["id"] for batch in _batches(hook) for item in batch) == sorted(ids)
    assert all(len(request.body) <= 4096 + 256 for request in hook.requests)


def test_a_batch_keeps_its_id_members_and_bytes_while_it_fails(project: Project, hook: Hook) -> None:
    project.subscribe(
        hook.url, batch={"max_events": 5, "max_wait_ms": 200}, retry={"delays_s": [5] * 10}, max_in_flight=1
    )
    hook.script(Answer(500), Answer(500), OK)
    first = project.publish(*(event(number) for number in range(5)))
    hook.wait_for(1)
    second = project.publish(*(event(number) for number in range(5)))

    hook.wait_for(4)
    assert len({request.body for request in hook.requests[:3]}) == 1
    assert [[item["id"] for item in batch] for batch in _batches(hook)[:3]] == [first] * 3
    came = [item["id"] for batch in _batches(hook)[3:] for item in batch]
    assert came == second[: len(came)]


def test_coalescing_keeps_the_latest_of_each_object(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, batch={"max_events": 50, "max_wait_ms": 500, "coalesce": "latest"})

    ids = project.publish(*(event(number % 3, data=number) for number in range(30)))

    hook.wait_for(1)
    [batch] = _batches(hook)
    assert [(item["object_id"], item["data"]) for item in batch] == [("0", 27), ("1", 28), ("2", 29)]
    assert [item["id"] for item in batch] == ids[27:]


def test_coalescing_operations_keeps_each_and_shares_the_final_state(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, batch={"max_events": 50, "max_wait_ms": 500, "coalesce": "operations"})

    ids = project.publish(
        event(1, "item.create", data={"v": 1}),
        event(2, "item.create", data={"v": 10}),
        event(1, "item.update", data={"v": 2}),
        event(1, "item.update", data={"v": 3}),
    )

    hook.wait_for(1)
    [batch] = _batches(hook)
    assert {item["data"]["v"] for item in batch if item["object_id"] == "1"} == {3}
    assert {item["data"]["v"] for item in batch if item["object_id"] == "2"} == {10}
    assert [(item["object_id"], item["action"]) for item in batch][:2] == [("1", "create"), ("2", "create")]
    assert ("1", "update") in [(item["object_id"], item["action"]) for item in batch]
    assert {item["id"] for item in batch} <= set(ids)


def test_nothing_newest_is_lost_by_coalescing_under_load(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, batch={"max_events": 20, "max_wait_ms": 5, "coalesce": "latest"}, max_in_flight=2)

    for start in range(0, 400, 40):
        project.publish(*(event(number % 8, data=number) for number in range(start, start + 40)))

    def newest() -> dict[str, int]:
        return {item["object_id"]: item["data"] for batch in _batches(hook) for item in batch}

    project.wait_for("delivered")
    expected = {str(number % 8): number for number in range(392, 400)}
    eventually(lambda: newest() == expected, told=newest)
    for object_id in range(8):
        came = [item["data"] for batch in _batches(hook) for item in batch if item["object_id"] == str(object_id)]
        assert came == sorted(came)
