"""What SalesKing's "Push notifications" says, by sentence (docs/reference/compatibility.md)."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stories.calling import Client, Project, Reply, event
from tests.stories.receiving import Hook, Received

COMPANY = "c2ew4mSlCr4lENabxfpGMl"
USER = "c1339KSlCr4lENabxfpGMl"
EVERYTHING = "clients contacts invoices comments payments attachments api/subs"


class Grant(NamedTuple):
    """What a user granted an app: its id in the native API, and the token that the app calls with."""

    id: str
    access_token: str


class Service:
    """SalesKing as its apps know it, with one app whose url is a hook's."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project.create(dialect="salesking")
        self.path = f"/p/{project.name}/api/subs"
        self._client = Client(project.client.port, "")
        self.app = self.register_app(url)

    def register_app(self, url: str) -> dict[str, Any]:
        """Register an app; return it with its secret."""
        made: dict[str, Any] = self.project.post(
            "apps", {"name": "An app", "url": url, "redirect_uri": url}, status=201
        )
        return made

    def grant(self, *, scope: str = EVERYTHING, permissions: list[str] | None = None, app: str = "") -> Grant:
        """Let the user grant the app access."""
        asked = {"app": app or self.app["id"], "tenant": COMPANY, "user": USER, "sub_domain": "729831939"}
        made = self.project.post("grants", {**asked, "scope": scope, "permissions": permissions}, status=201)
        return Grant(made["id"], made["access_token"])

    def call(self, method: str, path: str = "", document: Any = None, *, token: str) -> Reply:
        """Call the API of subs with an access token."""
        headers = {"authorization": f"Bearer {token}"} if token else {"authorization": ""}
        return self._client.call(method, self.path + path, document, headers=headers)

    def subscribe(self, token: str, channel: str, url: str) -> Reply:
        """Subscribe to a channel."""
        return self.call("POST", "", {"sub": {"channel": channel, "callback_url": url}}, token=token)

    def happens(self, channel: str, object_id: str = "a1", **members: Any) -> int:
        """Let something happen; return how many callbacks there will be."""
        happened = event(object_id, channel, tenant=COMPANY, **members)
        return int(self.project.post("events", happened)["matched"])

    def opened(self, request: Received) -> dict[str, Any]:
        """Return the payload of a callback, after checking its signature with the app's secret."""
        signature, payload = _signed_request(request).split(".")
        assert signature == hmac.new(self.app["secret"].encode(), payload.encode(), "sha256").hexdigest()
        data: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return data


def _signed_request(request: Received) -> str:
    [value] = parse_qs(request.body.decode(), strict_parsing=True)["signed_request"]
    return value


@pytest.fixture
def service(project: Project, hook: Hook) -> Service:
    return Service(project, hook.url)


@pytest.fixture
def token(service: Service) -> str:
    return service.grant().access_token


def test_an_app_is_told_without_polling(service: Service, token: str, hook: Hook) -> None:
    for channel in ("client.update", "invoice.delete"):
        service.subscribe(token, channel, f"{hook.url}?{channel}").expect(201)
    service.happens("client.update", data={"id": "a1"})
    hook.wait_for(1)
    service.happens("invoice.delete", data={"id": "a1"})
    hook.wait_for(2)
    assert [urlsplit(request.path).query for request in hook.requests] == ["client.update", "invoice.delete"]


def test_a_channel_is_an_object_type_and_an_action(service: Service, token: str) -> None:
    channels = service.call("GET", "/channels", token=token).expect(200)
    assert {"client.update", "invoice.delete", "comment.create"} <= set(channels)
    by_object: dict[str, set[str]] = {}
    for channel in channels:
        object_, action = channel.split(".")
        by_object.setdefault(object_, set()).add(action)
    assert set(map(frozenset, by_object.values())) == {frozenset({"create", "update", "delete"})}


def test_all_channels_are_an_array_of_strings(service: Service, token: str) -> None:
    channels = service.call("GET", "/channels", token=token).expect(200)
    assert channels
    assert all(isinstance(channel, str) for channel in channels)


