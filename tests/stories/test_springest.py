"""Springest's hooks as their document tells them: changes in bundles, kept and tried until the receiver works again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import RESET, Answer, Hook
from tests.stories.serving import Server

API = "http://api.springest.nl"
SOON: dict[str, Any] = {"max_wait_ms": 100}
"""What is published at once goes out together all the same."""

_numbers = count(1)


@pytest.fixture
def springest(shared: Server) -> Iterator[Project]:
    """Return a project of Springest's dialect."""
    project = Project(shared.client, f"springest-{next(_numbers)}").create(dialect="springest")
    yield project
    project.client.call("DELETE", project.path).expect(204)


def change(type_: str, id_: int, **members: Any) -> dict[str, Any]:
    """Return an event with the url that the object is fetched from."""
    object_, action = type_.split(".")
    url = {} if action == "destroy" else {"url": f"{API}/{object_}s/{id_}"}
    return event(id_, type_, **{**url, **members})


def changes(hook: Hook) -> list[Any]:
    """Return all changes that came, in their order."""
    return [each for body in hook.bodies for each in body["changes"]]


def test_the_document_s_own_example_arrives_member_for_member(springest: Project, hook: Hook) -> None:
    springest.subscribe(hook.url)
    springest.publish(
        change("institute.import", 234234), change("training.update", 345345), change("training.destroy", 34534)
    )

    [request] = hook.wait_for(1)

    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert request.body == (
        b'{"changes":['
        b'{"action":"import","object":"institute","id":234234,"url":"http://api.springest.nl/institutes/234234"},'
        b'{"action":"update","object":"training","id":345345,"url":"http://api.springest.nl/trainings/345345"},'
        b'{"action":"destroy","object":"training","id":34534}]}'
    )


def test_a_hook_has_a_name_a_url_and_a_description_and_each_one_gets_all_changes(
    springest: Project, hooks: Callable[[], Hook]
) -> None:
    one, other = hooks(), hooks()
    made = springest.subscribe(one.url, name="Courseboard", description="for the trainings board", batch=SOON)
    springest.subscribe(other.url, batch=SOON)
    found = springest.subscription(made["id"])
    assert (found["name"], found["url"], found["description"]) == (
        "Courseboard",
        one.url,
        "for the trainings board",
    )
    springest.publish(change("training.update", 1))
    one.wait_for(1)
    other.wait_for(1)
    assert changes(one) == changes(other)


def test_added_and_updated_are_one_action_and_removed_has_no_url(springest: Project, hook: Hook) -> None:
    springest.subscribe(hook.url, batch=SOON)
    for number, action in enumerate(("create", "update", "recover", "delete", "destroy"), start=1):
        springest.publish(event(number, f"institute.{action}", url=f"{API}/institutes/{number}"))
    while len(changes(hook)) < 5:
        hook.wait_for(len(hook.requests) + 1)
    assert [(each["id"], each["action"], "url" in each) for each in changes(hook)] == [
        (1, "update", True),
        (2, "update", True),
        (3, "update", True),
        (4, "destroy", False),
        (5, "destroy", False),
    ]


def test_several_changes_of_one_id_within_the_delay_are_one_the_last(springest: Project, hook: Hook) -> None:
    springest.subscribe(hook.url, batch=SOON)
    springest.publish(
        change("training.update", 1),
        change("training.update", 2),
        change("institute.update", 1),
        change("training.destroy", 1),
        change("training.update", 2),
        change("training.destroy", 3),
        change("training.update", 3),
    )
    [request] = hook.wait_for(1)
    assert [(each["object"], each["id"], each["action"]) for each in request.json["changes"]] == [
        ("institute", 1, "update"),
        ("training", 1, "destroy"),
        ("training", 2, "update"),
        ("training", 3, "update"),
    ]


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["import", "update"], "import"),
        (["update", "import"], "import"),
        (["import", "destroy"], "destroy"),
        (["destroy", "import"], "import"),
        (["import", "destroy", "update"], "update"),
    ],
)
def test_an_import_outlasts_updates_of_its_institute(
    springest: Project, hook: Hook, actions: list[str], expected: str
) -> None:
    springest.subscribe(hook.url, batch=SOON)
    springest.publish(*(change(f"institute.{action}", 1) for action in actions), change("training.update", 9))
    [request] = hook.wait_for(1)
    assert [(each["object"], each["action"]) for each in request.json["changes"]] == [
        ("institute", expected),
        ("training", "update"),
    ]


