"""SalesKing's document, told over HTTP: channels, subs, scopes and permissions, and what is pushed."""

from __future__ import annotations

import re
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook, Receiver
from tests.stories.salesking import COMPANY, FORM, USER, Api, App
from tests.stories.serving import Server
from tests.stories.waiting import eventually

_numbers = count(1)
ALL = "clients invoices comments contacts payments attachments api/subs"


@pytest.fixture
def sk(shared: Server) -> Iterator[Project]:
    """Return a project that speaks SalesKing's."""
    project = Project(shared.client, f"sk-{next(_numbers)}").create(dialect="salesking")
    yield project
    assert shared.is_running, shared.told()
    project.client.call("DELETE", project.path).expect(204)


@pytest.fixture
def app(sk: Project, receiver: Receiver) -> App:
    """Return an app that lives where the stories' hooks are."""
    return App(sk, f"http://127.0.0.1:{receiver.port}")


@pytest.fixture
def api(app: App) -> Api:
    return app.granted(scope=ALL)


def happened(object_id: str, type_: str, **members: Any) -> dict[str, Any]:
    return event(object_id, type_, tenant=COMPANY, **members)


# -- channels ----------------------------------------------------------------------------------------------------------


def test_all_channels_are_an_array_of_object_and_action(api: Api) -> None:
    channels = api.call("GET", "subs/channels").expect(200)
    assert {"client.update", "invoice.delete", "comment.create"} <= set(channels)
    assert len(channels) == len(set(channels)) == 18
    assert api.call("GET", "subs/channels.json").expect(200) == channels


# -- subscribing -------------------------------------------------------------------------------------------------------


def test_a_sub_has_all_crud_methods(api: Api, hook: Hook) -> None:
    made = api.call("POST", "subs", {"sub": {"channel": "client.create", "callback_url": hook.url}}).expect(201)
    sub = made["sub"]
    assert re.fullmatch(r"[A-Za-z0-9]{22}", sub["id"])
    assert (sub["channel"], sub["callback_url"], sub["company_id"]) == ("client.create", hook.url, COMPANY)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", sub["created_at"])
    assert made["links"][0] == {
        "rel": "self",
        "href": f"http://127.0.0.1:{api.client.port}{api.app.base}/api/subs/{sub['id']}",
    }

    one = f"subs/{sub['id']}"
    assert api.call("GET", one).expect(200) == made
    changed = api.call("PUT", one, {"sub": {**sub, "channel": "client.update", "id": "readonly"}}).expect(200)["sub"]
    assert (changed["id"], changed["channel"]) == (sub["id"], "client.update")
    assert api.call("DELETE", one).expect(200)["sub"] == {**changed, "updated_at": changed["updated_at"]}
    assert api.call("GET", one).status == 404
    assert api.call("DELETE", one).status == 404


def test_the_document_s_own_request_is_taken(sk: Project) -> None:
    api = App(sk, "https://my-site-receiving-the-callback.com").granted(scope="clients:create,update,delete api/subs")
    body = b"""{
"sub": {
"channel": "client.create",
"callback_url": "https://my-site-receiving-the-callback.com" }}"""
    sub = api.call("POST", "subs", body=body).expect(201)["sub"]
    assert sub["callback_url"] == "https://my-site-receiving-the-callback.com"
    assert api.call("GET", f"subs/{sub['id']}").expect(200)["sub"] == sub


def test_form_fields_and_json_suffixes_do_as_well(api: Api, hook: Hook) -> None:
    body = f"sub[channel]=client.create&sub[callback_url]={hook.url}&sub[http_method]=GET".encode()
    made = api.call("POST", "subs.json", body=body, headers={"content-type": FORM}).expect(201)
    one = f"subs/{made['sub']['id']}.json"
    encoded = b"sub%5Bchannel%5D=client.delete"
    changed = api.call("PUT", one, body=encoded, headers={"content-type": ""}).expect(200)
    assert (changed["sub"]["channel"], changed["sub"]["callback_url"]) == ("client.delete", hook.url)
    assert api.call("GET", "subs.json").expect(200)["subs"] == [changed]
    assert api.call("DELETE", one).expect(200) == changed


