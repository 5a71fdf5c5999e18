"""Clients of CROWDMANAGER's Push API subscribe, validate and enable as its guide says, knowing nothing of Angarium."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.stories.calling import Project, event
from tests.stories.crowdmanager import (
    EXPORT,
    JSON_API,
    NOBODY,
    PLAIN,
    SUBSCRIPTIONS,
    Organization,
    error_of,
    organized,
    pushes,
    token_of,
    wait_for_items,
)
from tests.stories.receiving import Answer, Hook
from tests.stories.serving import Server


@pytest.fixture
def organization(shared: Server) -> Iterator[Organization]:
    with organized(shared) as organization:
        yield organization


# -- subscribing -------------------------------------------------------------------------------------------------------


def test_a_subscription_is_made_once_its_url_has_answered(organization: Organization, hook: Hook) -> None:
    url = f"{hook.url}?org={{org}}"
    reply = organization.call("POST", SUBSCRIPTIONS, {"subscriptions": {"event": "CustomerProfile", "url": url}})
    made = reply.expect(201)["subscriptions"]
    assert reply.headers["content-type"] == JSON_API
    assert made["id"].isdigit()
    base = f"http://127.0.0.1:{organization.project.client.port}{organization.base}"
    assert made == {
        "id": made["id"],
        "href": f"{base}/pushservice/subscriptions/{made['id']}/",
        "type": "subscriptions",
        "url": url,
        "isEnabled": False,
        "isValidated": False,
        "event": "CustomerProfile",
    }
    [asked] = hook.requests
    path = urlsplit(hook.url).path
    assert asked.method == "GET"
    assert asked.path == f"{path}?org=7&Id={made['id']}&ValidationToken={token_of(hook)}"
    assert asked.body == b""
    assert "authorization" not in asked.headers
    assert len(token_of(hook)) >= 16


def test_the_place_that_href_names_can_be_read(organization: Organization, hook: Hook) -> None:
    made = organization.subscribe(hook.url)
    reply = organization.project.client.call(
        "GET", urlsplit(made["href"]).path, headers={"authorization": f"Basic {organization.key}"}
    )
    assert reply.expect(200)["subscriptions"]["id"] == made["id"]


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
def test_nothing_is_stored_unless_the_url_answers_200(organization: Organization, hook: Hook, status: int) -> None:
    hook.always(Answer(status))
    reply = organization.call("POST", SUBSCRIPTIONS, {"subscriptions": {"event": "CustomerProfile", "url": hook.url}})
    assert str(status) in error_of(reply, 400)
    assert organization.call("GET", SUBSCRIPTIONS).expect(200) == {"subscriptions": []}


def test_a_name_that_does_not_resolve_fails_the_validation(organization: Organization) -> None:
    reply = organization.call("POST", SUBSCRIPTIONS, {"subscriptions": {"event": "CustomerProfile", "url": NOBODY}})
    assert "did not answer" in error_of(reply, 400)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "subscriptions"),
        ({"url": "http://example.com"}, "subscriptions"),
        ([], "subscriptions"),
        ({"subscriptions": {}}, "url"),
        ({"subscriptions": {"url": 5}}, "url"),
        ({"subscriptions": {"url": "ftp://example.com"}}, "url"),
        ({"subscriptions": {"url": "http://10.0.0.1/"}}, "url"),
        ({"subscriptions": {"url": "http://example.com/#fragment"}}, "url"),
        ({"subscriptions": {"url": "http://example.com", "event": "Weather"}}, "event"),
        ({"subscriptions": {"url": "http://example.com", "format": "text/xml"}}, "format"),
    ],
)
def test_a_bad_body_is_a_bad_request(organization: Organization, document: Any, told: str) -> None:
    assert told in error_of(organization.call("POST", SUBSCRIPTIONS, document), 400)


def test_what_is_no_json_is_a_bad_request(organization: Organization) -> None:
    key = f"Basic {organization.key}"
    assert "JSON" in error_of(organization.ask("POST", SUBSCRIPTIONS, body=b"{", authorization=key), 400)


def test_ids_are_digits_that_grow(organization: Organization, hook: Hook) -> None:
    ids = [int(organization.subscribe(hook.url)["id"]) for _ in range(3)]
    assert ids == sorted(set(ids))


def test_either_media_type_is_taken_and_given(organization: Organization, hook: Hook) -> None:
    key = f"Basic {organization.key}"
    wanted = {"subscriptions": {"event": "CustomerProfile", "url": hook.url}}
    made = organization.ask("POST", SUBSCRIPTIONS, wanted, authorization=key, content_type=PLAIN, accept="*/*")
    assert (made.status, made.headers["content-type"]) == (201, PLAIN)
    found = organization.ask("GET", SUBSCRIPTIONS, authorization=key, content_type="", accept="")
    assert (found.status, found.headers["content-type"]) == (200, JSON_API)
    plain = organization.ask("GET", SUBSCRIPTIONS, authorization=key, content_type="", accept=PLAIN)
    assert plain.headers["content-type"] == PLAIN


def test_a_body_need_not_say_that_it_is_json(organization: Organization, hook: Hook) -> None:
    key = f"Basic {organization.key}"
    wanted = {"subscriptions": {"event": "CustomerProfile", "url": hook.url}}
    made = organization.ask("POST", SUBSCRIPTIONS, wanted, authorization=key, content_type="")
    assert (made.status, made.headers["content-type"]) == (201, JSON_API)
    form = "application/x-www-form-urlencoded"
    assert form in error_of(organization.ask("POST", SUBSCRIPTIONS, wanted, authorization=key, content_type=form), 415)


def test_subscriptions_are_listed_and_chosen_by_event(organization: Organization, hook: Hook) -> None:
    profiles = organization.subscribe(hook.url)["id"]
    stream = organization.subscribe(hook.url, event="StreamEntry", format=PLAIN)["id"]
    listed = organization.call("GET", SUBSCRIPTIONS).expect(200)["subscriptions"]
    assert [each["id"] for each in listed] == [profiles, stream]
    [chosen] = organization.call("GET", SUBSCRIPTIONS, eventname="StreamEntry").expect(200)["subscriptions"]
    assert chosen == organization.shown(stream)
    assert (chosen["event"], chosen["format"], chosen["failingSince"]) == ("StreamEntry", PLAIN, None)
    assert chosen["createdDateTime"].endswith("Z")
    assert organization.shown(profiles)["format"] == JSON_API
    assert token_of(hook) not in json.dumps(listed)


def test_a_deleted_subscription_is_gone(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    assert organization.call("DELETE", f"{SUBSCRIPTIONS}/{id_}/").status == 204
    assert id_ in error_of(organization.call("GET", f"{SUBSCRIPTIONS}/{id_}"), 404)
    assert error_of(organization.call("DELETE", f"{SUBSCRIPTIONS}/{id_}"), 404)
    assert organization.project.post("events", organization.happened("update"))["matched"] == 0


def test_a_subscription_is_found_natively_by_its_own_id_there(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    [native] = organization.project.all("subscriptions")
    assert (native["external_id"], native["state"], native["tenant"]) == (id_, "active", "7")
    assert native["url"] == f"{hook.url}?org={{org}}"


# -- keys --------------------------------------------------------------------------------------------------------------


def test_no_key_and_an_unknown_one_are_refused(organization: Organization) -> None:
    without = organization.ask("GET", SUBSCRIPTIONS)
    assert "Basic" in error_of(without, 401)
    assert without.headers["www-authenticate"] == "Basic"
    assert error_of(organization.call("GET", SUBSCRIPTIONS, key="aaabbbccc111222333"), 401)


def test_another_organisation_is_not_found(organization: Organization, hook: Hook) -> None:
    other = Organization(organization.project, "8")
    id_ = organization.set_up(hook)
    assert error_of(organization.call("GET", SUBSCRIPTIONS, key=other.key), 404)
    assert error_of(other.call("GET", f"{SUBSCRIPTIONS}/{id_}"), 404)
    assert error_of(other.put(id_, isEnabled=False), 404)
    assert error_of(other.call("DELETE", f"{SUBSCRIPTIONS}/{id_}"), 404)
    assert error_of(other.call("GET", f"{SUBSCRIPTIONS}/{id_}/feed"), 404)
    unknown = error_of(other.call("POST", EXPORT, subscriptionId=id_), 404)
    assert unknown == f"Cannot find CustomerProfile subscription with id: {id_}"
    assert other.call("GET", SUBSCRIPTIONS).expect(200) == {"subscriptions": []}


def test_an_unknown_path_or_method_is_told_in_the_same_form(organization: Organization) -> None:
    assert error_of(organization.call("GET", "pushservice/elsewhere"), 404) == "Not Found"
    refused = organization.call("PATCH", SUBSCRIPTIONS, {})
    assert error_of(refused, 405) == "Method Not Allowed"
    assert "POST" in refused.headers["allow"]


# -- validating and enabling -------------------------------------------------------------------------------------------


def test_only_what_is_validated_and_enabled_is_pushed_to(organization: Organization, hook: Hook) -> None:
    id_ = organization.subscribe(hook.url)["id"]
    project, update = organization.project, organization.happened("update")
    assert project.post("events", update)["matched"] == 0
    enabled = organization.put(id_, isEnabled=True).expect(200)["subscriptions"]
    assert (enabled["isEnabled"], enabled["isValidated"]) == (True, False)
    assert project.post("events", update)["matched"] == 0
    validated = organization.put(id_, validationToken=token_of(hook)).expect(200)["subscriptions"]
    assert (validated["isEnabled"], validated["isValidated"]) == (True, True)
    assert project.post("events", update)["matched"] == 1
    disabled = organization.put(id_, isEnabled=False).expect(200)["subscriptions"]
    assert (disabled["isEnabled"], disabled["isValidated"]) == (False, True)
    assert project.post("events", update)["matched"] == 0
    organization.put(id_, isEnabled=True).expect(200)
    assert project.post("events", update)["matched"] == 1


def test_the_token_may_come_with_both_flags(organization: Organization, hook: Hook) -> None:
    id_ = organization.subscribe(hook.url)["id"]
    changed = organization.put(id_, isEnabled=True, isValidated=True, validationToken=token_of(hook)).expect(200)
    assert changed["subscriptions"] == organization.shown(id_)
    assert changed["subscriptions"]["isValidated"]


def test_what_was_read_may_be_sent_back_with_a_change(organization: Organization, hook: Hook) -> None:
    id_ = organization.subscribe(f"{hook.url}?org={{org}}")["id"]
    document = {**organization.shown(id_), "isEnabled": True, "validationToken": token_of(hook)}
    assert organization.put(id_, **document).expect(200)["subscriptions"]["isValidated"]
    organization.put(id_, **{**organization.shown(id_), "isEnabled": False}).expect(200)
    shown = organization.shown(id_)
    assert (shown["isEnabled"], shown["isValidated"]) == (False, True)
    assert len(hook.requests) == 1


@pytest.mark.parametrize("members", [{"validationToken": "wrong", "isEnabled": True}, {"isValidated": True}])
def test_without_the_right_token_nothing_changes(
    organization: Organization, hook: Hook, members: dict[str, Any]
) -> None:
    id_ = organization.subscribe(hook.url)["id"]
    before = organization.shown(id_)
    assert "alidat" in error_of(organization.put(id_, **members), 400)
    assert organization.shown(id_) == before


def test_a_token_serves_one_subscription_only(organization: Organization, hook: Hook) -> None:
    first = organization.subscribe(hook.url)["id"]
    token = token_of(hook)
    second = organization.subscribe(hook.url)["id"]
    assert error_of(organization.put(second, validationToken=token), 400)
    organization.put(first, validationToken=token).expect(200)


def test_another_url_must_be_validated_again(organization: Organization, hook: Hook, hooks: Callable[[], Hook]) -> None:
    id_, other = organization.set_up(hook), hooks()
    first = token_of(hook)
    changed = organization.put(id_, url=other.url).expect(200)["subscriptions"]
    assert (changed["url"], changed["isEnabled"], changed["isValidated"]) == (other.url, True, False)
    assert organization.project.post("events", organization.happened("update"))["matched"] == 0
    assert error_of(organization.put(id_, validationToken=first), 400)
    organization.put(id_, validationToken=token_of(other)).expect(200)
    organization.project.publish(organization.happened("update"))
    wait_for_items(other, 1)
    assert not pushes(hook)


def test_a_url_that_does_not_answer_changes_nothing(
    organization: Organization, hook: Hook, hooks: Callable[[], Hook]
) -> None:
    id_, other = organization.set_up(hook), hooks()
    before = organization.shown(id_)
    other.always(Answer(404))
    assert "404" in error_of(organization.put(id_, url=other.url, isEnabled=False), 400)
    assert error_of(organization.put(id_, url=NOBODY), 400)
    assert organization.shown(id_) == before


def test_a_lost_token_is_had_again_by_sending_the_url_again(organization: Organization, hook: Hook) -> None:
    id_ = organization.subscribe(hook.url)["id"]
    first = token_of(hook)
    organization.put(id_, url=hook.url).expect(200)
    assert token_of(hook) != first
    assert organization.put(id_, validationToken=token_of(hook)).expect(200)["subscriptions"]["isValidated"]


def test_what_is_made_natively_is_validated_by_the_same_get(organization: Organization, hook: Hook) -> None:
    hook.always(Answer(404))
    made = organization.project.subscribe(f"{hook.url}?org={{org}}", tenant="7", types=["CustomerProfile.*"])
    assert made["state"] == "unverified"
    assert "404" in made["reason"]
    hook.always(Answer(200))
    path = f"{organization.project.path}/subscriptions/{made['id']}/verify"
    assert organization.project.client.call("POST", path).expect(200)["state"] == "active"
    assert [request.method for request in hook.requests] == ["GET", "GET"]
    [listed] = organization.call("GET", SUBSCRIPTIONS).expect(200)["subscriptions"]
    assert (listed["event"], listed["isEnabled"], listed["isValidated"]) == ("CustomerProfile", True, True)
    assert f"&Id={listed['id']}&ValidationToken=" in hook.requests[-1].path
    organization.project.publish(organization.happened("update"))
    wait_for_items(hook, 1)


def test_another_dialect_s_subscription_is_validated_when_it_is_to_speak_this_one(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    path = f"{project.path}/subscriptions/{made['id']}"
    hook.always(Answer(404))
    refused = project.client.call("PATCH", path, {"dialect": "crowdmanager"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "url")
    assert project.subscription(made["id"])["dialect"] == "standard"
    hook.always(Answer(200))
    assert project.change(made["id"], dialect="crowdmanager")["state"] == "active"
    project.publish(event("1", "thing.create", data={"n": 1}))
    [item] = wait_for_items(hook, 1)
    assert (item["operation"], item["contentType"]) == ("add", "thing")


# -- refusing changes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"event": "StreamEntry"}, "event"),
        ({"format": "text/xml"}, "format"),
        ({"isEnabled": "true"}, "isEnabled"),
        ({"isValidated": False, "isEnabled": False}, "isValidated"),
        ({"url": "http://127.0.0.1:9/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
    ],
)
def test_a_change_that_cannot_be_is_a_bad_request(
    organization: Organization, hook: Hook, members: dict[str, Any], told: str
) -> None:
    id_ = organization.set_up(hook)
    before = organization.shown(id_)
    assert told in error_of(organization.put(id_, **members), 400)
    assert organization.shown(id_) == before


def test_a_token_is_not_for_another_url(organization: Organization, hook: Hook, hooks: Callable[[], Hook]) -> None:
    id_, other = organization.subscribe(hook.url)["id"], hooks()
    refused = organization.put(id_, url=other.url, validationToken=token_of(hook))
    assert "validationToken" in error_of(refused, 400)
    assert not other.requests


def test_the_format_can_be_changed(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    assert organization.put(id_, format=PLAIN).expect(200)["subscriptions"]["format"] == PLAIN
    organization.project.publish(organization.happened("create", data={}))
    wait_for_items(hook, 1)
    assert pushes(hook)[0].headers["content-type"] == PLAIN


def test_what_an_operator_does_is_shown_in_the_flags(organization: Organization, hook: Hook) -> None:
    id_ = organization.set_up(hook)
    [native] = organization.project.all("subscriptions")
    flags = {}
    for step in ("pause", "resume", "disable"):
        organization.project.post(f"subscriptions/{native['id']}/{step}", status=200)
        shown = organization.shown(id_)
        flags[step] = (shown["isEnabled"], shown["isValidated"])
    assert flags == {"pause": (True, True), "resume": (True, True), "disable": (False, True)}


# -- other keys, and the root ------------------------------------------------------------------------------------------


def test_an_operator_s_key_reaches_every_organisation_and_a_publisher_s_none(
    organization: Organization, hook: Hook
) -> None:
    id_ = organization.set_up(hook)
    project = organization.project
    keys = {scope: project.post("keys", {"scope": scope}, status=201)["key"] for scope in ("manage", "read", "publish")}
    assert organization.call("GET", f"{SUBSCRIPTIONS}/{id_}", key=keys["read"]).status == 200
    assert "scope" in error_of(organization.call("DELETE", f"{SUBSCRIPTIONS}/{id_}", key=keys["read"]), 403)
    assert error_of(organization.call("GET", SUBSCRIPTIONS, key=keys["publish"]), 403)
    assert organization.call("DELETE", f"{SUBSCRIPTIONS}/{id_}", key=keys["manage"]).status == 204


def test_a_client_only_changes_its_host_name(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(root_project="cm")
    organization = Organization(server.project("cm").create(dialect="crowdmanager"), "7")
    organization.base = "/v2/7"
    made = organization.subscribe(f"{hook.url}?org={{org}}")
    assert made["href"] == f"http://127.0.0.1:{server.port}/v2/7/pushservice/subscriptions/{made['id']}/"
    organization.put(made["id"], isEnabled=True, validationToken=token_of(hook)).expect(200)
    organization.project.publish(organization.happened("create", data={}))
    wait_for_items(hook, 1)
