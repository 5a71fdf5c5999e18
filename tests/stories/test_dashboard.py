"""The 'Dashboard' service's notifications, as its document says, for clients and receivers that know no Angarium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from tests.stories.calling import Project, Reply, event
from tests.stories.receiving import Answer, Hook
from tests.stories.serving import Server

URL = "https://api.my-notifications.test"
NOTIFICATIONS = "/dashboard/v1/notifications"

_numbers = count(1)


class Service:
    """The service as its clients see it: a place for its url, and no key."""

    def __init__(self, project: Project, prefix: str) -> None:
        self.project = project
        self.prefix = prefix

    def call(
        self, method: str, path: str, document: Any = None, *, body: bytes | None = None, key: str = "", **more: str
    ) -> Reply:
        """Make a call as that system's clients do: without a key, and without a content type."""
        headers: Mapping[str, str] = {"authorization": f"Bearer {key}" if key else "", "content-type": "", **more}
        return self.project.client.call(method, f"{self.prefix}{path}", document, body=body, headers=headers)

    def register(self, url: str = URL, **members: str) -> str:
        """Register; return the id."""
        made = self.call("POST", NOTIFICATIONS, {"url": url, "event": "REGISTER", **members}).expect(201)
        assert list(made) == ["id"]
        id_: str = made["id"]
        return id_


@pytest.fixture
def service(shared: Server) -> Iterator[Service]:
    project = Project(shared.client, f"dash-{next(_numbers)}").create(dialect="dashboard")
    yield Service(project, f"/p/{project.name}")
    assert shared.is_running, shared.told()
    project.client.call("DELETE", project.path).expect(204)


def happened(action: str, country: str | None = "NO", **members: Any) -> dict[str, Any]:
    attributes = {} if country is None else {"attributes": {"country": country}}
    return event("516dba7f", f"dashboard.{action}", **attributes, **members)


# -- registering -------------------------------------------------------------------------------------------------------


def test_registering_answers_201_and_the_new_id(service: Service) -> None:
    reply = service.call("POST", NOTIFICATIONS, {"url": URL, "country": "NO", "event": "REGISTER"})
    assert reply.status == 201
    assert reply.headers["content-type"] == "application/json"
    assert re.fullmatch(r"\{\"id\":\"[1-9]\d{19}\"\}", reply.body.decode())


@pytest.mark.parametrize("body", ['{"Url":"%s","Country":"NO","Event":"INVOKE"}', '{"URL":"%s","EVENT":"invoke"}'])
def test_members_may_be_spelt_in_any_case(service: Service, body: str) -> None:
    service.call("POST", NOTIFICATIONS, body=(body % URL).encode()).expect(201)
    (shown,) = service.call("GET", NOTIFICATIONS).expect(200)
    assert (shown["url"], shown["event"]) == (URL, "INVOKE")


def test_words_in_lower_case_are_taken_in_upper_case(service: Service) -> None:
    id_ = service.register(event="chAnge", country="no")
    shown = service.call("GET", f"{NOTIFICATIONS}/{id_}").expect(200)
    assert (shown["event"], shown["country"]) == ("CHANGE", "NO")


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({"country": "NO", "event": "REGISTER"}, ["url"]),
        ({"url": URL, "country": "NO"}, ["event"]),
        ({"country": "NO"}, ["url", "event"]),
        ({"url": "", "event": None}, ["url", "event"]),
        ({}, ["url", "event"]),
    ],
)
def test_a_missing_field_is_422_and_named_and_no_other_is(
    service: Service, document: dict[str, Any], missing: list[str]
) -> None:
    reply = service.call("POST", NOTIFICATIONS, document)
    said = reply.expect(422)["message"]
    assert [name for name in ("url", "country", "event") if name in said] == missing
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert service.call("GET", NOTIFICATIONS).expect(200) == []


@pytest.mark.parametrize("word", ["INVOCATION", "UPDATE", "*"])
def test_an_event_that_is_none_of_the_four_is_422(service: Service, word: str) -> None:
    said = service.call("POST", NOTIFICATIONS, {"url": URL, "event": word}).expect(422)["message"]
    assert "field 'event' is invalid" in said
    assert "REGISTER, CHANGE, DELETE, INVOKE" in said


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://2130706433:80/", "ftp://example.com/", "nowhere", "http://a:1@b/"]
)
def test_a_url_that_cannot_be_invoked_is_422_and_named(service: Service, url: str) -> None:
    assert (
        "field 'url'" in service.call("POST", NOTIFICATIONS, {"url": url, "event": "REGISTER"}).expect(422)["message"]
    )


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"{", b"url=x", b"[]", b'"x"', b'{"url": 7, "event": "REGISTER"}', b"\xff"]
)
def test_a_body_that_cannot_be_read_is_400(service: Service, body: bytes) -> None:
    assert service.call("POST", NOTIFICATIONS, body=body).expect(400)["message"]