def test_an_app_subscribes_to_a_single_channel(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    assert service.happens("client.create", data={}) == 1
    assert service.happens("client.update", data={}) == 0
    assert service.subscribe(token, "client.create,client.update", f"{hook.url}?both").status == 422


def test_subs_have_all_crud_methods(service: Service, token: str, hook: Hook) -> None:
    id_ = service.subscribe(token, "client.create", hook.url).expect(201)["sub"]["id"]
    assert service.call("GET", f"/{id_}", token=token).expect(200)["sub"]["channel"] == "client.create"
    assert [one["sub"]["id"] for one in service.call("GET", token=token).expect(200)["subs"]] == [id_]
    changed = {"sub": {"channel": "client.update"}}
    assert service.call("PUT", f"/{id_}", changed, token=token).expect(200)["sub"]["channel"] == "client.update"
    assert service.call("DELETE", f"/{id_}", token=token).expect(200)["sub"]["id"] == id_
    assert service.call("GET", f"/{id_}", token=token).status == 404


def test_the_example_sub_is_made(service: Service) -> None:
    app = service.register_app("https://my-site-receiving-the-callback.com")
    token = service.grant(app=app["id"]).access_token
    example = {"sub": {"channel": "client.create", "callback_url": "https://my-site-receiving-the-callback.com"}}
    made = service.call("POST", "", example, token=token).expect(201)["sub"]
    assert {name: made[name] for name in example["sub"]} == example["sub"]


def test_a_sub_is_tied_to_its_app_and_access_token(service: Service, token: str, hook: Hook) -> None:
    id_ = service.subscribe(token, "client.create", hook.url).expect(201)["sub"]["id"]
    other = service.grant(app=service.register_app(hook.url)["id"]).access_token
    assert service.call("GET", f"/{id_}", token=other).status == 404
    assert service.call("GET", token=other).expect(200)["subs"] == []


@pytest.mark.parametrize("authorization", ["", "Bearer unknown", "Basic bWFpbEBleGFtcGxlLmNvbTpwYXNzd29yZA=="])
def test_only_oauth_apps_can_subscribe(service: Service, token: str, hook: Hook, authorization: str) -> None:
    id_ = service.subscribe(token, "client.create", hook.url).expect(201)["sub"]["id"]
    sub = {"sub": {"channel": "client.update", "callback_url": hook.url}}
    for method, path, document in (
        ("POST", "", sub),
        ("GET", "", None),
        ("GET", f"/{id_}", None),
        ("PUT", f"/{id_}", sub),
        ("DELETE", f"/{id_}", None),
    ):
        reply = service.project.client.call(
            method, service.path + path, document, headers={"authorization": authorization}
        )
        assert reply.status == 401, (method, path)
    assert service.call("GET", f"/{id_}", token=token).expect(200)["sub"]["channel"] == "client.create"


def test_a_user_who_cannot_delete_invoices_gets_no_callback(service: Service, hook: Hook) -> None:
    grant = service.grant(permissions=["invoice.*"])
    service.subscribe(grant.access_token, "invoice.delete", hook.url).expect(201)
    assert service.happens("invoice.delete", data={}) == 1
    path = f"{service.project.path}/grants/{grant.id}"
    service.project.client.call("PATCH", path, {"permissions": ["invoice.create", "invoice.update"]}).expect(200)
    assert service.happens("invoice.delete", data={}) == 0


def test_a_revoked_app_loses_its_subs(service: Service, hook: Hook) -> None:
    grant = service.grant()
    service.subscribe(grant.access_token, "client.create", hook.url).expect(201)
    assert service.project.client.call("DELETE", f"{service.project.path}/grants/{grant.id}").status == 204
    assert service.happens("client.create", data={}) == 0
    assert service.call("GET", token=grant.access_token).status == 401
    assert service.project.all("subscriptions") == []


def test_a_deleted_app_loses_its_subs(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    assert service.project.client.call("DELETE", f"{service.project.path}/apps/{service.app['id']}").status == 204
    assert service.happens("client.create", data={}) == 0
    assert service.project.all("subscriptions") == []


def test_a_channel_needs_a_scope_that_was_granted(service: Service, hook: Hook) -> None:
    token = service.grant(scope="clients api/subs").access_token
    refused = service.subscribe(token, "invoice.create", hook.url)
    assert refused.status == 422
    assert [field for field, _ in refused.json["errors"]] == ["channel"]
    assert service.subscribe(token, "client.create", hook.url).status == 201


@pytest.mark.parametrize("scope", ["clients:create,update,delete", "clients"])
def test_both_forms_of_a_scope_listen_to_all_of_clients(service: Service, hook: Hook, scope: str) -> None:
    token = service.grant(scope=f"{scope} api/subs").access_token
    for action in ("create", "update", "delete"):
        assert service.subscribe(token, f"client.{action}", f"{hook.url}?{action}").status == 201
        assert service.happens(f"client.{action}", data={}) == 1


def test_a_scope_may_name_some_of_the_actions(service: Service, hook: Hook) -> None:
    token = service.grant(scope="clients:create api/clients:create,update api/subs").access_token
    assert service.subscribe(token, "client.create", hook.url).status == 201
    assert service.subscribe(token, "client.update", hook.url).status == 422


def test_a_scope_with_api_before_it_does_not_listen(service: Service, hook: Hook) -> None:
    token = service.grant(scope="api/clients api/subs").access_token
    assert service.subscribe(token, "client.create", hook.url).status == 422


def test_a_scope_without_api_gives_no_access(service: Service, token: str) -> None:
    listening = service.grant(scope="clients api/subs").access_token
    assert _introspected(service, listening)["scope"] == "clients api/subs"  # By it the publisher's API refuses.
    without = service.grant(scope="subs clients").access_token
    assert service.call("GET", token=without).status == 403
    assert service.call("GET", token=token).status == 200


def _introspected(service: Service, token: str) -> dict[str, Any]:
    credentials = base64.b64encode(f"{service.app['id']}:{service.app['secret']}".encode()).decode()
    reply = service.project.client.call(
        "POST",
        f"/p/{service.project.name}/oauth/introspect",
        body=f"token={token}".encode(),
        headers={"authorization": f"Basic {credentials}", "content-type": "application/x-www-form-urlencoded"},
    )
    found: dict[str, Any] = reply.expect(200)
    return found


def test_the_event_is_posted_to_the_supplied_url(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    service.happens("client.create", data={"id": "a1"})
    [request] = hook.wait_for(1)
    assert request.method == "POST"
    assert hook.url.endswith(request.path)


@pytest.mark.parametrize(
    "place",
    [
        "{url}",
        "{url}/callbacks/clients",
        "{url}?channel=client.create",
    ],
)
def test_a_callback_url_may_lie_within_the_app_s_url(service: Service, token: str, hook: Hook, place: str) -> None:
    assert service.subscribe(token, "client.create", place.format(url=hook.url)).status == 201


@pytest.mark.parametrize(
    "change",
    [
        lambda url: "https://my-site-receiving-the-callback.com/",
        lambda url: url.replace("http://", "https://"),
        lambda url: f"{url}-beside",
        lambda url: f"{url}/../elsewhere",
        lambda url: f"{url}/%2e%2e/elsewhere",
        lambda url: url.replace("http://", "http://user@"),
        lambda url: url.replace(":", ":8", 2).replace(":8//", "://"),
    ],
)
def test_a_callback_url_must_lie_within_the_app_s_url(
    service: Service, token: str, hook: Hook, change: Callable[[str], str]
) -> None:
    refused = service.subscribe(token, "client.create", change(hook.url))
    assert refused.status == 422
    assert [field for field, _ in refused.json["errors"]] == ["callback_url"]


def test_the_request_has_a_single_parameter(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    service.happens("client.create", data={"id": "a1", "name": "x" * 5000})
    [request] = hook.wait_for(1)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert list(parse_qs(request.body.decode(), strict_parsing=True)) == ["signed_request"]
    assert _signed_request(request).count(".") == 1
    assert "\n" not in request.body.decode()


def test_the_first_part_is_the_hmac_of_the_second(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    service.happens("client.create", data={"id": "a1", "name": "ÿÿÿ>>>???"})
    [request] = hook.wait_for(1)
    assert service.opened(request)["obj"]["client"]["name"] == "ÿÿÿ>>>???"
    assert not set(_signed_request(request)) & set("+/=")


def test_the_payload_has_the_members_of_the_document(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.create", hook.url).expect(201)
    service.happens("client.create", data={"id": "a1", "name": "Ann"})
    [request] = hook.wait_for(1)
    data = service.opened(request)
    assert list(data) == [
        "obj",
        "company_id",
        "user_id",
        "sub_domain",
        "issued_at",
        "access_token",
        "expires",
        "algorithm",
    ]
    assert data["obj"] == {"client": {"id": "a1", "name": "Ann"}, "links": []}
    assert (data["company_id"], data["user_id"], data["sub_domain"]) == (COMPANY, USER, "729831939")
    assert (data["access_token"], data["algorithm"]) == (token, "HMAC-SHA256")
    assert [len(data[name]) for name in ("issued_at", "expires")] == [len("2011-07-17T21:03:48Z")] * 2


# -- where the document is silent --------------------------------------------------------------------------------------


def test_a_deleted_object_is_sent_in_its_latest_state(service: Service, token: str, hook: Hook) -> None:
    service.subscribe(token, "client.delete", hook.url).expect(201)
    service.happens("client.create", data={"id": "a1", "name": "Ann"})
    service.happens("client.delete")
    [request] = hook.wait_for(1)
    assert service.opened(request)["obj"] == {"client": {"id": "a1", "name": "Ann"}, "links": []}


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_every_path_may_end_with_json(service: Service, token: str, suffix: str) -> None:
    assert service.call("GET", suffix, token=token).status == 200
    assert service.call("GET", f"/channels{suffix}", token=token).status == 200


def test_a_token_may_stand_in_the_query(service: Service, token: str) -> None:
    assert service.call("GET", f"?access_token={token}", token="").status == 200