def test_the_url_has_neither_the_format_s_extension_nor_the_api_key(springest: Project, hook: Hook) -> None:
    springest.subscribe(hook.url, batch=SOON)
    springest.publish(event(1, "training.update", url=f"{API}/trainings/1.json?api_key=secret"))
    hook.wait_for(1)
    assert [each["url"] for each in changes(hook)] == [f"{API}/trainings/1"]


def test_a_site_s_urls_are_made_where_the_event_has_none(springest: Project, hooks: Callable[[], Hook]) -> None:
    with_base, without = hooks(), hooks()
    springest.subscribe(with_base.url, options={"url_base": "http://api.springest.de"}, batch=SOON)
    springest.subscribe(without.url, batch=SOON)
    springest.publish(event(7, "training.update"), change("training.destroy", 8))
    with_base.wait_for(1)
    without.wait_for(1)
    assert [each.get("url") for each in changes(with_base)] == ["http://api.springest.de/trainings/7", None]
    assert [each["id"] for each in changes(without)] == [8]


def test_what_came_during_an_outage_is_sent_with_what_failed_until_it_works_again(
    springest: Project, hook: Hook
) -> None:
    springest.subscribe(hook.url, batch=SOON)
    hook.answer = lambda request: Answer(500) if len(hook.requests) % 2 else RESET
    springest.publish(change("training.update", 1))
    hook.wait_for(2)
    springest.publish(change("training.update", 2), change("training.destroy", 1))
    hook.wait_for(len(hook.requests) + 6)

    hook.always(Answer(200))
    springest.wait_for("delivered")

    assert [(each["id"], each["action"]) for each in hook.bodies[-1]["changes"]] == [(2, "update"), (1, "destroy")]
    springest.publish(change("training.update", 3))
    last = len(hook.requests)
    hook.wait_for(last + 1)
    assert [each["id"] for each in hook.bodies[-1]["changes"]] == [3]


def test_what_was_merged_is_sent_again_with_what_it_was_merged_into(springest: Project, hook: Hook) -> None:
    springest.subscribe(hook.url, batch=SOON)
    hook.always(Answer(500))
    springest.publish(change("training.update", 1))
    hook.wait_for(2)
    springest.publish(change("training.update", 2))
    merged = springest.wait_for("merged")[0]
    hook.always(Answer(200))
    springest.wait_for("delivered")

    refused = springest.client.call("POST", f"{springest.path}/deliveries/{merged['id']}/redeliver").expect(409)

    assert "merged into a later one" in refused["detail"]


def test_no_outage_is_too_long_nor_does_a_410_end_it(springest: Project, hook: Hook) -> None:
    made = springest.subscribe(hook.url, batch=SOON, retry={"delays_s": [1]})
    hook.always(Answer(410))
    springest.publish(change("training.update", 1))
    hook.wait_for(20)
    found = springest.subscription(made["id"])
    assert (found["state"], found["retry"]["give_up"], found["backlog"]) == ("failing", False, 1)

    hook.always(Answer(200))
    springest.wait_for("delivered")


def test_what_was_stored_during_an_outage_outlives_a_crash_of_ours(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(dev="1", time_scale="100")
    project = server.project("springest").create(dialect="springest")
    project.subscribe(hook.url, batch=SOON)
    hook.always(Answer(503))
    project.publish(change("training.update", 1), change("training.update", 2))
    hook.wait_for(2)
    server.kill()
    hook.always(Answer(200))
    server.start()
    project.publish(change("training.destroy", 1))
    project.wait_for("delivered")
    hook.wait_for(len(hook.requests))

    def last() -> dict[int, str]:
        return {each["id"]: each["action"] for each in changes(hook)}

    project.wait_for("delivered")
    while last() != {1: "destroy", 2: "update"}:
        hook.wait_for(len(hook.requests) + 1)