def test_one_url_may_be_registered_often(service: Service) -> None:
    assert len({service.register() for _ in range(3)}) == 3
    assert len(service.call("GET", NOTIFICATIONS).expect(200)) == 3


# -- viewing and deleting ----------------------------------------------------------------------------------------------


def test_without_registrations_the_list_is_an_empty_array(service: Service) -> None:
    reply = service.call("GET", NOTIFICATIONS)
    assert (reply.status, reply.body) == (200, b"[]")


def test_all_registrations_are_shown_in_lower_case_members(service: Service) -> None:
    ids = [service.register(country="NO"), service.register("https://api.some-notification.test", event="INVOKE")]
    assert service.call("GET", NOTIFICATIONS).expect(200) == [
        {"id": ids[0], "url": URL, "event": "REGISTER", "country": "NO"},
        {"id": ids[1], "url": "https://api.some-notification.test", "event": "INVOKE"},
    ]


def test_one_registration_is_shown_by_its_id(service: Service) -> None:
    id_ = service.register(country="GB")
    shown = service.call("GET", f"{NOTIFICATIONS}/{id_}").expect(200)
    assert shown == {"id": id_, "url": URL, "event": "REGISTER", "country": "GB"}


@pytest.mark.parametrize("id_", ["1", "17388271632813271000", "sub_x", "%00", "a%2Fb"])
def test_an_unknown_id_is_404(service: Service, id_: str) -> None:
    service.register()
    reply = service.call("GET", f"{NOTIFICATIONS}/{id_}")
    assert reply.expect(404)["message"]
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_deleting_is_204_however_often_and_the_registration_is_gone(service: Service) -> None:
    id_ = service.register()
    for _ in range(3):
        reply = service.call("DELETE", f"{NOTIFICATIONS}/{id_}")
        assert (reply.status, reply.body) == (204, b"")
    assert service.call("GET", f"{NOTIFICATIONS}/{id_}").status == 404
    assert service.call("DELETE", f"{NOTIFICATIONS}/12345").status == 204


@pytest.mark.parametrize("slash", ["", "/"])
def test_deleting_without_an_id_is_422(service: Service, slash: str) -> None:
    assert "id" in service.call("DELETE", f"{NOTIFICATIONS}{slash}").expect(422)["message"]


def test_paths_are_served_with_and_without_a_slash_and_never_redirected(service: Service) -> None:
    made = service.call("POST", f"{NOTIFICATIONS}/", {"url": URL, "event": "REGISTER"}).expect(201)
    assert service.call("GET", f"{NOTIFICATIONS}/").expect(200) == service.call("GET", NOTIFICATIONS).expect(200)
    assert service.call("GET", f"{NOTIFICATIONS}/{made['id']}/").expect(200)["url"] == URL
    assert service.call("DELETE", f"{NOTIFICATIONS}/{made['id']}/").status == 204


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", NOTIFICATIONS, {"DELETE", "GET", "HEAD", "POST"}),
        ("PATCH", f"{NOTIFICATIONS}/1", {"DELETE", "GET", "HEAD"}),
        ("POST", f"{NOTIFICATIONS}/1", {"DELETE", "GET", "HEAD"}),
        ("POST", "/dashboard/v1/status/", {"GET", "HEAD"}),
    ],
)
def test_other_methods_are_405(service: Service, method: str, path: str, allowed: set[str]) -> None:
    reply = service.call(method, path, {})
    assert reply.expect(405)["message"]
    assert set(reply.headers["allow"].split(", ")) == allowed


