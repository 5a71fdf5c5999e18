"""What Springest's "Webhooks for Trainings API" says, by sentence (docs/reference/compatibility.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.waiting import eventually

SITE = "http://api.springest.nl"
BATCH = {"max_wait_ms": 300}
"""Stories do not wait five seconds."""


@pytest.fixture
def courses(project: Project) -> Project:
    return project.create(dialect="springest")


def _training(id_: int, action: str = "update", *, suffix: str = "") -> dict[str, Any]:
    return event(id_, f"training.{action}", url=f"{SITE}/trainings/{id_}{suffix}")


def _changes(hook: Hook) -> list[dict[str, Any]]:
    return [change for body in hook.bodies for change in body["changes"]]


def test_a_url_is_all_that_a_partner_shares(courses: Project, hook: Hook) -> None:
    made = courses.post("subscriptions", {"url": hook.url}, status=201)
    assert (made["state"], made["url"]) == ("active", hook.url)
    courses.publish(_training(1))
    [request] = hook.wait_for(1)  # Within the five seconds that changes are held back by default.
    assert request.method == "POST"


def test_a_webhook_has_name_url_and_description(courses: Project) -> None:
    made = courses.subscribe("https://partner.example.com/hook", name="Partner", description="Courses in Utrecht")
    shown = courses.subscription(made["id"])
    assert (shown["name"], shown["url"], shown["description"]) == (
        "Partner",
        "https://partner.example.com/hook",
        "Courses in Utrecht",
    )


def test_json_is_posted_to_each_configured_url(courses: Project, hooks: Callable[[], Hook]) -> None:
    each = [hooks() for _ in range(3)]
    for hook in each:
        courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1))
    for hook in each:
        [request] = hook.wait_for(1)
        assert request.headers["content-type"] == "application/json"
        assert [change["id"] for change in request.json["changes"]] == [1]


def test_a_post_holds_an_array_of_changes(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(*(_training(id_) for id_ in range(1, 6)))
    [request] = hook.wait_for(1)
    assert list(request.json) == ["changes"]
    assert [change["id"] for change in request.json["changes"]] == [1, 2, 3, 4, 5]


def test_an_import_is_of_an_institute(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(event(234234, "institute.import", url=f"{SITE}/institutes/234234"))
    hook.wait_for(1)
    assert [(change["action"], change["object"]) for change in _changes(hook)] == [("import", "institute")]
    courses.post("events", event(1, "training.import", url=f"{SITE}/trainings/1"), status=422)


def test_added_and_updated_objects_are_updates(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1, "create"), _training(2, "update"))
    hook.wait_for(1)
    assert [change["action"] for change in _changes(hook)] == ["update", "update"]


def test_a_removed_object_is_destroyed(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(event(1, "training.destroy"), event(2, "training.delete"), event(3, "institute.destroy"))
    hook.wait_for(1)
    assert [change["action"] for change in _changes(hook)] == ["destroy"] * 3


def test_the_objects_are_trainings_and_institutes(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1), event(1, "institute.update", url=f"{SITE}/institutes/1"))
    hook.wait_for(1)
    assert [change["object"] for change in _changes(hook)] == ["training", "institute"]
    courses.post("events", event(1, "review.update"), status=422)


def test_an_id_is_a_number(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(345345))
    hook.wait_for(1)
    assert b'"id":345345' in hook.requests[0].body


def test_a_change_has_a_url_unless_it_is_a_destroy(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1), event(2, "training.destroy", url=f"{SITE}/trainings/2"))
    hook.wait_for(1)
    update, destroy = _changes(hook)
    assert update["url"] == f"{SITE}/trainings/1"
    assert "url" not in destroy


def test_the_url_has_neither_format_nor_key(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1, suffix=".json?api_key=hidden"), _training(2, suffix=".xml"))
    hook.wait_for(1)
    assert [change["url"] for change in _changes(hook)] == [f"{SITE}/trainings/1", f"{SITE}/trainings/2"]


def test_the_example_member_for_member(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(
        event(234234, "institute.import", url=f"{SITE}/institutes/234234"),
        event(345345, "training.update", url=f"{SITE}/trainings/345345"),
        event(34534, "training.destroy"),
    )
    [request] = hook.wait_for(1)
    assert json.loads(request.body, object_pairs_hook=list) == [
        (
            "changes",
            [
                [
                    ("action", "import"),
                    ("object", "institute"),
                    ("id", 234234),
                    ("url", "http://api.springest.nl/institutes/234234"),
                ],
                [
                    ("action", "update"),
                    ("object", "training"),
                    ("id", 345345),
                    ("url", "http://api.springest.nl/trainings/345345"),
                ],
                [("action", "destroy"), ("object", "training"), ("id", 34534)],
            ],
        )
    ]


def test_changes_are_kept_and_sent_until_the_url_works_again(courses: Project, hook: Hook) -> None:
    hook.always(Answer(503))
    made = courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1))
    hook.wait_for(6)
    refused = len(hook.requests)
    assert not courses.deliveries(state="exhausted")
    assert courses.subscription(made["id"])["retry"]["give_up"] is False
    courses.publish(_training(2), event(3, "training.destroy"))
    hook.always(OK)
    eventually(lambda: {change["id"] for body in hook.bodies[refused:] for change in body["changes"]} == {1, 2, 3})


def test_information_is_delayed_and_bundled_by_id(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1), _training(2), _training(1), event(2, "training.destroy"), _training(1))
    courses.wait_for("delivered")
    assert sorted((change["id"], change["action"]) for change in _changes(hook)) == [(1, "update"), (2, "destroy")]


def test_information_is_posted_almost_in_real_time(courses: Project) -> None:
    made = courses.subscribe("https://partner.example.com/hook")
    assert courses.subscription(made["id"])["batch"]["max_wait_ms"] <= 5000


# -- where the document is silent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (["import", "update"], "import"),
        (["update", "import"], "import"),
        (["import", "destroy"], "destroy"),
        (["destroy", "import"], "import"),
        (["destroy", "update"], "update"),
    ],
)
def test_of_several_actions_the_last_counts_and_import_covers_update(
    courses: Project, hook: Hook, actions: list[str], said: str
) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(*(event(9, f"institute.{action}", url=f"{SITE}/institutes/9") for action in actions))
    courses.wait_for("delivered")
    assert [(change["id"], change["action"]) for change in _changes(hook)] == [(9, said)]


def test_what_came_meanwhile_goes_with_the_next_try(courses: Project, hook: Hook) -> None:
    hook.always(Answer(500))
    courses.subscribe(hook.url, batch=BATCH)
    courses.publish(_training(1))
    hook.wait_for(1)
    courses.publish(_training(2), event(1, "training.destroy"))
    hook.answer = lambda request: OK if len(request.json["changes"]) == 2 else Answer(500)
    courses.wait_for("delivered")
    last = hook.bodies[-1]["changes"]
    assert sorted((change["id"], change["action"]) for change in last) == [(1, "destroy"), (2, "update")]


def test_a_url_base_makes_the_url_of_what_has_none(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH, options={"url_base": "https://api.springest.de/"})
    courses.publish(event(5, "training.update"))
    hook.wait_for(1)
    assert _changes(hook)[0]["url"] == "https://api.springest.de/trainings/5"


def test_an_update_without_any_url_cannot_be_said(courses: Project, hook: Hook) -> None:
    courses.subscribe(hook.url, batch=BATCH)
    assert courses.post("events", event(5, "training.update"))["matched"] == 0
    assert courses.post("events", event(5, "training.destroy"))["matched"] == 1
