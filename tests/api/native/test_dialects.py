"""Subscribe over HTTP in each of the founding dialects: options, words, policies, and what a test sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.native.filling import key_of, publish, settle
from tests.api.native.serving import Native

ALL = "/v1/projects/p/subscriptions"
KEY = {"api_key": "k3y"}


async def _test_body(native: Native, made: dict[str, Any]) -> Any:
    """Return what a test sends to a subscription."""
    (await native.call("POST", f"{ALL}/{made['id']}/test")).expect(202)
    body = native.engine.dispatched[-1].body
    assert body is not None
    return json.loads(body)


async def test_a_project_that_names_no_objects_has_its_dialect_s(native: Native) -> None:
    path = await native.project(dialect="radiomanager")
    objects = (await native.call("GET", path)).expect(200)["objects"]
    assert list(objects) == ["program", "presenter", "contact", "campaign", "broadcast", "item"]
    assert objects["item"] == {"window": "start"}
    (await native.call("PATCH", path, {"objects": {"item": {}}})).expect(200)
    assert (await native.call("GET", path)).expect(200)["objects"] == {"item": {}}


async def test_an_object_s_actions_may_be_in_either_word(native: Native) -> None:
    named = {"training": {"actions": ["update", "destroy"]}, "course": {"actions": ["create", "delete"]}}
    path = await native.project(dialect="springest", objects=named)
    assert (await native.call("GET", path)).expect(200)["objects"] == named
    asked = {"dialect": "springest", "objects": {"training": {"actions": ["archive"]}}}
    assert (await native.call("PUT", path, asked)).fields() == ["objects.training.actions[0]"]


# -- radiomanager ------------------------------------------------------------------------------------------------------


async def test_radiomanager_s_key_and_secret_are_kept_and_never_shown(native: Native) -> None:
    await native.project(dialect="radiomanager")
    made = await native.subscribe("http://example.com/push", options={**KEY, "secret": "s3cret"}, tenant="1")
    assert "secret" not in made
    assert made["options"] == {
        "api_key": "********",
        "api_key_header": "api-key",
        "secret": "********",
        "signature_header": "x-radiomanager-signature",
    }
    stored = await native.store.subscription(1)
    assert stored is not None
    assert not any(b"k3y" in value or b"s3cret" in value for value in stored.sealed.values())
    sealed = stored.sealed["api_key"]
    path = f"{ALL}/{made['id']}"
    changed = (await native.call("PATCH", path, {"options": {"api_key_header": "X-Api-Key", "secret": None}})).expect(
        200
    )
    assert changed["options"] == {
        "api_key": "********",
        "api_key_header": "x-api-key",
        "signature_header": "x-radiomanager-signature",
    }
    stored = await native.store.subscription(1)
    assert stored is not None
    assert stored.sealed == {"api_key": sealed}
    assert (await native.call("PATCH", path, {"options": {"api_key": None}})).fields() == ["options.api_key"]


@pytest.mark.parametrize("secret", [{}, {"secret": "s3cret"}])
async def test_a_request_is_shown_without_its_key_and_signature(native: Native, secret: dict[str, str]) -> None:
    path = await native.project(dialect="radiomanager")
    await native.subscribe(options={**KEY, **secret})
    [place] = await publish(native, "49")
    delivery = await settle(native, key_of(place, 1))
    [attempt] = (await native.call("GET", f"{path}/deliveries/{delivery}")).expect(200)["attempts"]
    headers = attempt["request"]["headers"]
    assert headers["api-key"] == "********"
    assert headers.get("x-radiomanager-signature") == ("********" if secret else None)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, "options.api_key"),
        ({"options": {"secret": "s"}}, "options.api_key"),
        ({"options": {**KEY, "colour": "red"}}, "options.colour"),
        ({"options": KEY, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret"),
        ({"options": KEY, "batch": {"max_events": 2}}, "batch.max_events"),
        ({"options": KEY, "batch": {"coalesce": "latest"}}, "batch.max_events"),
        ({"options": KEY, "types": ["*.import", "item.archive"]}, "types"),
        ({"options": KEY, "types": ["item.retrieve"]}, "types"),
        ({"options": KEY, "headers": {"user-agent": "x"}}, "headers.user-agent"),
        ({"options": KEY, "headers": {"API-Key": "x"}}, "headers.API-Key"),
        ({"options": {**KEY, "signature_header": "X-Hmac"}, "headers": {"x-hmac": "x"}}, "headers.x-hmac"),
        ({"options": KEY, "headers": {"x-team": "********"}}, "headers.x-team"),
        ({"options": {"api_key": "********"}}, "options.api_key"),
        ({"options": {**KEY, "secret": "********"}}, "options.secret"),
    ],
)
async def test_what_radiomanager_cannot_do_is_refused(native: Native, members: dict[str, Any], field: str) -> None:
    await native.project(dialect="radiomanager")
    assert (await native.call("POST", ALL, {"url": "https://example.com/hook", **members})).fields() == [field]


@pytest.mark.parametrize(
    ("dialect", "options", "where"),
    [("radiomanager", KEY, "options.api_key and options.secret, which PATCH changes"), ("dashboard", {}, "none")],
)
async def test_who_has_no_secret_to_rotate_is_told_where_secrets_are(
    native: Native, dialect: str, options: dict[str, str], where: str
) -> None:
    await native.project(dialect=dialect)
    made = await native.subscribe(options=options)
    problem = (await native.call("POST", f"{ALL}/{made['id']}/secret/rotate")).problem(409)
    assert where in problem["detail"]


async def test_radiomanager_s_policy_is_shown_resolved(native: Native) -> None:
    await native.project(dialect="radiomanager")
    made = await native.subscribe(options=KEY, types=["item.*", "item.import"], batch={"max_events": 1})
    assert (made["types"], made["batch"]["max_events"], made["ordering"]) == (["item.*", "item.import"], 1, "object")
    assert (made["retry"]["give_up"], made["timeout_s"]) == (True, 15)


# -- words -------------------------------------------------------------------------------------------------------------


async def test_types_may_be_in_either_word_and_are_kept_canonical(native: Native) -> None:
    await native.project(dialect="dashboard")
    made = await native.subscribe(types=["dashboard.REGISTER", "*.INVOKE", "dashboard.create"])
    assert made["types"] == ["dashboard.create", "*.retrieve"]
    changed = (await native.call("PATCH", f"{ALL}/{made['id']}", {"types": ["*.CHANGE"]})).expect(200)
    assert changed["types"] == ["*.update"]
    other = await native.subscribe(dialect="standard", types=["*.DELETE", "*.destroy"])
    assert other["types"] == ["*.delete", "*.destroy"]  # The project's words are known, others' are not.
    hooks = await native.subscribe(dialect="springest", types=["*.destroy", "*.DELETE"])
    assert hooks["types"] == ["*.delete"]


async def test_a_rule_is_narrowed_for_the_log_and_shown_as_it_was_asked_for(native: Native) -> None:
    await native.project(dialect="springest")
    made = await native.subscribe(types=["training.update"], options={"url_base": "https://x.nl"})
    assert made["types"] == ["training.update"]
    [version] = await native.store.versions_of("p", "default")
    assert version.rule.types == ("training.create", "training.update", "training.recover")
    assert not version.rule.needs_url
    (await native.call("PATCH", f"{ALL}/{made['id']}", {"options": {"url_base": None}})).expect(200)
    assert [each.rule.needs_url for each in await native.store.versions_of("p", "default")][-1]


async def test_springest_tries_for_ever_and_bundles(native: Native) -> None:
    await native.project(dialect="springest")
    made = await native.subscribe("http://example.com/hook", name="courses", description="of the board")
    assert (made["name"], made["url"], made["description"]) == ("courses", "http://example.com/hook", "of the board")
    assert (made["ordering"], made["batch"]["coalesce"], made["retry"]["give_up"]) == ("strict", "latest", False)
    assert made["retry"]["delays_s"][-1] == 900
    assert made["batch"]["max_wait_ms"] < 5000


async def test_a_filter_that_a_country_makes_too_deep_is_refused(native: Native) -> None:
    await native.project(dialect="dashboard")
    deep: dict[str, Any] = {"data": 1}
    for _ in range(30):
        deep = {"data": deep}
    made = await native.subscribe(filter=deep)
    asked = {"url": "https://example.com/hook", "filter": deep, "options": {"country": "NO"}}
    assert (await native.call("POST", ALL, asked)).fields() == ["filter"]
    patch = {"options": {"country": "NO"}}
    assert (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).fields() == ["filter"]


# -- tests -------------------------------------------------------------------------------------------------------------


async def test_a_test_says_something_in_each_dialect(native: Native) -> None:
    await native.project(dialect="radiomanager")
    made = await native.subscribe(options=KEY, tenant="1", types=["*.import", "broadcast.delete"])
    assert await _test_body(native, made) == {
        "action": "delete",
        "model": "broadcast",
        "model_id": 0,
        "job_id": native.engine.dispatched[-1].key.partition,
        "resync": False,
        "station_id": 1,
        "user_id": None,
        "api_id": None,
    }
    made = await native.subscribe(dialect="springest", types=["*.destroy"])
    assert await _test_body(native, made) == {"changes": [{"action": "destroy", "object": "program", "id": 0}]}
    made = await native.subscribe(dialect="springest", types=["institute.import"])
    [change] = (await _test_body(native, made))["changes"]
    assert (change["action"], change["url"]) == ("import", "https://example.com/examples/0")
    made = await native.subscribe(dialect="springest", options={"url_base": "https://x.nl"})
    [change] = (await _test_body(native, made))["changes"]
    assert change == {"action": "update", "object": "program", "id": 0, "url": "https://x.nl/programs/0"}
    made = await native.subscribe(dialect="dashboard", options={"country": "no"}, types=["dashboard.INVOKE"])
    shown = await _test_body(native, made)
    assert (shown["id"], shown["country"], shown["event"]) == (made["id"], "NO", "INVOKE")


async def test_a_test_s_object_is_one_to_which_that_happens(native: Native) -> None:
    await native.project(dialect="springest")
    made = await native.subscribe(types=["*.import"])
    [change] = (await _test_body(native, made))["changes"]
    assert (change["action"], change["object"]) == ("import", "institute")
