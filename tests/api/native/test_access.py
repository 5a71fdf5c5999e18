"""Who may call what, and what others' things look like: as if they did not exist."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.model.delivery import State
from tests.api.native.filling import id_of, key_of, publish, settle
from tests.api.native.serving import Native

SUBSCRIPTION: Any = {"url": "https://example.com/hook"}

# Method, path, document; then the statuses for the keys publish, read, manage, tenant (1201) and admin.
CALLS = [
    ("GET", "/v1/projects", None, (403, 403, 403, 403, 200)),
    ("PUT", "/v1/projects/p", {}, (403, 403, 403, 403, 200)),
    ("GET", "/v1/projects/p", None, (403, 200, 200, 200, 200)),
    ("PATCH", "/v1/projects/p", {}, (403, 403, 403, 403, 200)),
    ("DELETE", "/v1/projects/other", None, (404, 404, 404, 404, 204)),
    ("GET", "/v1/projects/p/tenants", None, (403, 200, 200, 403, 200)),
    ("PUT", "/v1/projects/p/tenants/1", {}, (403, 403, 201, 403, 201)),
    ("GET", "/v1/projects/p/keys", None, (403, 403, 403, 403, 200)),
    ("POST", "/v1/projects/p/keys", {"scope": "tenant", "tenant": "1201"}, (403, 403, 201, 403, 201)),
    ("POST", "/v1/projects/p/keys", {"scope": "read"}, (403, 403, 403, 403, 201)),
    ("POST", "/v1/projects/p/keys", {"scope": "admin"}, (403, 403, 403, 403, 201)),
    ("GET", "/v1/projects/p/subscriptions", None, (403, 200, 200, 200, 200)),
    ("POST", "/v1/projects/p/subscriptions", SUBSCRIPTION, (403, 403, 201, 201, 201)),
    ("GET", "/v1/projects/p/events", None, (403, 200, 200, 200, 200)),
    ("GET", "/v1/projects/p/deliveries", None, (403, 200, 200, 200, 200)),
    ("GET", "/v1/projects/p/jobs", None, (403, 200, 200, 200, 200)),
    ("POST", "/v1/projects/p/deliveries/redeliver", {"state": "exhausted"}, (403, 403, 202, 202, 202)),
    ("GET", "/v1/projects/p/subscriptions/sub_1", None, (403, 404, 404, 404, 404)),
    ("POST", "/v1/projects/p/subscriptions/sub_1/pause", None, (403, 403, 404, 404, 404)),
    ("POST", "/v1/projects/p/subscriptions/sub_1/resync", {}, (403, 403, 404, 404, 404)),
    ("GET", "/v1/projects/p/objects/item", None, (403, 200, 200, 200, 200)),
    ("GET", "/v1/projects/p/objects/item/1", None, (403, 404, 404, 404, 404)),
    ("GET", "/v1/addresses", None, (200, 200, 200, 200, 200)),
]


@pytest.mark.parametrize("place", range(5), ids=["publish", "read", "manage", "tenant", "admin"])
async def test_each_scope_has_its_calls(native: Native, place: int) -> None:
    for name in ("p", "other"):
        await native.project(name)
    scope = ("publish", "read", "manage", "tenant", "admin")[place]
    key = await native.make_key(scope, tenant=1201 if scope == "tenant" else None)
    for method, path, document, statuses in CALLS:
        reply = await native.call(method, path, document, key=key)
        assert reply.status == statuses[place], (method, path, document, reply)


async def test_without_a_key_nothing_but_the_addresses_is_told(native: Native) -> None:
    await native.project()
    for method, path, document, _ in CALLS:
        if path != "/v1/addresses":
            (await native.call(method, path, document, key="")).problem(401)
    reply = await native.call("GET", "/v1/addresses", key="")
    assert reply.expect(200) == {"addresses": []}


@pytest.mark.parametrize("shown", ["Basic abc", "Bearer", "Bearer ", "bearer-ish x", "Bearer \xff\xfe", "Bearer a b"])
async def test_what_is_no_key_is_refused(native: Native, shown: str) -> None:
    (await native.call("GET", "/v1/projects", headers={"authorization": shown})).problem(401)


async def test_the_scheme_may_be_written_as_one_likes(native: Native) -> None:
    (await native.call("GET", "/v1/projects", headers={"authorization": f"bEARER  {native.key}"})).expect(200)


async def test_a_wrong_key_is_told_so_before_its_body_is_looked_at(native: Native) -> None:
    await native.project()
    (await native.call("POST", "/v1/projects/p/subscriptions", body=b"{nonsense", key="wrong")).problem(401)


async def test_another_tenant_s_things_do_not_exist(native: Native) -> None:
    await native.project()
    key = await native.make_key("tenant", tenant="1201")
    theirs = await native.subscribe(tenant="1202")
    mine = (await native.call("POST", "/v1/projects/p/subscriptions", SUBSCRIPTION, key=key)).expect(201)
    assert mine["tenant"] == "1201"
    [place] = await publish(native, "1", tenant="1202")
    delivery = await settle(native, key_of(place, 1), State.EXHAUSTED)
    job = (await native.call("POST", f"/v1/projects/p/subscriptions/{theirs['id']}/replay")).expect(202)

    for path in (
        f"subscriptions/{theirs['id']}",
        f"subscriptions/{theirs['id']}/feed",
        f"events/{id_of(native, place)}",
        f"deliveries/{delivery}",
        f"jobs/{job['id']}",
        "subscriptions?tenant=1202",
        "events?tenant=1202",
        "deliveries?tenant=1202",
        "jobs?tenant=1202",
        "objects/item?tenant=1202",
        "objects/item/1?tenant=1202",
    ):
        (await native.call("GET", f"/v1/projects/p/{path}", key=key)).problem(404)
        (await native.call("GET", f"/v1/projects/p/{path}")).expect(200)
    for path in (
        f"subscriptions/{theirs['id']}/pause",
        f"subscriptions/{theirs['id']}/disable",
        f"subscriptions/{theirs['id']}/test",
        f"subscriptions/{theirs['id']}/replay",
        f"subscriptions/{theirs['id']}/resync",
        f"subscriptions/{theirs['id']}/secret/rotate",
        f"deliveries/{delivery}/redeliver",
        f"deliveries/redeliver?subscription={theirs['id']}",
        f"jobs/{job['id']}/cancel",
    ):
        (await native.call("POST", f"/v1/projects/p/{path}", key=key)).problem(404)
    (await native.call("DELETE", f"/v1/projects/p/subscriptions/{theirs['id']}", key=key)).problem(404)
    document = {**SUBSCRIPTION, "tenant": "1202"}
    (await native.call("POST", "/v1/projects/p/subscriptions", document, key=key)).problem(404)
    for path in ("subscriptions", "events", "deliveries", "jobs"):
        listed = (await native.call("GET", f"/v1/projects/p/{path}", key=key)).expect(200)["data"]
        assert [each["id"] for each in listed] == ([mine["id"]] if path == "subscriptions" else [])


async def test_another_project_s_things_do_not_exist(native: Native) -> None:
    for name in ("p", "q"):
        await native.project(name)
    made = await native.subscribe()
    key = await native.make_key("manage", project="q")
    (await native.call("GET", "/v1/projects/p", key=key)).problem(404)
    (await native.call("GET", f"/v1/projects/p/subscriptions/{made['id']}", key=key)).problem(404)
    (await native.call("GET", f"/v1/projects/q/subscriptions/{made['id']}", key=key)).problem(404)
    (await native.call("PATCH", f"/v1/projects/q/subscriptions/{made['id']}", {"name": "x"}, key=key)).problem(404)


async def test_a_tenant_sees_the_catalogue_without_the_settings(native: Native) -> None:
    await native.project(objects={"item": {}}, settings={"allow_http": True})
    shown = (await native.call("GET", "/v1/projects/p", key=await native.make_key("tenant"))).expect(200)
    assert shown["objects"] == {"item": {}}
    assert "settings" not in shown
    assert "settings" in (await native.call("GET", "/v1/projects/p", key=await native.make_key("read"))).expect(200)
