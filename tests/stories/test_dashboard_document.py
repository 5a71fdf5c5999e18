"""What the dashboard service's notifications.md says, by sentence (docs/reference/compatibility.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.stories.calling import Client, Project, Reply, event
from tests.stories.receiving import Answer, Hook

EXAMPLE = {"url": "https://api.my-notifications.test", "country": "NO", "event": "REGISTER"}
ACTIONS = {"REGISTER": "create", "CHANGE": "update", "DELETE": "delete", "INVOKE": "retrieve"}


class Service:
    """The dashboard service as its clients know it: an address, and nobody who asks for a key."""

    def __init__(self, project: Project) -> None:
        self.project = project.create(dialect="dashboard")
        self._client = Client(project.client.port, "")
        self.path = f"/p/{project.name}/dashboard/v1/notifications"

    def call(self, method: str, path: str = "", document: Any = None, *, body: bytes | None = None) -> Reply:
        """Call the endpoint, without any key."""
        headers = {"authorization": "", "content-type": "" if body is not None else "application/json"}
        return self._client.call(method, self.path + path, document, body=body, headers=headers)

    def register(self, url: str, event_type: str, country: str = "NO") -> str:
        """Subscribe to an event; return the notification's id."""
        made = self.call("POST", "", {"url": url, "country": country, "event": event_type}).expect(201)
        return str(made["id"])

    def happens(self, event_type: str, country: str = "NO", *, dashboard: str = "1") -> int:
        """Let something happen to a dashboard; return how many are notified."""
        happened = event(dashboard, f"dashboard.{ACTIONS[event_type]}", attributes={"country": country})
        return int(self.project.post("events", happened)["matched"])


@pytest.fixture
def service(project: Project) -> Service:
    return Service(project)


@pytest.mark.parametrize("event_type", ACTIONS)
def test_clients_subscribe_to_four_events(service: Service, hook: Hook, event_type: str) -> None:
    service.register(hook.url, event_type)
    matched = {other: service.happens(other) for other in ACTIONS}
    assert matched == {other: int(other == event_type) for other in ACTIONS}
    [request] = hook.wait_for(1)
    assert request.json["event"] == event_type


def test_there_is_no_fifth_event(service: Service) -> None:
    service.call("POST", "", {**EXAMPLE, "event": "INVOCATION"}).expect(422)  # A slip of the document's own example.
    assert service.call("GET").expect(200) == []


def test_the_endpoint_is_found_below_the_service_s_url(service: Service) -> None:
    assert service.path.endswith("/dashboard/v1/notifications")
    assert service.call("GET").status == 200


def test_all_who_signed_up_to_the_country_are_notified(service: Service, hooks: Callable[[], Hook]) -> None:
    norway, again, britain = hooks(), hooks(), hooks()
    ids = [service.register(hook.url, "REGISTER", "NO") for hook in (norway, again)]
    service.register(britain.url, "REGISTER", "GB")
    assert service.happens("REGISTER", "NO") == 2
    assert [norway.wait_for(1)[0].json["id"], again.wait_for(1)[0].json["id"]] == ids
    assert not britain.requests


def test_a_post_with_url_country_and_event_registers(service: Service, hook: Hook) -> None:
    made = service.call("POST", "", {"Url": hook.url, "Country": "NO", "Event": "INVOKE"}).expect(201)
    service.happens("INVOKE")
    [request] = hook.wait_for(1)
    assert request.json["id"] == made["id"]


def test_we_post_to_the_url_whenever_the_event_occurs(service: Service, hook: Hook) -> None:
    service.register(hook.url, "CHANGE")
    for number in range(3):
        service.happens("CHANGE", dashboard=str(number))
    requests = hook.wait_for(3)
    assert {request.method for request in requests} == {"POST"}


def test_the_country_is_the_one_that_the_event_invokes_on(service: Service, hook: Hook) -> None:
    service.register(hook.url, "CHANGE", "NO")
    assert service.happens("CHANGE", "GB") == 0
    assert service.happens("CHANGE", "NO") == 1
    assert hook.wait_for(1)[0].json["country"] == "NO"


def test_a_country_code_is_in_upper_case(service: Service) -> None:
    id_ = service.register("https://api.my-notifications.test", "CHANGE", "no")
    assert service.call("GET", f"/{id_}").expect(200)["country"] == "NO"