def test_a_list_has_its_pages(api: Api, hook: Hook) -> None:
    channels = ["client.create", "client.update", "client.delete"]
    ids = [api.subscribe(channel, hook)["id"] for channel in channels]
    whole = api.call("GET", "subs").expect(200)
    assert [each["sub"]["id"] for each in whole["subs"]] == ids
    assert whole["collection"] == {"total_pages": 1, "total_entries": 3, "current_page": 1, "per_page": 50}
    assert set(whole["links"]) == {"prev", "next", "self"}
    second = api.call("GET", "subs", page=2, per_page=2).expect(200)
    assert [each["sub"]["id"] for each in second["subs"]] == ids[2:]
    assert second["collection"] == {"total_pages": 2, "total_entries": 3, "current_page": 2, "per_page": 2}
    assert second["links"]["prev"].endswith("/api/subs?page=1&per_page=2")
    assert second["links"]["next"] is None


@pytest.mark.parametrize(
    ("sub", "errors"),
    [
        ({}, [["channel", "can't be blank"], ["callback_url", "can't be blank"]]),
        ({"channel": "client.create"}, [["callback_url", "can't be blank"]]),
        ({"channel": "client.fly", "callback_url": "{url}"}, [["channel", "is not a channel, see api/subs/channels"]]),
        ({"channel": 7, "callback_url": "{url}"}, [["channel", "is invalid"]]),
        (
            {"channel": "client.create", "callback_url": "{url}/" + "x" * 100},
            [["callback_url", "is too long (maximum is 100 characters)"]],
        ),
    ],
)
def test_errors_are_pairs_of_field_and_words(
    api: Api, hook: Hook, sub: dict[str, Any], errors: list[list[str]]
) -> None:
    asked = {name: value.replace("{url}", hook.url) if isinstance(value, str) else value for name, value in sub.items()}
    assert api.call("POST", "subs", {"sub": asked}).expect(422) == {"errors": errors}


def test_the_url_must_be_within_the_app_s(api: Api, hook: Hook) -> None:
    for url in ("http://127.0.0.1:1/hook", "https://127.0.0.1/hook", "http://127.0.0.2/hook", f"{hook.url}/../x"):
        reply = api.call("POST", "subs", {"sub": {"channel": "client.create", "callback_url": url}})
        assert [field for field, _ in reply.expect(422)["errors"]] == ["callback_url"], url


def test_the_same_sub_twice_is_refused(api: Api, hook: Hook) -> None:
    api.subscribe("client.create", hook)
    reply = api.call("POST", "subs", {"sub": {"channel": "client.create", "callback_url": hook.url}})
    assert reply.expect(422)["errors"] == [["callback_url", "has already been subscribed to this channel"]]
    other = api.subscribe("client.update", hook)
    assert api.call("PUT", f"subs/{other['id']}", {"sub": {"channel": "client.create"}}).status == 422
    assert api.call("PUT", f"subs/{other['id']}", {"sub": other}).status == 200


def test_a_body_that_is_nothing_is_a_bad_request(api: Api) -> None:
    assert api.call("POST", "subs", body=b"{nonsense").expect(400)["errors"][0][0] == "base"
    assert api.call("POST", "subs", body=b"sub[channel]=\xff", headers={"content-type": FORM}).status == 400
    assert api.call("POST", "subs", [1]).status == 422


def test_an_unknown_path_or_method_is_told_in_the_same_form(api: Api) -> None:
    assert api.call("GET", "nothing").expect(404)["errors"][0][0] == "base"
    assert api.call("DELETE", "subs").expect(405)["errors"][0][0] == "base"
    assert api.call("GET", "subs/nobody").expect(404)["errors"][0][0] == "base"


# -- who may -----------------------------------------------------------------------------------------------------------


def test_only_oauth_apps_can_subscribe(api: Api, hook: Hook) -> None:
    api.subscribe("client.create", hook)
    for authorization in ("", "Basic dXNlcjpwYXNzd29yZA==", "Bearer wrong", f"Bearer {api.token}x"):
        reply = api.call("GET", "subs", headers={"authorization": authorization})
        assert reply.expect(401)["errors"], authorization
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert api.call("GET", "subs", headers={"authorization": ""}, access_token=api.token).status == 200


def test_a_key_of_the_native_api_is_no_access_token(app: App) -> None:
    key = app.project.post("keys", {"scope": "manage"}, status=201)["key"]
    assert Api(app, key).call("GET", "subs").status == 401


def test_a_token_of_one_project_is_none_in_another(api: Api, shared: Server) -> None:
    other = Project(shared.client, f"sk-{next(_numbers)}").create(dialect="salesking")
    assert api.client.call("GET", f"/p/{other.name}/api/subs").status == 401
    other.client.call("DELETE", other.path).expect(204)


