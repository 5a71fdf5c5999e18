"""Receivers of CROWDMANAGER's Push API are pushed to as its document says, pull what they missed, and have exports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.stories.crowdmanager import (
    EXPORT,
    JSON_API,
    PLAIN,
    SUBSCRIPTIONS,
    Organization,
    error_of,
    items,
    organized,
    pushes,
    token_of,
    wait_for_items,
)
from tests.stories.receiving import Answer, Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually


@pytest.fixture
def organization(shared: Server) -> Iterator[Organization]:
    with organized(shared) as organization:
        yield organization


# -- pushing -----------------------------------------------------------------------------------------------------------


def test_a_push_is_an_array_of_items_in_the_format_of_the_subscription(
    organization: Organization, hook: Hook, hooks: Callable[[], Hook]
) -> None:
    plain = hooks()
    organization.set_up(hook)
    organization.set_up(plain, format=PLAIN)
    profile = {"id": 49, "fullName": "Zoë"}
    url = "https://api.crowdmanager.io/v2/7/customerprofiles/49"
    organization.project.publish(
        organization.happened("create", data=profile, url=url, occurred_at="2026-11-22T08:59:58Z")
    )
    [item] = wait_for_items(hook, 1)
    wait_for_items(plain, 1)
    assert list(item) == ["operation", "path", "eventTime", "value", "contentType"]
    assert json.loads(item.pop("value")) == profile
    assert item == {
        "operation": "add", "path": url, "eventTime": "2026-11-22T08:59:58Z", "contentType": "CustomerProfile",
    }  # fmt: skip
    [request] = pushes(hook)
    assert request.path == f"{urlsplit(hook.url).path}?org=7"
    assert request.headers["content-type"] == JSON_API
    assert "authorization" not in request.headers
    assert pushes(plain)[0].headers["content-type"] == PLAIN
    assert pushes(plain)[0].body == request.body


def test_updates_are_batched_and_every_operation_shows_the_final_state(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    names = ["Anna", "Bea", "Cleo"]
    happened = [
        organization.happened(action, data={"fullName": name})
        for action, name in zip(["create", "update", "update"], names, strict=True)
    ]
    organization.project.publish(*happened, organization.happened("update", 50, data={"fullName": "Dora"}))
    found = wait_for_items(hook, 4)
    assert len(pushes(hook)) == 1
    assert [item["operation"] for item in found] == ["add", "replace", "replace", "replace"]
    assert [json.loads(item["value"])["fullName"] for item in found] == ["Cleo", "Cleo", "Cleo", "Dora"]
    times = [item["eventTime"] for item in found]
    assert len(set(times)) == 4
    assert times == sorted(times)


def test_what_was_added_and_then_removed_is_two_items_without_content(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook, event="StreamEntry")
    entry = {"object": "StreamEntry"}
    organization.project.publish(
        organization.happened("create", data={"Content": "Hello"}, **entry), organization.happened("delete", **entry)
    )
    found = wait_for_items(hook, 2)
    assert [(item["operation"], item["value"]) for item in found] == [("add", None), ("remove", None)]


def test_an_update_without_data_shows_what_the_object_is(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    organization.project.publish(organization.happened("create", data={"fullName": "Anna"}))
    wait_for_items(hook, 1)
    organization.project.publish(organization.happened("update"))
    [_, update] = wait_for_items(hook, 2)
    assert (update["operation"], json.loads(update["value"])) == ("replace", {"fullName": "Anna"})
    organization.project.publish(organization.happened("delete"))
    assert wait_for_items(hook, 3)[-1]["value"] is None
    feed = organization.call("GET", f"{SUBSCRIPTIONS}/{id_}/feed").expect(200)["data"]
    assert [item["body"]["value"] for item in feed] == [update["value"], update["value"], None]


def test_who_subscribes_to_profiles_gets_activities_and_consents_too(
    organization: Organization, hook: Hook, hooks: Callable[[], Hook]
) -> None:
    stream = hooks()
    organization.set_up(hook)
    organization.set_up(stream, event="StreamEntry")
    kinds = ["Activity", "StreamEntry", "Consent", "CustomerProfile"]
    organization.project.publish(*(organization.happened("create", object=kind, data={}) for kind in kinds))
    assert [item["contentType"] for item in wait_for_items(hook, 3)] == ["Activity", "Consent", "CustomerProfile"]
    assert [item["contentType"] for item in wait_for_items(stream, 1)] == ["StreamEntry"]


def test_another_organisation_s_data_is_not_pushed(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    other = Organization(organization.project, "8")
    assert organization.project.post("events", other.happened("create"))["matched"] == 0


def test_a_value_is_an_object_where_that_was_asked_for(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    [native] = organization.project.all("subscriptions")
    organization.project.change(native["id"], options={"value_as": "object"})
    organization.project.publish(organization.happened("create", data={"id": 49}))
    assert wait_for_items(hook, 1)[0]["value"] == {"id": 49}


def test_a_url_that_ends_in_obsolete_charset_gets_iso_8859_2(organization: Organization, hook: Hook) -> None:
    url = f"{hook.url}#OBSOLETE-CHARSET"
    id_ = organization.subscribe(url)["id"]
    assert organization.shown(id_)["url"] == url
    organization.put(id_, isEnabled=True, validationToken=token_of(hook)).expect(200)
    organization.project.publish(organization.happened("create", data={"fullName": "Žofie Ñ"}))
    eventually(lambda: pushes(hook))
    [request] = pushes(hook)
    assert request.headers["content-type"] == f"{JSON_API}; charset=iso-8859-2"
    assert json.loads(json.loads(request.body.decode("iso-8859-2"))[0]["value"]) == {"fullName": "Žofie Ñ"}
    assert "#" not in hook.requests[0].path


# -- failing, and pulling what was missed ------------------------------------------------------------------------------


def test_a_push_is_tried_ten_times_and_then_pulled(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    hook.always(Answer(500))
    [missed] = organization.project.publish(organization.happened("create", data={"id": 49}))
    eventually(lambda: organization.shown(id_)["failingSince"])
    [delivery] = organization.project.wait_for("exhausted", event=missed)
    assert len(delivery["attempts"]) == len(pushes(hook)) == 10
    waits = [later.at_s - earlier.at_s for earlier, later in zip(pushes(hook), pushes(hook)[1:], strict=False)]
    assert len({request.body for request in pushes(hook)}) == 1
    assert sum(waits) >= 9.0  # 9,000 s, a thousand times faster.
    shown = organization.shown(id_)
    assert shown["isEnabled"]
    assert shown["failingSince"].endswith("Z")

    feed = organization.call("GET", f"{SUBSCRIPTIONS}/{id_}/feed").expect(200)
    assert [item["id"] for item in feed["data"]] == [missed]
    assert feed["data"][0]["body"]["operation"] == "add"
    rest = organization.call("GET", f"{SUBSCRIPTIONS}/{id_}/feed", after=feed["next"]).expect(200)
    assert rest["data"] == []

    hook.always(Answer(200))
    [later] = organization.project.publish(organization.happened("update", 50, data={"id": 50}))
    organization.project.wait_for("delivered", event=later)
    eventually(lambda: organization.shown(id_)["failingSince"] is None)


@pytest.mark.parametrize(
    ("query", "told"), [({"limit": "0"}, "limit"), ({"limit": "many"}, "limit"), ({"after": "cur_1"}, "cursor")]
)
def test_a_feed_with_a_bad_query_is_a_bad_request(
    organization: Organization, hook: Hook, query: dict[str, str], told: str
) -> None:
    id_ = organization.set_up(hook)
    assert told in error_of(organization.call("GET", f"{SUBSCRIPTIONS}/{id_}/feed", **query), 400)


# -- exporting ---------------------------------------------------------------------------------------------------------


def test_an_export_pushes_the_profiles_that_there_are(organization: Organization, hook: Hook) -> None:
    happened = organization.happened
    organization.project.publish(
        happened("create", 1, data={"n": 1}, occurred_at="2026-01-01T00:00:00Z"),
        happened("create", 2, data={"n": 2}, occurred_at="2026-01-02T00:00:00Z"),
        happened("update", 2, data={"n": 22}, occurred_at="2026-02-02T00:00:00Z"),
        happened("create", 3, data={"n": 3}, occurred_at="2026-03-03T00:00:00Z"),
        happened("create", 4, data={"n": 4}, occurred_at="2026-02-03T00:00:00Z"),
        happened("delete", 4, occurred_at="2026-02-04T00:00:00Z"),
        happened("create", 5, object="Activity", occurred_at="2026-02-05T00:00:00Z"),
    )
    id_ = organization.set_up(hook)
    reply = organization.call(
        "POST", EXPORT, subscriptionId=id_, since="2026-02-01T00:00:00", until="2026-03-03T00:00:00Z"
    )
    started = reply.expect(202)
    assert (started["subscriptionId"], started["since"], started["until"]) == (
        id_, "2026-02-01T00:00:00", "2026-03-03T00:00:00Z",
    )  # fmt: skip
    found = wait_for_items(hook, 2)
    assert [(item["operation"], json.loads(item["value"])["n"]) for item in found] == [("add", 22), ("add", 3)]
    eventually(lambda: export_of(organization, id_)["status"] == "done")
    status = export_of(organization, id_)
    assert (status["id"], status["status"], status["total"], status["done"]) == (started["id"], "done", 2, 2)
    assert len(items(hook)) == 2


def test_an_export_without_bounds_pushes_everything_until_now(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook, format=PLAIN)
    organization.project.publish(organization.happened("create", data={"n": 1}))
    wait_for_items(hook, 1)
    key = f"Basic {organization.key}"
    reply = organization.ask("POST", EXPORT, authorization=key, content_type="", accept="", subscriptionid=id_)
    assert (reply.status, reply.headers["content-type"]) == (202, PLAIN)
    assert reply.json["since"] is None
    assert reply.json["until"].endswith("Z")
    eventually(lambda: export_of(organization, id_)["status"] == "done")
    assert [item["operation"] for item in items(hook)] == ["add", "add"]


def export_of(organization: Organization, id_: str) -> dict[str, Any]:
    status: dict[str, Any] = organization.call("GET", EXPORT, subscriptionId=id_).expect(200)
    return status


def test_an_export_is_refused_in_the_document_s_words(organization: Organization, hook: Hook) -> None:
    refused = "Cannot start export historical CustomerProfiles for subscription <{}> {}"
    assert (
        error_of(organization.call("POST", EXPORT, subscriptionId="999999999"), 404)
        == "Cannot find CustomerProfile subscription with id: 999999999"
    )
    id_ = organization.subscribe(hook.url)["id"]
    export = {"subscriptionId": id_}
    assert error_of(organization.call("POST", EXPORT, **export), 400) == refused.format(id_, "which is not enabled.")
    organization.put(id_, isEnabled=True).expect(200)
    assert error_of(organization.call("POST", EXPORT, **export), 400) == refused.format(id_, "which is not validated.")
    organization.put(id_, validationToken=token_of(hook)).expect(200)
    frame = {"since": "2026-02-02T00:00:00", "until": "2026-01-01T00:00:00+02:00"}
    assert error_of(organization.call("POST", EXPORT, **export, **frame), 400) == (
        "Invalid time frames for the export. Value of 'since' <2026-02-02T00:00:00> cannot be after "
        "'until' <2026-01-01T00:00:00+02:00>."
    )
    stream = organization.set_up(hook, event="StreamEntry")
    assert error_of(organization.call("POST", EXPORT, subscriptionId=stream), 404)


def test_one_export_at_a_time(organization: Organization, hook: Hook) -> None:
    organization.project.publish(organization.happened("create", data={"n": 1}))
    id_ = organization.set_up(hook)
    hook.always(Answer(500))
    organization.call("POST", EXPORT, subscriptionId=id_).expect(202)
    again = organization.call("POST", EXPORT, subscriptionId=id_)
    assert error_of(again, 409) == (
        f"Cannot start export historical CustomerProfiles for subscription <{id_}> while other export task is running."
    )
    hook.always(Answer(200))
    eventually(lambda: export_of(organization, id_)["status"] == "done")
    organization.call("POST", EXPORT, subscriptionId=id_).expect(202)


@pytest.mark.parametrize(
    ("query", "told"),
    [({}, "subscriptionId"), ({"since": "yesterday"}, "since"), ({"until": "2026-02-30"}, "until")],
)
def test_an_export_with_a_bad_query_is_a_bad_request(
    organization: Organization, hook: Hook, query: dict[str, str], told: str
) -> None:
    named = {"subscriptionId": organization.set_up(hook)} if query else {}
    assert told in error_of(organization.call("POST", EXPORT, **named, **query), 400)


def test_an_export_needs_objects_that_are_kept(organization: Organization, hook: Hook) -> None:
    organization.project.create(dialect="crowdmanager", settings={"keep_objects": False})
    id_ = organization.set_up(hook)
    assert "keep_objects" in error_of(organization.call("POST", EXPORT, subscriptionId=id_), 409)


def test_the_status_of_no_export_is_not_found(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    assert id_ in error_of(organization.call("GET", EXPORT, subscriptionId=id_), 404)
