"""What CROWDMANAGER's Push API document says, by sentence (docs/reference/compatibility.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stories.calling import Client, Project, Reply, event
from tests.stories.receiving import OK, Answer, Hook, Received
from tests.stories.serving import Server
from tests.stories.waiting import eventually

JSON_API = "application/vnd.api+json"
ORGANIZATION = "7"


class Organization:
    """One organisation's API consumer: an opaque key, and the subscriptions resource."""

    def __init__(self, project: Project) -> None:
        self.project = project.create(dialect="crowdmanager")
        key = self.project.post("keys", {"scope": "tenant", "tenant": ORGANIZATION}, status=201)["key"]
        self._client = Client(project.client.port, key)
        self._key = key
        self._base = f"/p/{project.name}/v2/{ORGANIZATION}/pushservice/subscriptions"

    def call(self, method: str, path: str = "", document: Any = None) -> Reply:
        """Call the subscriptions resource."""
        headers = {"authorization": f"Basic {self._key}", "content-type": JSON_API, "accept": JSON_API}
        body = None if document is None else json.dumps({"subscriptions": document}).encode()
        return self._client.call(method, self._base + path, body=body, headers=headers)

    def register(self, hook: Hook, **members: Any) -> str:
        """Register a subscription; return its id."""
        made = self.call("POST", "", {"event": "CustomerProfile", "url": hook.url, **members})
        return str(made.expect(201)["subscriptions"]["id"])

    def validate(self, hook: Hook, id_: str) -> None:
        """Hand in the token that came to the hook."""
        token = next(_token(request) for request in hook.requests if _query(request).get("Id") == id_)
        wanted = {"isEnabled": True, "isValidated": True, "validationToken": token}
        self.call("PUT", f"/{id_}", wanted).expect(200)

    def set_up(self, hook: Hook, *, window_ms: int = 300, **members: Any) -> str:
        """Register, validate and enable, with a batch window for a story; return the subscription's id."""
        id_ = self.register(hook, **members)
        self.validate(hook, id_)
        self.project.change(self.native(id_)["id"], batch={"max_wait_ms": window_ms})
        return id_

    def native(self, id_: str) -> dict[str, Any]:
        """Return a subscription as the native API shows it."""
        [found] = [one for one in self.project.all("subscriptions") if one.get("external_id") == id_]
        return found

    def happens(self, *actions: str, object_id: str = "12", **members: Any) -> None:
        """Let these happen to a profile, one after the other, in one publish."""
        profile = {"url": f"https://api.crowdmanager.io/v2/7/customerprofiles/{object_id}", **members}
        self.project.publish(
            *(event(object_id, f"CustomerProfile.{action}", tenant=ORGANIZATION, **profile) for action in actions)
        )


def _query(request: Received) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def _token(request: Received) -> str:
    return _query(request)["ValidationToken"]


def _pushes(hook: Hook) -> list[Received]:
    return [request for request in hook.requests if request.method == "POST"]


def _wait_for_pushes(hook: Hook, number: int) -> list[Received]:
    eventually(lambda: len(_pushes(hook)) >= number, told=lambda: hook.requests)
    return _pushes(hook)


def _items(hook: Hook) -> list[dict[str, Any]]:
    return [item for request in _pushes(hook) for item in request.json]


@pytest.fixture
def organization(project: Project) -> Organization:
    return Organization(project)


def test_a_consumer_registers_a_subscription_that_names_the_endpoint(organization: Organization, hook: Hook) -> None:
    id_ = organization.register(hook)
    shown = organization.call("GET", f"/{id_}").expect(200)["subscriptions"]
    assert (shown["url"], shown["event"], shown["type"]) == (hook.url, "CustomerProfile", "subscriptions")