def test_the_calls_need_the_scope_api_subs(app: App, hook: Hook) -> None:
    listener = app.granted(scope="clients")
    assert listener.call("GET", "subs").expect(403)["errors"][0][0] == "base"
    assert listener.call("GET", "subs/channels").status == 403
    reader = app.granted(scope="clients api/subs:read")
    assert reader.call("GET", "subs").status == 200
    asked = {"sub": {"channel": "client.create", "callback_url": hook.url}}
    assert reader.call("POST", "subs", asked).status == 403
    assert reader.call("DELETE", "subs/x").status == 403


def test_a_channel_needs_access_to_its_resource(app: App, hook: Hook) -> None:
    api = app.granted(scope="clients:create api/clients api/subs")
    for channel in ("client.update", "invoice.create"):
        reply = api.call("POST", "subs", {"sub": {"channel": channel, "callback_url": hook.url}})
        assert reply.expect(422)["errors"] == [["channel", "is not in the scope that was granted"]]
    api.subscribe("client.create", hook)


def test_no_scope_means_all_of_the_user_s_rights(app: App, hook: Hook) -> None:
    app.granted().subscribe("invoice.delete", hook)


def test_a_sub_is_tied_to_its_access_token(app: App, api: Api, hook: Hook) -> None:
    sub = api.subscribe("client.create", hook)
    other = app.granted(scope=ALL)
    assert other.call("GET", "subs").expect(200)["subs"] == []
    for method in ("GET", "PUT", "DELETE"):
        assert other.call(method, f"subs/{sub['id']}").status == 404
    other.subscribe("client.create", hook)


def test_the_token_tells_whose_it_is(app: App) -> None:
    api = app.granted(scope="clients", email="jo@example.com")
    user = api.call("GET", "users/current.json").expect(200)["user"]
    assert (user["id"], user["email"], user["first_name"]) == (USER, "jo@example.com", None)
    company = api.call("GET", "companies/current").expect(200)["company"]
    assert company == {"id": COMPANY, "name": None, "sub_domain": "729831939"}


# -- what is pushed ----------------------------------------------------------------------------------------------------