def test_what_is_not_of_the_service_is_404_in_its_words(service: Service) -> None:
    assert list(service.call("GET", "/dashboard/v1/nothing").expect(404)) == ["message"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_status_counts_the_registrations(service: Service, slash: str) -> None:
    for _ in range(3):
        service.register()
    service.project.subscribe(URL)  # Made natively: no registration.
    status = service.call("GET", f"/dashboard/v1/status{slash}").expect(200)
    assert status["notification_db"] == 200
    assert status["webhooks"] == 3
    assert status["version"] == "v1"
    assert isinstance(status["uptime"], int)
    assert status["uptime"] >= 0


# -- invocations -------------------------------------------------------------------------------------------------------


def test_an_invocation_has_four_strings(service: Service, hook: Hook) -> None:
    id_ = service.register(hook.url, country="NO")
    service.project.publish(happened("create", occurred_at="2024-02-23T06:23:59Z"))
    (request,) = hook.wait_for(1)
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert list(json.loads(request.body).items()) == [
        ("id", id_),
        ("country", "NO"),
        ("event", "REGISTER"),
        ("time", "20240223 06:23"),
    ]


def test_each_event_invokes_those_who_registered_for_it(service: Service, hooks: Callable[[], Hook]) -> None:
    words = {"create": "REGISTER", "update": "CHANGE", "delete": "DELETE", "retrieve": "INVOKE"}
    of = {action: hooks() for action in words}
    for action, hook in of.items():
        service.register(hook.url, event=words[action])
    service.project.publish(*(happened(action) for action in words))
    for action, hook in of.items():
        hook.wait_for(1)
        assert [body["event"] for body in hook.bodies] == [words[action]]


def test_the_publisher_may_use_the_service_s_own_words(service: Service, hook: Hook) -> None:
    service.register(hook.url, event="INVOKE")
    service.project.publish(happened("INVOKE"))
    hook.wait_for(1)
    assert hook.bodies[0]["event"] == "INVOKE"


def test_a_country_s_registration_is_invoked_for_that_country_only(service: Service, hooks: Callable[[], Hook]) -> None:
    norway, anywhere = hooks(), hooks()
    service.register(norway.url, country="NO")
    service.register(anywhere.url)
    service.project.publish(happened("create", "GB"), happened("create", None), happened("create", "NO"))
    anywhere.wait_for(3)
    norway.wait_for(1)
    assert sorted(body["country"] for body in anywhere.bodies) == ["", "GB", "NO"]
    assert [body["country"] for body in norway.bodies] == ["NO"]


def test_a_deleted_registration_is_invoked_no_more(service: Service, hooks: Callable[[], Hook]) -> None:
    gone, staying = hooks(), hooks()
    id_ = service.register(gone.url)
    service.register(staying.url)
    service.call("DELETE", f"{NOTIFICATIONS}/{id_}")
    service.project.publish(happened("create"))
    staying.wait_for(1)
    assert gone.requests == []


def test_a_retry_has_the_same_body(service: Service, hook: Hook) -> None:
    hook.script(Answer(500), Answer(500), Answer(200))
    service.register(hook.url)
    service.project.publish(happened("create"))
    assert len({request.body for request in hook.wait_for(3)}) == 1


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_a_url_is_shown_as_it_was_given_until_it_is_changed_natively(service: Service) -> None:
    id_ = service.register("HTTPS://API.my-notifications.test")
    assert service.call("GET", f"{NOTIFICATIONS}/{id_}").expect(200)["url"] == "HTTPS://API.my-notifications.test"
    (listed,) = service.project.all("subscriptions")
    service.project.change(listed["id"], url="https://example.com/other", types=["*.update", "*.delete"])
    shown = service.call("GET", f"{NOTIFICATIONS}/{id_}").expect(200)
    assert (shown["url"], shown["event"]) == ("https://example.com/other", "CHANGE, DELETE")


def test_a_registration_is_listed_natively_with_its_own_id(service: Service) -> None:
    id_ = service.register(country="NO")
    (listed,) = service.project.all("subscriptions")
    assert listed["external_id"] == id_
    assert listed["options"]["country"] == "NO"
    assert listed["state"] == "active"


def test_registrations_survive_a_crash_at_the_root_of_a_server(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve(root_project="dash")
    project = Project(server.client, "dash").create(dialect="dashboard")
    at_root, below = Service(project, ""), Service(project, "/p/dash")
    id_ = at_root.register(hook.url)
    server.kill()
    server.start()
    assert at_root.call("GET", NOTIFICATIONS).expect(200) == below.call("GET", f"{NOTIFICATIONS}/").expect(200)
    project.publish(happened("create"))
    hook.wait_for(1)
    assert hook.bodies[0]["id"] == id_
    assert project.client.call("GET", project.path).expect(200)["dialect"] == "dashboard"


# -- who may -----------------------------------------------------------------------------------------------------------


def test_with_open_registration_off_a_key_is_needed(service: Service) -> None:
    service.project.create(dialect="dashboard", settings={"open_registration": False})
    document = {"url": URL, "event": "REGISTER"}
    keys = {
        scope: service.project.post("keys", {"scope": scope, "tenant": tenant}, status=201)["key"]
        for scope, tenant in (("tenant", "1201"), ("manage", None), ("read", None), ("publish", None))
    }
    refused = service.call("POST", NOTIFICATIONS, document)
    assert refused.expect(401)["message"]
    assert refused.headers["www-authenticate"] == "Bearer"
    assert service.call("POST", NOTIFICATIONS, document, key="ang_unknown").status == 401
    assert service.call("POST", NOTIFICATIONS, document, key=keys["read"]).status == 403
    assert service.call("GET", NOTIFICATIONS, key=keys["publish"]).status == 403
    assert service.call("GET", "/dashboard/v1/status/").status == 401
    ids = [
        service.call("POST", NOTIFICATIONS, document, key=keys[scope]).expect(201)["id"]
        for scope in ("tenant", "manage")
    ]
    assert [each["id"] for each in service.call("GET", NOTIFICATIONS, key=keys["tenant"]).expect(200)] == ids[:1]
    assert [each["id"] for each in service.call("GET", NOTIFICATIONS, key=keys["read"]).expect(200)] == ids
    assert service.call("DELETE", f"{NOTIFICATIONS}/{ids[1]}", key=keys["tenant"]).status == 204
    assert service.call("GET", f"{NOTIFICATIONS}/{ids[1]}", key=keys["manage"]).status == 200