def test_the_example_is_registered_and_gets_a_random_id(service: Service) -> None:
    first, second = (service.call("POST", "", EXAMPLE) for _ in range(2))
    for reply in (first, second):
        assert reply.status == 201
        assert list(reply.json) == ["id"]
        assert reply.json["id"].isdigit()
    assert first.json["id"] != second.json["id"]


@pytest.mark.parametrize("missing", [["url"], ["event"], ["url", "event"]])
def test_a_missing_field_is_named(service: Service, missing: list[str]) -> None:
    reply = service.call("POST", "", {name: value for name, value in EXAMPLE.items() if name not in missing})
    assert reply.status == 422
    words = set(reply.json["message"].replace("'", " ").replace(",", " ").split())
    assert words & {"url", "event", "country"} == set(missing)


def test_a_notification_is_deleted_by_its_id(service: Service, hook: Hook) -> None:
    id_ = service.register(hook.url, "CHANGE")
    assert service.call("DELETE", f"/{id_}").status == 204
    assert service.call("GET", f"/{id_}").status == 404
    assert service.happens("CHANGE") == 0


def test_deleting_what_is_not_there_is_204_too(service: Service) -> None:
    id_ = service.register("https://api.my-notifications.test", "CHANGE")
    replies = [service.call("DELETE", path) for path in (f"/{id_}", f"/{id_}", "/17388271632813271")]
    assert [(reply.status, reply.body) for reply in replies] == [(204, b"")] * 3


def test_all_notifications_are_viewed_in_an_array(service: Service) -> None:
    other = {"url": "https://api.some-notification.test", "country": "GB", "event": "INVOKE"}
    for notification in (EXAMPLE, other):
        service.call("POST", "", notification).expect(201)
    found = service.call("GET").expect(200)
    shown = [{name: item[name] for name in EXAMPLE} for item in found]
    assert sorted(shown, key=str) == sorted([EXAMPLE, other], key=str)


def test_no_notifications_are_an_empty_array(service: Service) -> None:
    reply = service.call("GET")
    assert (reply.status, reply.json) == (200, [])


def test_one_notification_is_viewed_by_its_id(service: Service) -> None:
    id_ = service.call("POST", "", EXAMPLE).expect(201)["id"]
    shown = service.call("GET", f"/{id_}").expect(200)
    assert {name: shown[name] for name in EXAMPLE} == EXAMPLE


def test_an_unknown_id_is_404(service: Service) -> None:
    assert service.call("GET", "/17388271632813271").status == 404


# -- where the document is silent --------------------------------------------------------------------------------------


def test_an_invocation_is_four_strings(service: Service, hook: Hook) -> None:
    id_ = service.register(hook.url, "REGISTER")
    happened = event("1", "dashboard.create", attributes={"country": "NO"}, occurred_at="2024-02-23T06:23:59Z")
    service.project.publish(happened)
    [request] = hook.wait_for(1)
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body, object_pairs_hook=list) == [
        ("id", id_),
        ("country", "NO"),
        ("event", "REGISTER"),
        ("time", "20240223 06:23"),
    ]


def test_a_subscription_without_country_is_to_every_country(service: Service, hook: Hook) -> None:
    service.call("POST", "", {"url": hook.url, "event": "CHANGE"}).expect(201)
    service.happens("CHANGE", "SE")
    service.project.publish(event("2", "dashboard.update"))
    hook.wait_for(2)
    assert sorted(body["country"] for body in hook.bodies) == ["", "SE"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_forms_of_the_path_answer_without_a_redirect(service: Service, slash: str) -> None:
    id_ = service.call("POST", slash, EXAMPLE).expect(201)["id"]
    assert service.call("GET", slash).status == 200
    assert service.call("GET", f"/{id_}{slash}").status == 200
    assert service.call("DELETE", f"/{id_}{slash}").status == 204


def test_no_content_type_is_needed(service: Service) -> None:
    assert service.call("POST", "", body=json.dumps(EXAMPLE).encode()).status == 201


@pytest.mark.parametrize("body", [b"", b'{"url": '])
def test_a_body_that_is_no_json_is_400(service: Service, body: bytes) -> None:
    assert service.call("POST", "", body=body).status == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_are_405(service: Service, method: str) -> None:
    assert service.call(method, "", EXAMPLE).status == 405


def test_a_receiver_that_fails_is_tried_again_with_the_same_body(service: Service, hook: Hook) -> None:
    hook.script(Answer(500), Answer(200))
    service.register(hook.url, "CHANGE")
    service.happens("CHANGE")
    service.project.wait_for("delivered")
    first, second = hook.requests
    assert first.body == second.body