def test_an_event_is_posted_as_a_signed_request(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.create", hook)
    app.project.publish(happened("c1", "client.create", data={"id": "c1", "last_name": "Smith"}))
    [request] = hook.wait_for(1)
    data = app.read(request)
    assert data["obj"] == {"client": {"id": "c1", "last_name": "Smith"}, "links": []}
    assert (data["company_id"], data["user_id"], data["sub_domain"]) == (COMPANY, USER, "729831939")
    assert data["access_token"] == api.token
    assert list(data) == [
        "obj", "company_id", "user_id", "sub_domain", "issued_at", "access_token", "expires", "algorithm"
    ]  # fmt: skip
    assert data["issued_at"] < data["expires"]


def test_only_the_channel_s_events_of_the_company_are_pushed(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    app.project.publish(
        happened("c1", "client.create", data={"n": 1}),
        happened("i1", "invoice.update", data={"n": 2}),
        event("c1", "client.update", tenant="another", data={"n": 3}),
        happened("c1", "client.update", data={"n": 4}),
    )
    [request] = hook.wait_for(1)
    assert app.read(request)["obj"]["client"] == {"n": 4}


def test_a_deleted_object_is_sent_as_it_was_last(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.delete", hook)
    app.project.publish(happened("c9", "client.create", data={"id": "c9", "last_name": "Smith"}))
    app.project.publish(happened("c9", "client.delete"))
    [request] = hook.wait_for(1)
    assert app.read(request)["obj"] == {"client": {"id": "c9", "last_name": "Smith"}, "links": []}


def test_a_retry_keeps_the_object_in_a_fresh_envelope(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    hook.script(Answer(500), Answer(200))
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    first, second = (app.read(request) for request in hook.wait_for(2)[:2])
    assert first["obj"] == second["obj"] == {"client": {"id": "c1"}, "links": []}
    assert first["issued_at"] <= second["issued_at"]


def test_a_user_who_cannot_delete_invoices_has_no_app_that_hears_of_it(app: App, hook: Hook) -> None:
    api = app.granted(scope=ALL, permissions=["invoice.create", "invoice.update"])
    api.subscribe("invoice.delete", hook)
    api.subscribe("invoice.update", hook)
    app.project.publish(
        happened("i1", "invoice.delete", data={"n": 1}), happened("i1", "invoice.update", data={"n": 2})
    )
    [request] = hook.wait_for(1)
    assert app.read(request)["obj"]["invoice"] == {"n": 2}

    grant = f"{app.project.path}/grants/{api.grant}"
    app.project.client.call("PATCH", grant, {"permissions": ["invoice.*"]}).expect(200)
    app.project.publish(happened("i1", "invoice.delete", data={"n": 3}))
    assert app.read(hook.wait_for(2)[1])["obj"]["invoice"] == {"n": 3}


def test_a_revoked_app_s_subs_are_removed(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    stays = app.granted(scope=ALL)
    stays.subscribe("client.update", f"{hook.url}?stays")
    app.project.client.call("DELETE", f"{app.project.path}/grants/{api.grant}").expect(204)
    assert api.call("GET", "subs").status == 401
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    [request] = hook.wait_for(1)
    assert request.path.endswith("?stays")
    assert len(app.project.all("subscriptions")) == 1


def test_what_waits_is_not_sent_any_more_once_the_app_is_revoked(app: App, api: Api, hook: Hook, hooks: Any) -> None:
    other = hooks()
    api.subscribe("client.update", hook)
    stays = app.granted(scope=ALL)
    stays.subscribe("client.update", other)
    gate = threading.Event()
    hook.always(Answer(500, gate=gate))
    app.project.publish(happened("c1", "client.update", data={"n": 1}))
    hook.wait_for(1)
    app.project.client.call("DELETE", f"{app.project.path}/grants/{api.grant}").expect(204)
    gate.set()
    app.project.publish(happened("c1", "client.update", data={"n": 2}))
    other.wait_for(2)
    assert len(hook.requests) == 1


def test_what_waits_is_not_sent_any_more_once_the_user_may_not_see_it(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    grant = f"{app.project.path}/grants/{api.grant}"
    gate = threading.Event()
    hook.always(Answer(500, gate=gate))
    app.project.publish(*(happened("c1", "client.update", data={"n": number}) for number in range(3)))
    hook.wait_for(1)
    app.project.client.call("PATCH", grant, {"permissions": ["invoice.*"]}).expect(200)
    hook.always(Answer(200))
    gate.set()
    app.project.wait_for("cancelled", number=2)  # What was on the wire, and a range of what waited for it.
    app.project.publish(happened("c1", "client.update", data={"n": 3}))
    app.project.client.call("PATCH", grant, {"permissions": ["client.*"]}).expect(200)
    app.project.publish(happened("c1", "client.update", data={"n": 4}))
    assert [app.read(request)["obj"]["client"]["n"] for request in hook.wait_for(2)] == [0, 4]


def test_a_receiver_that_is_gone_learns_nothing_that_its_user_may_not_see(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    gate = threading.Event()
    hook.always(Answer(410, gate=gate))
    app.project.publish(happened("c1", "client.update", data={"n": 1}))
    hook.wait_for(1)
    app.project.client.call("PATCH", f"{app.project.path}/grants/{api.grant}", {"permissions": []}).expect(200)
    gate.set()
    [listed] = app.project.all("subscriptions")
    app.project.wait_for("exhausted")
    app.project.publish(happened("c1", "client.update", data={"n": 2}))
    assert [entry["body"]["obj"]["client"] for entry in app.project.feed(listed["id"])] == [{"n": 1}]


def test_what_the_user_may_not_see_any_more_is_not_sent_again(app: App, api: Api, hook: Hook) -> None:
    project = app.project
    api.subscribe("client.update", hook)
    project.publish(happened("c1", "client.update", data={"n": 1}))
    [delivery] = project.wait_for("delivered")
    sub = f"subscriptions/{delivery['subscription']}"
    project.client.call("PATCH", f"{project.path}/grants/{api.grant}", {"permissions": []}).expect(200)
    for asked in (f"deliveries/{delivery['id']}/redeliver", f"{sub}/replay", f"{sub}/test"):
        assert "may not" in project.post(asked, {}, status=409)["detail"]
    project.post("deliveries/redeliver", {}, state="delivered")
    eventually(lambda: {job["state"] for job in project.all("jobs")} == {"done"}, told=lambda: f"{project.all('jobs')}")
    project.post(f"{sub}/pause", {}, status=200)
    project.post(f"{sub}/resume", {}, status=200)
    assert project.client.call("PATCH", f"{project.path}/grants/{api.grant}", {"permissions": None}).status == 200
    project.publish(happened("c1", "client.update", data={"n": 2}))
    assert [app.read(request)["obj"]["client"]["n"] for request in hook.wait_for(2)] == [1, 2]


def test_an_access_token_that_the_receiver_echoes_is_not_kept(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    hook.answer = lambda request: Answer(200, body=request.body)
    for number in range(3):  # So the token begins at each place of a group of base64.
        app.project.publish(happened("c1", "client.update", data={"n": "x" * number}))
    for delivery in app.project.wait_for("delivered", number=3):
        [attempt] = delivery["attempts"]
        payload = attempt["response"]["body"].partition(".")[2]
        before, mask, _ = payload.partition("********")
        assert mask, payload
        assert api.token[:4] not in urlsafe_b64decode(before[: len(before) // 4 * 4]).decode()


def test_an_example_can_be_sent_looked_at_and_pulled(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    [listed] = app.project.all("subscriptions")
    app.project.post(f"subscriptions/{listed['id']}/test", {})
    [request] = hook.wait_for(1)
    assert app.read(request)["obj"]["client"]
    [delivery] = app.project.wait_for("delivered")
    assert delivery["attempts"][0]["request"]["headers"]["content-type"] == FORM
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    [entry] = app.project.feed(listed["id"])
    assert entry["body"] == {"obj": {"client": {"id": "c1"}, "links": []}}


def test_an_expired_token_s_subs_are_removed(app: App, hook: Hook) -> None:
    api = app.granted(scope=ALL, expires_in=2)
    api.subscribe("client.update", hook)
    eventually(lambda: app.project.all("subscriptions") == [], told=lambda: "the sub is still there")
    assert api.call("GET", "subs").status == 401
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    assert hook.requests == []


def test_a_token_that_has_expired_while_the_server_was_down_is_not_sent(
    serve: Any, receiver: Receiver, hook: Hook, hooks: Any
) -> None:
    server = serve(dev="1", time_scale="100")
    app = App(server.project("shop").create(dialect="salesking"), f"http://127.0.0.1:{receiver.port}")
    stays = hooks()
    app.granted(scope=ALL).subscribe("client.update", stays)
    granted = time.monotonic()
    app.granted(scope=ALL, expires_in=2).subscribe("client.update", hook)
    hook.always(Answer(500))
    stays.always(Answer(500))
    app.project.publish(*(happened(f"c{number}", "client.update", data={}) for number in range(5)))
    app.project.wait_for("retrying", number=10)
    server.kill()
    sent, also = len(hook.requests), len(stays.requests)
    time.sleep(max(0.0, granted + 2.1 - time.monotonic()))
    server.start()
    stays.wait_for(also + 5)
    assert len(hook.requests) == sent


def test_a_rotated_secret_signs_the_next_push(app: App, api: Api, hook: Hook) -> None:
    api.subscribe("client.update", hook)
    rotated = app.project.post(f"apps/{app.id}/secret/rotate", status=200)["secret"]
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    [request] = hook.wait_for(1)
    assert app.read(request, secret=rotated)["obj"]["client"] == {"id": "c1"}


def test_a_sub_is_a_subscription_of_the_native_api_too(app: App, api: Api, hook: Hook) -> None:
    sub = api.subscribe("client.update", hook)
    [listed] = app.project.all("subscriptions")
    assert (listed["external_id"], listed["types"], listed["dialect"]) == (sub["id"], ["client.update"], "salesking")
    document = {"types": ["client.delete"], "tenant": COMPANY, "options": {"grant": api.grant, "include_channel": True}}
    made = app.project.subscribe(hook.url, **document)
    assert api.call("GET", f"subs/{made['external_id']}").expect(200)["sub"]["channel"] == "client.delete"
    app.project.publish(happened("c1", "client.delete", data={"id": "c1"}))
    [request] = hook.wait_for(1)
    assert app.read(request)["channel"] == "client.delete"


def test_subs_outlive_a_restart(serve: Any, receiver: Receiver, hook: Hook) -> None:
    server = serve()
    app = App(server.project("shop").create(dialect="salesking"), f"http://127.0.0.1:{receiver.port}")
    api = app.granted(scope=ALL)
    sub = api.subscribe("client.update", hook)
    server.kill()
    server.start()
    assert api.call("GET", f"subs/{sub['id']}").expect(200)["sub"] == sub
    app.project.publish(happened("c1", "client.update", data={"id": "c1"}))
    [request] = hook.wait_for(1)
    assert app.read(request)["access_token"] == api.token
