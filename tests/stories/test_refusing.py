"""Bad input is refused with a problem that names the field and the fix; nothing is half-accepted, nothing is a 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.stories.calling import Client, Project, Reply, event
from tests.stories.receiving import Hook
from tests.stories.serving import Server

JSON = "application/json"
LINES = "application/x-ndjson"
HEAD = b'"object": "item", "action": "update", "object_id": "1"'
VALID = b"{%b}" % HEAD


def _post(project: Project, body: bytes, *, content_type: str = JSON, path: str = "events") -> Reply:
    return project.client.call("POST", f"{project.path}/{path}", body=body, headers={"content-type": content_type})


def _is_problem(reply: Reply, *, status: int, field: str | None = None) -> None:
    """See that an answer is a problem of RFC 9457, and names a field where one is at fault."""
    assert reply.status == status, reply
    assert reply.headers["content-type"].startswith("application/problem+json"), reply
    problem = reply.json
    assert problem["status"] == status
    assert problem["title"]
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
        assert all(error["detail"] for error in problem["errors"])


MALFORMED = [
    b"",
    b"{",
    b"nonsense",
    b"{'object': 'item'}",
    VALID + b"}",
    VALID + VALID,
    b"[" + VALID,
    b"[" + VALID + b",]",
    b'{%b, "data": NaN}' % HEAD,
    b'{%b, "data": {"price": Infinity}}' % HEAD,
    b'{%b, "data": [-Infinity]}' % HEAD,
    b'{%b, "data": 01}' % HEAD,
    b'{%b, "data": "\x01"}' % HEAD,
    b'{%b, "data": "\xff\xfe"}' % HEAD,
    b'{%b, "data": "\xed\xa0\x80"}' % HEAD,
    b'{%b, "data": {"a" 1}}' % HEAD,
    b'{%b, "data": tru}' % HEAD,
    b'{%b, "attributes": {"a": "\\x"}}' % HEAD,
    b"\xef\xbb\xbf" + b"{",
    b"\x00",
]


@pytest.mark.parametrize("body", MALFORMED)
def test_malformed_json_is_a_400(project: Project, body: bytes) -> None:
    _is_problem(_post(project, body), status=400)
    assert project.all("events") == []


@pytest.mark.parametrize("body", [body for body in MALFORMED if body])
def test_one_malformed_line_spoils_all(project: Project, body: bytes) -> None:
    reply = _post(project, VALID + b"\n" + body + b"\n", content_type=LINES)
    assert reply.status in {400, 422}  # The line may also be JSON, but no event.
    _is_problem(reply, status=reply.status)
    assert project.all("events") == []


WRONG: list[tuple[str, Any]] = [
    ("object", {"action": "update", "object_id": "1"}),
    ("action", {"object": "item", "object_id": "1"}),
    ("object_id", {"object": "item", "action": "update"}),
    ("object", event() | {"object": ""}),
    ("object", event() | {"object": 7}),
    ("object", event() | {"object": "*"}),
    ("object", event() | {"object": "o" * 10_000}),
    ("action", event() | {"action": None}),
    ("action", event() | {"action": "up date"}),
    ("object_id", event() | {"object_id": {"id": 1}}),
    ("object_id", event() | {"object_id": True}),
    ("object_id", event() | {"object_id": "a\x00b"}),
    ("object_id", event() | {"object_id": "i" * 10_000}),
    ("tenant", event() | {"tenant": ["1"]}),
    ("tenant", event() | {"tenant": ""}),
    ("tenant", event() | {"tenant": "a\x00b"}),
    ("occurred_at", event() | {"occurred_at": "yesterday"}),
    ("occurred_at", event() | {"occurred_at": "2026-13-01T00:00:00Z"}),
    ("occurred_at", event() | {"occurred_at": 7}),
    ("url", event() | {"url": 7}),
    ("actor", event() | {"actor": "me"}),
    ("attributes", event() | {"attributes": ["NO"]}),
    ("colour", event() | {"colour": "red"}),
    ("Object", event() | {"Object": "item"}),
]


@pytest.mark.parametrize(("field", "document"), WRONG)
def test_an_event_with_a_wrong_field_is_a_422_that_names_it(project: Project, field: str, document: Any) -> None:
    _is_problem(_post(project, json.dumps(document).encode()), status=422, field=field)
    assert project.all("events") == []


@pytest.mark.parametrize("field", ["object", "object_id", "action", "tenant", "url", "occurred_at"])
def test_a_lone_surrogate_is_refused(project: Project, field: str) -> None:
    reply = _post(project, json.dumps(event() | {field: "\ud800"}).encode())
    assert reply.status in {400, 422}
    _is_problem(reply, status=reply.status)
    assert project.all("events") == []


@pytest.mark.parametrize(("field", "document"), WRONG[:5] + WRONG[-2:])
@pytest.mark.parametrize("content_type", [JSON, LINES])
def test_one_wrong_event_of_many_is_named_and_none_is_accepted(
    project: Project, field: str, document: Any, content_type: str
) -> None:
    documents = [event(1), event(2), document, event(3)]
    lines = [json.dumps(one).encode() for one in documents]
    body = b"[%b]" % b",".join(lines) if content_type == JSON else b"\n".join(lines)

    reply = _post(project, body, content_type=content_type)

    _is_problem(reply, status=422)
    named = [error["field"] for error in reply.json["errors"]]
    assert [name for name in named if "2" in name and field in name], named
    assert project.all("events") == []


@pytest.mark.parametrize("document", [7, "item", None, True, [[]], [7], [None], [event(), [event()]]])
def test_what_is_no_event_is_refused(project: Project, document: Any) -> None:
    reply = _post(project, json.dumps(document).encode())
    _is_problem(reply, status=reply.status)
    assert reply.status in {400, 422}
    assert project.all("events") == []


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_data_too_deep_is_refused(project: Project, opening: bytes, depth: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    if len(opening) * depth > 200_000:
        depth = 30_000
    body = b'{%b, "data": %b1%b}' % (HEAD, opening * depth, closing * depth)

    reply = _post(project, body)

    assert reply.status in {400, 413, 422}
    _is_problem(reply, status=reply.status)
    assert project.all("events") == []


@pytest.mark.parametrize("data", [b'"\\ud800"', b'{"\\udc00": 1}', b'"a\\u0000b"'])
def test_data_that_some_parsers_choke_on_is_refused_or_kept_as_it_is(project: Project, hook: Hook, data: bytes) -> None:
    project.subscribe(hook.url)

    reply = _post(project, b'{%b, "data": %b}' % (HEAD, data))

    assert reply.status in {202, 400, 422}
    if reply.status == 202:
        [request] = hook.wait_for(1)
        assert b'"data":' + data in request.body


def test_an_event_may_hold_256_kib_and_no_more(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url)
    room = 256 * 1024 - len(b'{%b, "data": ""}' % HEAD)
    fits = b'{%b, "data": "%b"}' % (HEAD, b"x" * room)
    over = b'{%b, "data": "%b"}' % (HEAD, b"x" * (room + 1))
    assert len(fits) == 256 * 1024

    _post(project, fits).expect(202)
    _is_problem(_post(project, over), status=413)
    _is_problem(_post(project, b"[%b, %b]" % (VALID, over)), status=413)
    _is_problem(_post(project, b"%b\n%b\n" % (VALID, over), content_type=LINES), status=413)

    [request] = hook.wait_for(1)
    assert len(request.json["data"]) == room
    assert len(project.all("events")) == 1


def test_a_request_may_hold_8_mib_and_a_thousand_events(project: Project) -> None:
    big = b'{%b, "data": "%b"}' % (HEAD, b"x" * 200_000)

    _is_problem(_post(project, b"[%b]" % b",".join([big] * 45)), status=413)
    reply = _post(project, b"[%b]" % b",".join([VALID] * 1001))
    assert reply.status in {413, 422}
    assert project.all("events") == []
    assert _post(project, b"[%b]" % b",".join([VALID] * 1000)).expect(202)["accepted"] == 1000
    assert _post(project, b"[%b]" % b",".join([big] * 35)).expect(202)["accepted"] == 35


def test_an_empty_array_is_answered_without_an_event(project: Project) -> None:
    reply = _post(project, b"[]")
    assert reply.status in {202, 422}
    if reply.status == 202:
        assert (reply.json["accepted"], reply.json["ids"]) == (0, [])


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "x"])
def test_another_content_type_is_a_415(project: Project, content_type: str) -> None:
    _is_problem(_post(project, VALID, content_type=content_type), status=415)
    _is_problem(
        _post(project, b'{"url": "https://example.com"}', content_type=content_type, path="subscriptions"), status=415
    )


def test_a_content_type_may_name_its_charset(project: Project) -> None:
    assert _post(project, VALID, content_type="application/json; charset=utf-8").expect(202)["accepted"] == 1


@pytest.mark.parametrize(
    ("field", "document"),
    [
        ("url", {}),
        ("url", {"url": 7}),
        ("url", {"url": "no url"}),
        ("url", {"url": "ftp://example.com/"}),
        ("colour", {"url": "https://example.com/", "colour": "red"}),
        ("types", {"url": "https://example.com/", "types": "item.*"}),
        ("types[1]", {"url": "https://example.com/", "types": ["item.*", "item"]}),
        ("ordering", {"url": "https://example.com/", "ordering": "sometimes"}),
        ("max_in_flight", {"url": "https://example.com/", "max_in_flight": 0}),
        ("timeout_s", {"url": "https://example.com/", "timeout_s": 1000}),
        ("batch.coalesce", {"url": "https://example.com/", "batch": {"coalesce": "all"}}),
        ("batch.size", {"url": "https://example.com/", "batch": {"size": 7}}),
        ("retry.delays_s[0]", {"url": "https://example.com/", "retry": {"delays_s": [-1]}}),
        ("rate.per_minute", {"url": "https://example.com/", "rate": {"per_minute": "many"}}),
        ("headers.host", {"url": "https://example.com/", "headers": {"host": "x"}}),
        ("headers.webhook-id", {"url": "https://example.com/", "headers": {"webhook-id": "x"}}),
        ("headers.x-a", {"url": "https://example.com/", "headers": {"x-a": "a\r\nb: c"}}),
        ("dialect", {"url": "https://example.com/", "dialect": "klingon"}),
        ("options.colour", {"url": "https://example.com/", "options": {"colour": "red"}}),
        ("secret", {"url": "https://example.com/", "secret": "whsec_short"}),
        ("kind", {"url": "https://example.com/", "kind": "shove"}),
    ],
)
def test_a_subscription_with_a_wrong_field_is_a_422_that_names_it(project: Project, field: str, document: Any) -> None:
    reply = project.client.call("POST", f"{project.path}/subscriptions", document)
    _is_problem(reply, status=422, field=field)
    assert project.all("subscriptions") == []


@pytest.mark.parametrize(
    "pattern", [{"data": {"$around": 7}}, {"$or": 7}, {"data": {"a": {"$in": 7}}}, 7, {"data": {"a": {"$gt": {}}}}]
)
def test_a_filter_that_cannot_be_compiled_names_the_place(project: Project, pattern: Any) -> None:
    reply = project.client.call(
        "POST", f"{project.path}/subscriptions", {"url": "https://example.com/", "filter": pattern}
    )
    _is_problem(reply, status=422)
    assert all(error["field"].startswith("filter") for error in reply.json["errors"])


def test_a_wrong_change_changes_nothing(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, name="ours")

    reply = project.client.call(
        "PATCH", f"{project.path}/subscriptions/{made['id']}", {"name": "theirs", "ordering": "sometimes"}
    )

    _is_problem(reply, status=422, field="ordering")
    assert project.subscription(made["id"])["name"] == "ours"


def test_without_a_key_or_with_an_unknown_one_nothing_is_told(shared: Server, project: Project) -> None:
    for key in ("unknown", "", "ünknown", "x" * 5000):
        stranger = Client(shared.port, key)
        for method, path in (
            ("GET", project.path),
            ("POST", f"{project.path}/events"),
            ("GET", "/v1/projects"),
            ("GET", "/v1/projects/no-such-project"),
        ):
            reply = stranger.call(method, path, body=VALID if method == "POST" else None)
            _is_problem(reply, status=401)
    assert project.all("events") == []
    assert shared.client.call("GET", "/healthz", headers={"authorization": ""}).status == 200


def _key(project: Project, **members: Any) -> Project:
    made = project.post("keys", members, status=201)
    return Project(Client(project.client.port, made["key"]), project.name)


SCOPES = {
    "publish": {"events": 202, "subscriptions": 403, "read": 403, "keys": 403, "project": 403},
    "read": {"events": 403, "subscriptions": 403, "read": 200, "keys": 403, "project": 403},
    "manage": {"events": 403, "subscriptions": 201, "read": 200, "keys": 403, "project": 403},
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_says(project: Project, hook: Hook, scope: str) -> None:
    holder, may = _key(project, scope=scope), SCOPES[scope]
    client = holder.client
    assert client.call("POST", f"{project.path}/events", event()).status == may["events"]
    assert client.call("POST", f"{project.path}/subscriptions", {"url": hook.url}).status == may["subscriptions"]
    assert client.call("GET", f"{project.path}/subscriptions").status == may["read"]
    assert client.call("GET", f"{project.path}/deliveries").status == may["read"]
    assert client.call("GET", f"{project.path}/keys").status == may["keys"]
    assert client.call("PATCH", project.path, {"settings": {}}).status == may["project"]


def test_a_tenant_s_key_sees_its_own_tenant_alone(project: Project, hook: Hook) -> None:
    mine = _key(project, scope="tenant", tenant="1", expires_in=3600)
    ours = mine.subscribe(hook.url)
    theirs = project.subscribe(hook.url, tenant="2")
    [our_event, their_event] = project.publish(event(tenant="1"), event(tenant="2"))
    project.wait_for("delivered", number=2)
    [their_delivery] = project.deliveries(event=their_event)

    assert [found["id"] for found in mine.all("subscriptions")] == [ours["id"]]
    assert [found["id"] for found in mine.all("events")] == [our_event]
    assert [found["subscription"] for found in mine.deliveries()] == [ours["id"]]
    for method, path in (
        ("GET", f"subscriptions/{theirs['id']}"),
        ("GET", f"subscriptions/{theirs['id']}/feed"),
        ("DELETE", f"subscriptions/{theirs['id']}"),
        ("POST", f"subscriptions/{theirs['id']}/pause"),
        ("POST", f"subscriptions/{theirs['id']}/secret/rotate"),
        ("GET", f"events/{their_event}"),
        ("GET", f"deliveries/{their_delivery['id']}"),
        ("POST", f"deliveries/{their_delivery['id']}/redeliver"),
    ):
        _is_problem(mine.client.call(method, f"{project.path}/{path}"), status=404)
    assert mine.client.call("POST", f"{project.path}/events", event(tenant="1")).status == 403
    assert project.subscription(theirs["id"])["state"] == "active"


def test_another_project_s_ids_are_not_there(shared: Server, project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    [id_] = project.publish(event())
    [delivery] = project.wait_for("delivered")
    other = shared.project(f"{project.name}-other")
    reader = _key(other, scope="read").client

    for path in (f"subscriptions/{made['id']}", f"events/{id_}", f"deliveries/{delivery['id']}"):
        _is_problem(shared.client.call("GET", f"{other.path}/{path}"), status=404)
        _is_problem(reader.call("GET", f"{other.path}/{path}"), status=404)
        _is_problem(reader.call("GET", f"{project.path}/{path}"), status=404)


@pytest.mark.parametrize("id_", ["1", "sub_", "sub_zzz", "evt_1", "ünknown", "..", "%00", "a" * 3000])
def test_an_id_that_is_none_is_a_404(project: Project, id_: str) -> None:
    for kind in ("subscriptions", "events", "deliveries", "jobs"):
        reply = project.client.call("GET", f"{project.path}/{kind}/{quote(id_, safe='%')}")
        assert reply.status in {404, 414}, reply


def test_an_object_that_the_project_does_not_name_is_refused(project: Project) -> None:
    project.create(objects={"item": {"actions": ["create", "update"]}})

    project.publish(event(1))
    _is_problem(_post(project, json.dumps(event(1, "other.update")).encode()), status=422, field="object")
    _is_problem(_post(project, json.dumps(event(1, "item.explode")).encode()), status=422, field="action")


def test_data_that_breaks_an_enforced_schema_is_refused(project: Project) -> None:
    schema = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    project.create(objects={"item": {"schema": schema, "enforce": True}, "loose": {"schema": schema}})

    project.publish(event(1, data={"title": "x"}), event(1, "loose.update", data=7))
    for data in ({}, {"title": 7}, 7):
        reply = _post(project, json.dumps(event(1, data=data)).encode())
        _is_problem(reply, status=422)
        assert reply.json["errors"][0]["field"].startswith("data")


def test_wrong_methods_paths_and_queries_are_problems_too(project: Project) -> None:
    call = project.client.call
    assert call("GET", "/v1/nothing").status == 404
    assert call("DELETE", f"{project.path}/events").status == 405
    for query in ({"limit": "many"}, {"limit": 0}, {"limit": 100_000}, {"after": "no-cursor"}, {"since": "yesterday"}):
        reply = call("GET", f"{project.path}/events", **query)
        assert reply.status in {400, 422}, (query, reply)
        _is_problem(reply, status=reply.status)
    assert call("GET", f"{project.path}/deliveries", state="eaten").status in {400, 422}


def test_the_server_is_well_after_all_that(shared: Server) -> None:
    assert shared.client.call("GET", "/readyz").status == 200
    assert "Traceback" not in shared.told()
