"""Resyncs and the current state of objects, over HTTP: what is asked of the engine, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.model.registry import JobState
from tests.api.native.filling import id_of, publish
from tests.api.native.serving import Native

PATH = "/v1/projects/p"
OBJECTS: Any = {"item": {"window": "start"}, "program": {}, "contact": {}}


async def _resync(native: Native, subscription: str, asked: Any = None, **more: Any) -> Any:
    return await native.call("POST", f"{PATH}/subscriptions/{subscription}/resync", asked, **more)


async def _spec(native: Native, asked: Any = None, **members: Any) -> dict[str, Any]:
    """Return what the engine is asked for by a resync of a new subscription."""
    made = await native.subscribe(**members)
    (await _resync(native, made["id"], asked)).expect(202)
    return native.engine.started[-1].spec


async def test_a_resync_is_a_job_with_its_objects_window_and_actor(native: Native) -> None:
    await native.project(objects=OBJECTS)
    made = await native.subscribe()
    asked = {
        "from": "2026-11-01T00:00:00Z",
        "until": "2026-11-30T00:00:00+01:00",
        "objects": ["item", "contact", "item"],
        "actor": {"user_id": 7},
    }
    job = (await _resync(native, made["id"], asked)).expect(202)
    assert job == {
        **job,
        "kind": "resync",
        "state": "running",
        "subscription": made["id"],
        "tenant": "default",
        "total": 0,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "detail": None,
    }
    [started] = native.engine.started
    assert started.id == job["id"]
    assert started.spec == {
        "from_ms": 1_793_491_200_000,
        "until_ms": 1_795_993_200_000,
        "objects": ["item", "contact"],
        "window": {"item": "start"},
        "actor": {"user_id": 7},
    }


async def test_without_objects_all_are_meant_that_the_subscription_selects(native: Native) -> None:
    await native.project(objects=OBJECTS)
    assert (await _spec(native))["objects"] == ["item", "program", "contact"]
    spec = await _spec(native, types=["program.*", "item.update"])
    assert (spec["objects"], spec["window"]) == (["item", "program"], {"item": "start"})
    assert (await _spec(native, types=["*.delete"]))["objects"] == ["item", "program", "contact"]


async def test_what_is_asked_for_but_not_selected_is_left_out_and_said(native: Native) -> None:
    await native.project(objects=OBJECTS)
    made = await native.subscribe(types=["item.*"])
    job = (await _resync(native, made["id"], {"objects": ["program", "item"]})).expect(202)
    assert native.engine.started[0].spec["objects"] == ["item"]
    assert job["detail"] == "left out, for the subscription does not select them: program"


async def test_where_the_project_names_no_objects_those_that_there_are_are_meant(native: Native) -> None:
    await native.project()
    assert (await _spec(native))["objects"] == []
    for object_ in ("note", "item", "a.b"):
        await publish(native, "1", object=object_)
    assert (await _spec(native))["objects"] == ["a.b", "item", "note"]
    assert (await _spec(native, types=["item.*", "a.b.update", "x.*"]))["objects"] == ["a.b", "item"]
    assert (await _spec(native, {"objects": ["anything"]}))["objects"] == ["anything"]


async def test_who_asks_is_the_key_s_actor_unless_another_is_named(native: Native) -> None:
    await native.project(objects=OBJECTS)
    key = await native.make_key("manage", actor={"user_id": 9})
    made = await native.subscribe()
    (await _resync(native, made["id"], key=key)).expect(202)
    assert native.engine.started[0].spec["actor"] == {"user_id": 9}
    (await native.call("POST", f"{PATH}/jobs/{native.engine.started[0].id}/cancel")).expect(200)
    (await _resync(native, made["id"], {"actor": {}}, key=key)).expect(202)
    assert native.engine.started[1].spec["actor"] == {}
    assert "actor" not in (await _spec(native))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"objects": ["item", "nothing"]}, "objects[1]"),
        ({"objects": []}, "objects"),
        ({"objects": ["contact"]}, "objects"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "until"),
        ({"actor": 7}, "actor"),
        ({"since": "2026-11-02T00:00:00Z"}, "since"),
    ],
)
async def test_a_wrong_member_of_a_resync_is_named(native: Native, asked: Any, field: str) -> None:
    await native.project(objects=OBJECTS)
    made = await native.subscribe(types=["item.*", "program.*"])
    assert (await _resync(native, made["id"], asked)).fields() == [field]
    assert native.engine.started == []


async def test_one_resync_of_a_subscription_is_under_way_at_a_time(native: Native) -> None:
    await native.project(objects=OBJECTS)
    made, other = await native.subscribe(), await native.subscribe()
    job = (await _resync(native, made["id"])).expect(202)
    assert job["id"] in (await _resync(native, made["id"])).problem(409)["detail"]
    (await _resync(native, other["id"])).expect(202)
    cancelled = (await native.call("POST", f"{PATH}/jobs/{job['id']}/cancel")).expect(200)
    assert cancelled["state"] == JobState.CANCELLED
    (await _resync(native, made["id"])).expect(202)


async def test_what_cannot_be_pushed_to_cannot_be_resynced(native: Native) -> None:
    await native.project(objects=OBJECTS)
    pull = await native.subscribe(None, kind="pull")
    disabled = await native.subscribe()
    (await native.call("POST", f"{PATH}/subscriptions/{disabled['id']}/disable")).expect(200)
    for made in (pull, disabled):
        (await _resync(native, made["id"])).problem(409)


async def test_where_no_objects_are_kept_there_is_neither_resync_nor_state(native: Native) -> None:
    await native.project(objects=OBJECTS, settings={"keep_objects": False})
    made = await native.subscribe()
    assert "keep_objects" in (await _resync(native, made["id"])).problem(409)["detail"]
    (await native.call("GET", f"{PATH}/objects/item/1")).problem(409)
    (await native.call("GET", f"{PATH}/objects/item")).problem(409)


# -- objects -----------------------------------------------------------------------------------------------------------


async def test_an_object_is_shown_as_its_events_left_it(native: Native) -> None:
    await native.project()
    await publish(native, "49", tenant="1", data=b'{"title": "News"}', action="create")
    native.clock.skip_ms(1000)
    [place] = await publish(
        native, "49", tenant="1", url="https://a.test/49", attributes=b'{"country": "NO"}', occurred_us=1_000_000
    )
    found = (await native.call("GET", f"{PATH}/objects/item/49", tenant="1")).expect(200)
    assert found == {
        "tenant": "1",
        "object": "item",
        "object_id": "49",
        "action": "update",
        "data": {"title": "News"},
        "attributes": {"country": "NO"},
        "url": "https://a.test/49",
        "event": id_of(native, place),
        "occurred_at": "1970-01-01T00:00:01Z",
        "updated_at": "2027-01-15T08:00:01Z",
    }


async def test_an_object_that_is_not_there_or_was_deleted_is_not_found(native: Native) -> None:
    await native.project()
    await publish(native, "1", "2", data=b"1")
    await publish(native, "2", action="delete")
    for path in ("item/3", "item/2", "program/1", "item/1?tenant=2"):
        (await native.call("GET", f"{PATH}/objects/{path}")).problem(404)
    assert "was deleted" in (await native.call("GET", f"{PATH}/objects/item/2")).problem(404)["detail"]


async def test_a_tenant_s_key_sees_its_own_objects_only(native: Native) -> None:
    await native.project()
    await publish(native, "1", tenant="1201", data=b"1")
    await publish(native, "1", tenant="1202", data=b"2")
    key = await native.make_key("tenant", tenant="1201")
    assert (await native.call("GET", f"{PATH}/objects/item/1", key=key)).expect(200)["data"] == 1
    (await native.call("GET", f"{PATH}/objects/item/1", key=key, tenant="1202")).problem(404)
    (await native.call("GET", f"{PATH}/objects/item", key=key, tenant="1202")).problem(404)


async def test_an_object_s_id_may_hold_any_text(native: Native) -> None:
    await native.project()
    for id_, path in (("a/b", "a%2Fb"), ("ü ?", "%C3%BC%20%3F"), ("%2F", "%252F")):
        await publish(native, id_)
        assert (await native.call("GET", f"{PATH}/objects/item/{path}")).expect(200)["object_id"] == id_


async def test_objects_are_listed_page_by_page_in_the_order_of_their_ids(native: Native) -> None:
    await native.project()
    await publish(native, *(f"{number:02}" for number in range(7)))
    await publish(native, "03", action="delete")
    seen: list[str] = []
    after = None
    while True:
        page = (await native.call("GET", f"{PATH}/objects/item", limit=3, after=after)).expect(200)
        assert page["prev"] is None
        seen += [each["object_id"] for each in page["data"]]
        after = page["next"]
        if after is None:
            break
    assert seen == ["00", "01", "02", "04", "05", "06"]
    assert (await native.call("GET", f"{PATH}/objects/item", after="ÿ")).status == 422
