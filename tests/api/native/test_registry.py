"""Projects, tenants and keys over HTTP, as a user of the API sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.native.serving import Native, make_context, serve


async def test_a_project_is_created_shown_replaced_changed_and_deleted(native: Native) -> None:
    made = (await native.call("PUT", "/v1/projects/p", {"objects": {"item": {"window": "start"}}})).expect(201)
    assert made == (await native.call("GET", "/v1/projects/p")).expect(200)
    assert made == {
        "id": "p",
        "dialect": "standard",
        "objects": {"item": {"window": "start"}},
        "settings": {},
        "created_at": "2027-01-15T08:00:00Z",
        "updated_at": "2027-01-15T08:00:00Z",
    }

    replaced = (await native.call("PUT", "/v1/projects/p", {"settings": {"allow_http": True}})).expect(200)
    assert (replaced["objects"], replaced["settings"]) == ({}, {"allow_http": True})

    patch = {"settings": {"allow_http": None, "rate": {"per_minute": 60}}, "objects": {"item": {}}}
    changed = (await native.call("PATCH", "/v1/projects/p", patch)).expect(200)
    assert (changed["objects"], changed["settings"]) == ({"item": {}}, {"rate": {"per_minute": 60}})

    assert (await native.call("DELETE", "/v1/projects/p")).expect(204) is None
    (await native.call("GET", "/v1/projects/p")).problem(404)
    (await native.call("DELETE", "/v1/projects/p")).problem(404)


async def test_two_changes_of_a_project_at_once_lose_nothing(native: Native) -> None:
    path = await native.project()
    patches: list[Any] = [{"objects": {f"item-{number}": {}}} for number in range(8)]
    for reply in await asyncio.gather(*(native.call("PATCH", path, patch) for patch in patches)):
        reply.expect(200)
    assert len((await native.call("GET", path)).expect(200)["objects"]) == 8


async def test_deleting_a_project_ends_all_that_it_has(native: Native) -> None:
    path = await native.project()
    made = await native.subscribe()
    (await native.call("POST", f"{path}/subscriptions/{made['id']}/replay")).expect(202)
    native.engine.changes.clear()
    (await native.call("DELETE", path)).expect(204)
    assert (native.engine.changes, native.engine.stopped, native.engine.forgotten[-1]) == ([1], [1], "p")
    await native.project()
    for name in ("subscriptions", "jobs", "keys", "tenants"):
        assert (await native.call("GET", f"{path}/{name}")).expect(200)["data"] == []


async def test_projects_are_listed_page_by_page(native: Native) -> None:
    for number in range(5):
        await native.project(f"p{number}")
        native.clock.skip_ms(1)
    first = (await native.call("GET", "/v1/projects", limit=2)).expect(200)
    second = (await native.call("GET", "/v1/projects", limit=2, after=first["next"])).expect(200)
    back = (await native.call("GET", "/v1/projects", limit=2, before=second["prev"])).expect(200)
    assert [each["id"] for each in first["data"] + second["data"]] == ["p4", "p3", "p2", "p1"]
    assert first["prev"] is None
    assert back["data"] == first["data"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"dialect": "klingon"}, "dialect"),
        ({"dialect": 5}, "dialect"),
        ({"surplus": 1}, "surplus"),
        ({"settings": {"verification": "maybe"}}, "settings.verification"),
        ({"settings": {"unknown": 1}}, "settings.unknown"),
        ({"settings": {"ports": [0]}}, "settings.ports[0]"),
        ({"settings": {"rate": {}}}, "settings.rate.per_minute"),
        ({"settings": {"rate": {"per_minute": 10**30}}}, "settings.rate.per_minute"),
        ({"settings": {"retention_days": True}}, "settings.retention_days"),
        ({"objects": {"a b": {}}}, "objects.a b"),
        ({"objects": {"item": {"enforce": True}}}, "objects.item.enforce"),
        ({"objects": {"item": {"schema": {"type": 5}}}}, "objects.item.schema"),
        ({"objects": {"item": {"surplus": 5}}}, "objects.item.surplus"),
        ({"objects": []}, "objects"),
    ],
)
async def test_a_wrong_member_of_a_project_is_named(native: Native, document: Any, field: str) -> None:
    assert (await native.call("PUT", "/v1/projects/p", document)).fields() == [field]
    (await native.call("GET", "/v1/projects/p")).problem(404)


@pytest.mark.parametrize("name", ["-", "a%20b", "%C3%A6", "x" * 65, ".."])
async def test_a_project_s_name_is_a_plain_word(native: Native, name: str) -> None:
    assert (await native.call("PUT", f"/v1/projects/{name}", {})).status in {404, 422}


async def test_a_tenant_may_have_any_name(native: Native) -> None:
    path = await native.project()
    for name in ("1201", "a%2Fb", "%C3%BCnusual%20name"):
        (await native.call("PUT", f"{path}/tenants/{name}", {"title": "One"})).expect(201)
        native.clock.skip_ms(1)
        (await native.call("PUT", f"{path}/tenants/{name}", {"attributes": {"plan": "gold"}})).expect(200)
        shown = (await native.call("GET", f"{path}/tenants/{name}")).expect(200)
        assert (shown["title"], shown["attributes"]) == ("", {"plan": "gold"})
    listed = (await native.call("GET", f"{path}/tenants")).expect(200)["data"]
    assert [each["id"] for each in listed] == ["ünusual name", "a/b", "1201"]
    (await native.call("GET", f"{path}/tenants/other")).problem(404)
    assert (await native.call("PUT", f"{path}/tenants/a%00b", {})).fields() == ["tenant"]


async def test_a_key_is_shown_once_and_works_until_it_is_deleted(native: Native) -> None:
    path = await native.project()
    made = (await native.call("POST", f"{path}/keys", {"scope": "read", "name": "ci"})).expect(201)
    key = made.pop("key")

    (await native.call("GET", path, key=key)).expect(200)
    assert (await native.call("GET", f"{path}/keys")).expect(200)["data"] == [made]
    assert (await native.call("GET", f"{path}/keys/{made['id']}")).expect(200) == made
    assert key not in str(native.store.__dict__)

    (await native.call("DELETE", f"{path}/keys/{made['id']}")).expect(204)
    problem = await native.call("GET", path, key=key)
    problem.problem(401)
    assert problem.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_expires(native: Native) -> None:
    path = await native.project()
    document = {"scope": "tenant", "tenant": 1201, "expires_in": 3600, "actor": {"user_id": 7}}
    made = (await native.call("POST", f"{path}/keys", document)).expect(201)
    assert (made["tenant"], made["actor"]) == ("1201", {"user_id": 7})
    assert made["expires_at"] == "2027-01-15T09:00:00Z"

    native.clock.skip_ms(3_599_999)
    (await native.call("GET", path, key=made["key"])).expect(200)
    native.clock.skip_ms(1)
    (await native.call("GET", path, key=made["key"])).problem(401)


async def test_an_admin_key_may_all_and_is_listed_everywhere(native: Native) -> None:
    for name in ("p", "q"):
        await native.project(name)
    key = await native.make_key("admin")
    reader = await native.make_key("read", project="q")

    (await native.call("GET", "/v1/projects", key=key)).expect(200)
    (await native.call("GET", "/v1/projects", key=reader)).problem(403)
    scopes = [each["scope"] for each in (await native.call("GET", "/v1/projects/q/keys", key=key)).expect(200)["data"]]
    assert scopes == ["read", "admin"]
    pages = (await native.call("GET", "/v1/projects/q/keys", limit=1)).expect(200)
    rest = (await native.call("GET", "/v1/projects/q/keys", limit=1, after=pages["next"])).expect(200)
    assert [each["scope"] for each in pages["data"] + rest["data"]] == ["read", "admin"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "scope"),
        ({"scope": "god"}, "scope"),
        ({"scope": "read", "tenant": "1"}, "tenant"),
        ({"scope": "tenant", "tenant": ""}, "tenant"),
        ({"scope": "tenant", "tenant": "a\u0001b"}, "tenant"),
        ({"scope": "read", "expires_in": 0}, "expires_in"),
        ({"scope": "read", "expires_in": "3600"}, "expires_in"),
        ({"scope": "read", "actor": 7}, "actor"),
        ({"scope": "read", "key": "mine"}, "key"),
    ],
)
async def test_a_wrong_member_of_a_key_is_named(native: Native, document: Any, field: str) -> None:
    path = await native.project()
    assert (await native.call("POST", f"{path}/keys", document)).fields() == [field]


async def test_a_deleted_project_s_keys_work_no_more(native: Native) -> None:
    path = await native.project()
    key = await native.make_key("manage")
    (await native.call("GET", path, key=key)).expect(200)
    (await native.call("DELETE", path)).expect(204)
    (await native.call("GET", path, key=key)).problem(401)
    await native.project()
    (await native.call("GET", path, key=key)).problem(401)


async def test_the_dialect_of_a_project_with_subscriptions_stays(native: Native) -> None:
    path = await native.project()
    await native.subscribe()
    (await native.call("PATCH", path, {"dialect": "standard"})).expect(200)
    # There is one dialect so far: an unknown one is refused before that is asked.
    assert (await native.call("PATCH", path, {"dialect": "other"})).fields() == ["dialect"]


async def test_without_an_operator_s_key_nothing_unknown_is_let_in() -> None:
    async with serve(make_context(admin_key="")) as native:
        for key in ("", "the-operator-s-own-key"):
            (await native.call("GET", "/v1/projects", key=key)).problem(401)
