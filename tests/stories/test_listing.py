"""Lists: filtered, paged both ways, and complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stories.calling import Project, event, server_sent
from tests.stories.receiving import Answer, Hook


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


@pytest.mark.parametrize("limit", [1, 4, 250])
def test_pages_hold_everything_once(project: Project, hook: Hook, limit: int) -> None:
    project.subscribe(hook.url)
    ids = project.publish(*(event(number, tenant=str(number % 3)) for number in range(9)))

    assert sorted(_ids(project.all("events", limit=limit))) == sorted(ids)
    mine = project.publish(*(event(number) for number in range(9)))
    project.wait_for("delivered", number=9)
    deliveries = project.all("deliveries", limit=limit)
    assert len(_ids(deliveries)) == len(set(_ids(deliveries))) == 9
    assert {id_ for id_ in mine if project.deliveries(event=id_)} == set(mine)


def test_one_can_page_back(project: Project) -> None:
    project.publish(*(event(number) for number in range(10)))
    pages, query = [], {"limit": 4}
    page = project.get("events", **query)
    pages.append(page)
    while page["next"]:
        page = project.get("events", after=page["next"], **query)
        pages.append(page)
    assert [len(page["data"]) for page in pages] == [4, 4, 2]
    assert pages[0]["prev"] is None

    for later, earlier in zip(pages[:0:-1], pages[-2::-1], strict=True):
        assert _ids(project.get("events", before=later["prev"], **query)["data"]) == _ids(earlier["data"])


def test_deliveries_can_be_chosen(project: Project, hooks: Callable[[], Hook]) -> None:
    well, bad = hooks(), hooks()
    bad.always(Answer(400))
    fine = project.subscribe(well.url, tenant="1")
    failing = project.subscribe(bad.url, tenant="2", retry={"delays_s": []})
    first, second = project.publish(event(tenant="1"), event(tenant="2"))
    project.wait_for("delivered", number=1)
    project.wait_for("exhausted", number=1)

    def chosen(**filters: str) -> set[tuple[str, str]]:
        return {(delivery["subscription"], delivery["state"]) for delivery in project.deliveries(**filters)}

    one, other = (fine["id"], "delivered"), (failing["id"], "exhausted")
    assert chosen() == {one, other}
    assert chosen(state="delivered") == chosen(tenant="1") == chosen(event=first) == {one}
    assert chosen(state="exhausted") == chosen(subscription=failing["id"]) == chosen(event=second) == {other}
    assert chosen(state="delivered", tenant="2") == set()
    assert chosen(since="2001-01-01T00:00:00Z") == {one, other}
    assert chosen(until="2001-01-01T00:00:00Z") == set()


def test_events_can_be_chosen(project: Project) -> None:
    ids = project.publish(
        event(1, "item.create", tenant="1"), event(2, "item.delete", tenant="2"), event(1, "other.create", tenant="1")
    )

    def chosen(**filters: str) -> list[str]:
        return sorted(_ids(project.all("events", **filters)))

    assert chosen(tenant="1") == sorted([ids[0], ids[2]])
    assert chosen(object="item") == sorted(ids[:2])
    assert chosen(action="create") == sorted([ids[0], ids[2]])
    assert chosen(object="item", object_id="1") == [ids[0]]
    assert chosen(since="2001-01-01T00:00:00Z") == sorted(ids)
    assert chosen(until="2001-01-01T00:00:00Z") == []


def test_subscriptions_can_be_chosen(project: Project) -> None:
    one = project.subscribe(kind="pull", tenant="1")["id"]
    two = project.subscribe(kind="pull", tenant="2")["id"]
    project.post(f"subscriptions/{two}/disable", status=200)

    assert sorted(_ids(project.all("subscriptions"))) == sorted([one, two])
    assert _ids(project.all("subscriptions", tenant="1")) == [one]
    assert _ids(project.all("subscriptions", state="disabled")) == [two]
    assert _ids(project.all("subscriptions", state="active")) == [one]


def test_changes_of_deliveries_can_be_watched(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    with project.client.stream(f"{project.path}/deliveries", headers={"accept": "text/event-stream"}) as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        project.publish(event())
        changes = server_sent(response)
        shown = next(change for change in changes if change["state"] == "delivered")
    assert shown["subscription"] == made["id"]


def test_what_is_left_out_of_a_policy_is_shown_resolved(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)

    assert (made["ordering"], made["timeout_s"], made["kind"], made["dialect"]) == ("object", 15, "push", "standard")
    assert made["retry"]["delays_s"] == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert made["retry"]["give_up"] is True
    assert made["batch"]["coalesce"] == "none"
    assert made["tenant"] == "default"
    shown = project.subscription(made["id"])
    assert {name: value for name, value in made.items() if name != "secret"} == shown