def test_push_updates_are_http_posts_to_the_url(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    organization.happens("add", data={"fullName": "Ann"})
    [request] = _wait_for_pushes(hook, 1)
    assert hook.url.endswith(request.path)


def test_the_body_is_formatted_as_json_api_says(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    organization.happens("add", data={"fullName": "Ann"})
    [request] = _wait_for_pushes(hook, 1)
    assert request.headers["content-type"] == JSON_API
    assert isinstance(request.json, list)


def test_nothing_is_pushed_before_the_url_is_verified(organization: Organization, hook: Hook) -> None:
    id_ = organization.register(hook)
    organization.happens("add", object_id="1", data={})
    organization.validate(hook, id_)
    organization.happens("add", object_id="2", data={})
    _wait_for_pushes(hook, 1)
    assert [item["path"][-2:] for item in _items(hook)] == ["/2"]


def test_a_url_that_does_not_work_makes_no_subscription(organization: Organization, hook: Hook) -> None:
    hook.always(Answer(404))
    refused = organization.call("POST", "", {"event": "CustomerProfile", "url": hook.url})
    assert refused.status == 400
    assert organization.call("GET").expect(200)["subscriptions"] == []


def test_every_subscription_is_verified_by_the_guide_s_steps(organization: Organization, hook: Hook) -> None:
    id_ = organization.register(hook)
    [asked] = hook.requests
    assert (asked.method, list(_query(asked)), _query(asked)["Id"]) == ("GET", ["Id", "ValidationToken"], id_)
    before = organization.call("GET", f"/{id_}").expect(200)["subscriptions"]
    assert (before["isEnabled"], before["isValidated"]) == (False, False)
    wrong = {"isEnabled": True, "isValidated": True, "validationToken": "guessed"}
    assert organization.call("PUT", f"/{id_}", wrong).status == 400
    organization.validate(hook, id_)
    after = organization.call("GET", f"/{id_}").expect(200)["subscriptions"]
    assert (after["isEnabled"], after["isValidated"]) == (True, True)
    assert "validationToken" not in after


@pytest.fixture
def exhausted(serve: Callable[..., Server], hook: Hook) -> tuple[Organization, str]:
    """Return an organisation with a subscription whose first push got all its attempts."""
    organization = Organization(serve(dev="1", time_scale="20000").project())
    id_ = organization.set_up(hook)
    hook.answer = lambda request: OK if request.method == "GET" else Answer(500)
    organization.happens("add", object_id="1", data={"fullName": "Ann"})
    organization.project.wait_for("exhausted")
    return organization, id_


def test_a_failing_push_gets_ten_attempts_at_increasing_intervals(
    exhausted: tuple[Organization, str], hook: Hook
) -> None:
    organization, id_ = exhausted
    assert len(_pushes(hook)) == 10
    assert len({request.body for request in _pushes(hook)}) == 1
    waits = organization.native(id_)["retry"]["delays_s"]
    assert len(waits) == 9
    assert waits == sorted(set(waits))
    assert 2.25 * 3600 <= sum(waits) <= 2.75 * 3600


def test_what_all_attempts_failed_to_push_is_pulled(exhausted: tuple[Organization, str]) -> None:
    organization, id_ = exhausted
    page = organization.call("GET", f"/{id_}/feed").expect(200)
    assert [item["body"]["operation"] for item in page["data"]] == ["add"]
    assert organization.call("GET", f"/{id_}").expect(200)["subscriptions"]["failingSince"]


def test_an_endpoint_that_is_back_is_not_flooded(exhausted: tuple[Organization, str], hook: Hook) -> None:
    organization, id_ = exhausted
    seen = len(_pushes(hook))
    hook.always(OK)
    organization.happens("add", object_id="2", data={})
    organization.project.wait_for("delivered")
    assert [item["path"][-2:] for request in _pushes(hook)[seen:] for item in request.json] == ["/2"]
    assert organization.call("GET", f"/{id_}").expect(200)["subscriptions"]["failingSince"] is None


def test_updates_are_batched_and_each_names_its_operation(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    actions = ("create", "update", "delete", "add", "replace", "remove")
    organization.project.publish(
        *(event(n, f"CustomerProfile.{action}", tenant=ORGANIZATION, data={}) for n, action in enumerate(actions))
    )
    organization.project.wait_for("delivered")
    assert len(_pushes(hook)) == 1
    assert [item["operation"] for item in _items(hook)] == ["add", "replace", "remove"] * 2


def test_every_occurrence_in_a_batch_reflects_the_final_state(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    profile = {"tenant": ORGANIZATION, "url": "https://api.crowdmanager.io/v2/7/customerprofiles/12"}
    organization.project.publish(
        event(12, "CustomerProfile.create", data={"fullName": "Ann"}, **profile),
        event(12, "CustomerProfile.update", data={"fullName": "Anna"}, **profile),
        event(12, "CustomerProfile.update", data={"fullName": "Anne"}, **profile),
    )
    organization.project.wait_for("delivered")
    assert [item["operation"] for item in _items(hook)] == ["add", "replace", "replace"]
    assert {json.loads(item["value"])["fullName"] for item in _items(hook)} == {"Anne"}


def test_an_object_added_and_then_removed_has_two_operations_and_no_content(
    organization: Organization, hook: Hook
) -> None:
    organization.set_up(hook, event="StreamEntry")
    entry = {"tenant": ORGANIZATION, "url": "https://api.crowdmanager.io/v2/7/streamentries/5"}
    organization.project.publish(
        event(5, "StreamEntry.create", data={"text": "hello"}, **entry), event(5, "StreamEntry.delete", **entry)
    )
    organization.project.wait_for("delivered")
    assert [(item["operation"], item["value"]) for item in _items(hook)] == [("add", None), ("remove", None)]


def test_the_timestamp_tells_the_order_within_a_batch(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    organization.happens("add", "replace", "remove", "add", data={}, occurred_at="2026-11-22T08:59:58Z")
    organization.project.wait_for("delivered")
    moments = [datetime.fromisoformat(item["eventTime"]) for item in _items(hook)]
    assert len(moments) == 4
    assert moments == sorted(set(moments))


@pytest.mark.parametrize("media_type", [JSON_API, "application/json"])
def test_a_subscription_chooses_json_api_or_plain_json(organization: Organization, hook: Hook, media_type: str) -> None:
    id_ = organization.set_up(hook, format=media_type)
    organization.happens("add", data={})
    [request] = _wait_for_pushes(hook, 1)
    assert request.headers["content-type"] == media_type
    assert organization.call("GET", f"/{id_}").expect(200)["subscriptions"]["format"] == media_type


def test_a_push_item_has_the_fields_of_the_table(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    organization.happens("replace", data={"fullName": "Ann"}, occurred_at="2026-11-22T08:59:58Z")
    _wait_for_pushes(hook, 1)
    [item] = _items(hook)
    assert item["operation"] == "replace"
    assert item["path"] == "https://api.crowdmanager.io/v2/7/customerprofiles/12"
    assert datetime.fromisoformat(item["eventTime"]) == datetime.fromisoformat("2026-11-22T08:59:58+00:00")
    assert isinstance(item["value"], str)
    assert json.loads(item["value"]) == {"fullName": "Ann"}


# -- where the document is silent --------------------------------------------------------------------------------------


def test_a_push_item_names_its_kind(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook)
    organization.happens("add", data={})
    _wait_for_pushes(hook, 1)
    assert [item["contentType"] for item in _items(hook)] == ["CustomerProfile"]


def test_org_in_the_url_is_the_organization(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook, url=f"{hook.url}?org={{org}}")
    organization.happens("add", data={})
    [request] = _wait_for_pushes(hook, 1)
    assert _query(hook.requests[0])["org"] == ORGANIZATION
    assert request.path.endswith(f"?org={ORGANIZATION}")


def test_a_url_with_the_obsolete_charset_gets_iso_8859_2(organization: Organization, hook: Hook) -> None:
    organization.set_up(hook, url=f"{hook.url}#OBSOLETE-CHARSET")
    organization.happens("add", data={"fullName": "Łukasz 中"})
    [request] = _wait_for_pushes(hook, 1)
    assert request.headers["content-type"] == f"{JSON_API}; charset=iso-8859-2"
    [item] = json.loads(request.body.decode("iso-8859-2"))
    assert json.loads(item["value"]) == {"fullName": "Łukasz 中"}


def test_another_organization_s_key_sees_nothing(organization: Organization, hook: Hook) -> None:
    organization.register(hook)
    stranger = organization.project.post("keys", {"scope": "tenant", "tenant": "8"}, status=201)["key"]
    path = f"/p/{organization.project.name}/v2/{ORGANIZATION}/pushservice/subscriptions"
    client = organization.project.client
    assert client.call("GET", path, headers={"authorization": f"Basic {stranger}"}).status == 404
    assert client.call("GET", path, headers={"authorization": "Basic unknown"}).status == 401
    assert client.call("GET", path, headers={"authorization": ""}).status == 401
