"""Subscriptions over HTTP: made, shown, changed, switched, verified, rotated, deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from angarium.core.handshakes import REQUEST_ORIGIN
from angarium.engine.contract import LaneView
from angarium.model.event import Kind
from angarium.model.subscription import Owed
from angarium.model.wire import NoResponse, Reason, Request, Response
from tests.api.native.serving import Native

ALL = "/v1/projects/p/subscriptions"


@pytest.fixture(autouse=True)
async def _project(native: Native) -> None:
    await native.project()


async def _owed(native: Native) -> list[Owed]:
    """Return what the versions in the log owe, in order."""
    [partition] = await native.store.heads() or [0]
    entries = await native.store.read(partition, after=0, limit=1000)
    return [entry.version.owed for entry in entries if entry.kind is Kind.MARKER and entry.version is not None]


async def test_a_new_subscription_is_shown_whole_and_its_secret_once(native: Native) -> None:
    made = await native.subscribe(
        types=["item.*"], headers={"X-Team": "blue"}, filter={"attributes": {"country": "NO"}}
    )
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == (await native.call("GET", f"{ALL}/{made['id']}")).expect(200)
    assert made == {
        "id": made["id"],
        "tenant": "default",
        "state": "active",
        "reason": None,
        "kind": "push",
        "url": "https://example.com/hook",
        "types": ["item.*"],
        "filter": {"attributes": {"country": "NO"}},
        "name": "",
        "description": "",
        "dialect": "standard",
        "options": {"envelope": "webhook", "signature": "v1"},
        "headers": {"x-team": "********"},
        "ordering": "object",
        "batch": {"max_events": 1, "max_wait_ms": 0, "max_bytes": 262_144, "coalesce": "none"},
        "max_in_flight": 8,
        "rate": None,
        "retry": {
            "delays_s": [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400],
            "give_up": True,
        },
        "timeout_s": 15,
        "failing_since": None,
        "backlog": 0,
        "last_delivered_at": None,
        "external_id": None,
        "created_at": "2027-01-15T08:00:00Z",
        "updated_at": "2027-01-15T08:00:00Z",
    }
    stored = await native.store.subscription(1)
    assert stored is not None
    assert secret.encode() not in stored.secrets[0].sealed
    assert b"blue" not in stored.headers["x-team"]
    assert native.engine.changes == [1]
    assert await _owed(native) == [Owed.PUSH]


async def test_a_given_secret_is_taken_and_a_public_key_is_shown_for_v1a(native: Native) -> None:
    given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (await native.subscribe(secret=given))["secret"] == given
    assert (await native.subscribe(options={"signature": "v1a"}))["secret"].startswith("whpk_")


async def test_a_pull_subscription_has_no_address(native: Native) -> None:
    made = await native.subscribe(None, kind="pull", tenant=9007199254740993)
    assert (made["url"], made["kind"], made["tenant"]) == (None, "pull", "9007199254740993")
    assert await _owed(native) == [Owed.FEED]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://example.com/hook"}, "url"),
        ({"url": "https://10.0.0.1/hook"}, "url"),
        ({"url": "https://0x7f.1/hook"}, "url"),
        ({"url": "https://u:p@example.com/hook"}, "url"),
        ({"url": "https://example.com:25/hook"}, "url"),
        ({"kind": "pull", "url": "https://example.com"}, "url"),
        ({"kind": "push-ish", "url": "https://example.com"}, "kind"),
        ({"url": "https://example.com", "types": []}, "types"),
        ({"url": "https://example.com", "types": ["a.b", "c d"]}, "types[1]"),
        ({"url": "https://example.com", "types": "item.*"}, "types"),
        ({"url": "https://example.com", "filter": {"data": {"$frob": 1}}}, "filter.data.$frob"),
        ({"url": "https://example.com", "headers": {"webhook-id": "x"}}, "headers.webhook-id"),
        ({"url": "https://example.com", "headers": {"host": "x"}}, "headers.host"),
        ({"url": "https://example.com", "headers": {"x-a": 5}}, "headers.x-a"),
        ({"url": "https://example.com", "headers": {"x-a": "b\r\nc: d"}}, "headers.x-a"),
        ({"url": "https://example.com", "ordering": "random"}, "ordering"),
        ({"url": "https://example.com", "batch": {"max_events": 0}}, "batch.max_events"),
        ({"url": "https://example.com", "batch": {"surplus": 1}}, "batch.surplus"),
        ({"url": "https://example.com", "max_in_flight": 10**40}, "max_in_flight"),
        ({"url": "https://example.com", "rate": {"per_minute": "many"}}, "rate.per_minute"),
        ({"url": "https://example.com", "retry": {"delays_s": [5, 0]}}, "retry.delays_s[1]"),
        ({"url": "https://example.com", "retry": {"delays_s": [2_000_000] * 3}}, "retry.delays_s"),
        ({"url": "https://example.com", "timeout_s": 0.5}, "timeout_s"),
        ({"url": "https://example.com", "options": {"envelope": "brown"}}, "options.envelope"),
        ({"url": "https://example.com", "options": {"surplus": 1}}, "options.surplus"),
        ({"url": "https://example.com", "dialect": "klingon"}, "dialect"),
        ({"url": "https://example.com", "secret": "hunter2"}, "secret"),
        ({"url": "https://example.com", "tenant": ""}, "tenant"),
        ({"url": "https://example.com", "tenant": True}, "tenant"),
        ({"url": "https://example.com", "id": "sub_1"}, "id"),
        ({"url": "https://example.com", "name": "x" * 257}, "name"),
        ({"url": "https://example.com", "name": "a\0b"}, "name"),
    ],
)
async def test_a_wrong_member_is_named_and_nothing_is_made(native: Native, document: Any, field: str) -> None:
    assert (await native.call("POST", ALL, document)).fields() == [field]
    assert (await native.call("GET", ALL)).expect(200)["data"] == []


async def test_all_unknown_members_are_named_at_once(native: Native) -> None:
    document = {"url": "https://example.com", "one": 1, "batch": {"two": 2}}
    assert sorted((await native.call("POST", ALL, document)).fields()) == ["batch.two", "one"]


async def test_subscriptions_are_listed_by_tenant_and_state(native: Native) -> None:
    ids = [(await native.subscribe(tenant=tenant))["id"] for tenant in ("1", "2", "1")]
    (await native.call("POST", f"{ALL}/{ids[2]}/pause")).expect(200)
    native.engine.views[1] = LaneView(backlog=7, failing_since_ms=1_800_000_000_000)

    async def listed(**query: Any) -> list[str]:
        return [each["id"] for each in (await native.call("GET", ALL, **query)).expect(200)["data"]]

    assert await listed() == ids[::-1]
    assert await listed(tenant="1") == [ids[2], ids[0]]
    assert await listed(state="paused") == [ids[2]]
    assert await listed(state="active") == [ids[1]]
    assert await listed(state="failing") == [ids[0]]
    assert await listed(state="failing", tenant="2") == []
    assert await listed(limit=1, after=(await native.call("GET", ALL, limit=2)).expect(200)["next"]) == [ids[0]]
    failing = (await native.call("GET", f"{ALL}/{ids[0]}")).expect(200)
    assert (failing["state"], failing["backlog"], failing["failing_since"]) == ("failing", 7, "2027-01-15T08:00:00Z")


async def test_a_change_is_merged_and_the_rest_stays(native: Native) -> None:
    made = await native.subscribe(
        types=["item.*"], name="n", headers={"a": "1", "b": "2"}, batch={"max_events": 50, "coalesce": "latest"}
    )
    del made["secret"]
    patch = {
        "types": ["broadcast.*"],
        "name": None,
        "headers": {"A": None, "b": "********", "c": "3"},
        "batch": {"coalesce": None, "max_wait_ms": 5},
        "rate": {"per_minute": 60},
    }
    native.clock.skip_ms(1000)
    changed = (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).expect(200)
    assert changed == made | {
        "types": ["broadcast.*"],
        "name": "",
        "headers": {"b": "********", "c": "********"},
        "batch": {"max_events": 50, "max_wait_ms": 5, "max_bytes": 65_536, "coalesce": "none"},
        "rate": {"per_minute": 60},
        "updated_at": "2027-01-15T08:00:01Z",
    }
    stored = await native.store.subscription(1)
    assert stored is not None
    assert native.context.vault.open(stored.headers["b"], context=b"header:1") == b"2"

    defaults = {"types": None, "batch": None, "rate": None, "headers": None}
    back = (await native.call("PATCH", f"{ALL}/{made['id']}", defaults)).expect(200)
    assert (back["types"], back["headers"], back["rate"]) == (["*"], {}, None)
    assert back["batch"]["max_events"] == 1


async def test_only_what_changes_what_is_owed_writes_a_version(native: Native) -> None:
    path = f"{ALL}/{(await native.subscribe())['id']}"
    for patch in ({"url": "https://example.com/other"}, {"headers": {"a": "b"}}, {"max_in_flight": 2}, {"name": "x"}):
        (await native.call("PATCH", path, patch)).expect(200)
    (await native.call("POST", f"{path}/pause")).expect(200)
    (await native.call("POST", f"{path}/resume")).expect(200)
    (await native.call("POST", f"{path}/secret/rotate")).expect(200)
    assert await _owed(native) == [Owed.PUSH]
    assert len(native.engine.changes) == 8

    (await native.call("PATCH", path, {"types": ["item.*"]})).expect(200)
    (await native.call("PATCH", path, {"types": ["item.*"]})).expect(200)
    (await native.call("POST", f"{path}/disable")).expect(200)
    (await native.call("POST", f"{path}/resume")).expect(200)
    (await native.call("PATCH", path, {"kind": "pull"})).expect(200)
    (await native.call("DELETE", path)).expect(204)
    assert await _owed(native) == [Owed.PUSH, Owed.PUSH, Owed.NOTHING, Owed.PUSH, Owed.FEED, Owed.NOTHING]
    (await native.call("GET", path)).problem(404)
    (await native.call("DELETE", path)).problem(404)


async def test_two_changes_at_once_lose_nothing(native: Native) -> None:
    path = f"{ALL}/{(await native.subscribe())['id']}"
    patches = [{"headers": {f"x-{number}": "v"}} for number in range(8)]
    for reply in await asyncio.gather(*(native.call("PATCH", path, patch) for patch in patches)):
        reply.expect(200)
    assert len((await native.call("GET", path)).expect(200)["headers"]) == 8


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"tenant": "2"}, "tenant"),
        ({"id": "x"}, "id"),
        ({"state": "active"}, "state"),
        ({"url": None}, "url"),
        ({"url": "https://127.0.0.1:1/"}, "url"),
        ({"batch": {"max_events": 5000}}, "batch.max_events"),
        ({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret"),
    ],
)
async def test_a_wrong_change_changes_nothing(native: Native, patch: Any, field: str) -> None:
    made = await native.subscribe()
    assert (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).fields() == [field]
    assert (await native.call("GET", f"{ALL}/{made['id']}")).expect(200)["updated_at"] == made["updated_at"]


async def test_pause_and_resume_and_disable_tell_of_states(native: Native) -> None:
    path = f"{ALL}/{(await native.subscribe())['id']}"
    for verb, state in [("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("disable", "disabled")]:
        assert (await native.call("POST", f"{path}/{verb}")).expect(200)["state"] == state
    assert (await native.call("GET", path)).expect(200)["reason"] == "disabled by a person"
    (await native.call("POST", f"{path}/pause")).problem(409)
    native.clock.skip_ms(5000)
    resumed = (await native.call("POST", f"{path}/resume", {})).expect(200)
    assert (resumed["state"], resumed["reason"]) == ("active", None)
    stored = await native.store.subscription(1)
    assert stored is not None
    assert stored.resumed_ms == native.clock.wall_ms


async def test_after_a_rotation_both_secrets_sign_until_the_overlap_ends(native: Native) -> None:
    made = await native.subscribe()
    path = f"{ALL}/{made['id']}/secret/rotate"

    async def signing() -> list[bytes]:
        stored = await native.store.subscription(1)
        assert stored is not None
        now = native.clock.wall_ms
        living = [each for each in stored.secrets if each.expires_ms is None or each.expires_ms > now]
        return [native.context.vault.open(each.sealed, context=b"subscription:1") for each in living]

    second = (await native.call("POST", path, {"overlap_s": 60})).expect(200)
    assert list(second) == ["secret"]
    assert await signing() == [second["secret"].encode(), made["secret"].encode()]
    third = (await native.call("POST", path, {"overlap_s": 0})).expect(200)["secret"]
    assert await signing() == [third.encode()]
    fourth = (await native.call("POST", path)).expect(200)["secret"]
    native.clock.skip_ms(86_399_999)
    assert await signing() == [fourth.encode(), third.encode()]
    native.clock.skip_ms(1)
    assert await signing() == [fourth.encode()]
    assert (await native.call("POST", path, {"overlap_s": -1})).fields() == ["overlap_s"]
    assert (await native.call("POST", path, {"secret": "no"})).fields() == ["secret"]


async def test_another_signature_scheme_means_a_new_secret_beside_the_old(native: Native) -> None:
    made = await native.subscribe()
    patch = {"options": {"signature": "v1a"}}
    changed = (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).expect(200)
    assert changed["secret"].startswith("whpk_")
    assert changed["options"] == {"envelope": "webhook", "signature": "v1a"}
    assert "secret" not in (await native.call("GET", f"{ALL}/{made['id']}")).expect(200)


# -- handshakes --------------------------------------------------------------------------------------------------------


def _echo(request: Request) -> Response:
    return Response(200, body=json.loads(request.body)["challenge"].encode())


async def _verifying(native: Native, verification: str) -> None:
    (await native.call("PATCH", "/v1/projects/p", {"settings": {"verification": verification}})).expect(200)


async def test_a_challenge_that_is_answered_makes_it_active(native: Native) -> None:
    await _verifying(native, "challenge")
    native.sender.answer = _echo
    made = await native.subscribe(headers={"x-team": "blue"})
    assert (made["state"], made["reason"]) == ("active", None)
    assert await _owed(native) == [Owed.NOTHING, Owed.PUSH]
    [request] = native.sender.sent
    headers = dict(request.headers)
    assert (request.method, headers["x-team"]) == ("POST", "blue")
    assert headers["webhook-signature"].startswith("v1,")
    assert json.loads(request.body)["type"] == "verification"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response(500), "answered 500"),
        (Response(200, body=b"hello"), "expected the challenge"),
        (NoResponse(Reason.TIMEOUT, "after 10 s"), "timeout: after 10 s"),
    ],
)
async def test_a_challenge_that_fails_leaves_it_unverified_with_the_reason(
    native: Native, answer: Response | NoResponse, words: str
) -> None:
    await _verifying(native, "challenge")
    native.sender.answer = lambda _: answer
    made = await native.subscribe()
    path = f"{ALL}/{made['id']}"
    assert made["state"] == "unverified"
    assert words in made["reason"]
    assert await _owed(native) == [Owed.NOTHING]
    (await native.call("POST", f"{path}/pause")).problem(409)
    (await native.call("POST", f"{path}/resume")).problem(409)
    assert (await native.call("POST", f"{path}/verify")).expect(200)["state"] == "unverified"

    native.sender.answer = _echo
    assert (await native.call("POST", f"{path}/verify")).expect(200)["state"] == "active"
    native.sender.answer = lambda _: answer
    (await native.call("POST", f"{path}/verify")).problem(409)
    assert (await native.call("GET", path)).expect(200)["state"] == "active"


async def test_a_changed_address_is_verified_before_anything_changes(native: Native) -> None:
    await _verifying(native, "challenge")
    native.sender.answer = _echo
    made = await native.subscribe()
    native.sender.answer = lambda _: Response(404)
    patch = {"url": "https://example.com/new", "name": "new"}
    assert (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).fields() == ["url"]
    shown = (await native.call("GET", f"{ALL}/{made['id']}")).expect(200)
    assert (shown["url"], shown["name"], shown["state"]) == ("https://example.com/hook", "", "active")

    native.sender.answer = _echo
    changed = (await native.call("PATCH", f"{ALL}/{made['id']}", patch)).expect(200)
    assert (changed["url"], changed["state"]) == ("https://example.com/new", "active")
    assert native.sender.sent[-1].url == "https://example.com/new"


async def test_an_unverified_one_with_a_new_address_is_asked_again(native: Native) -> None:
    await _verifying(native, "challenge")
    native.sender.answer = lambda _: Response(404)
    made = await native.subscribe()
    native.sender.answer = _echo
    changed = (await native.call("PATCH", f"{ALL}/{made['id']}", {"url": "https://example.com/new"})).expect(200)
    assert changed["state"] == "active"


async def test_a_disabled_one_is_verified_before_it_is_resumed(native: Native) -> None:
    await _verifying(native, "challenge")
    native.sender.answer = lambda _: Response(404)
    path = f"{ALL}/{(await native.subscribe())['id']}"
    (await native.call("POST", f"{path}/disable")).expect(200)
    assert (await native.call("POST", f"{path}/resume")).expect(200)["state"] == "unverified"
    native.sender.answer = _echo
    (await native.call("POST", f"{path}/disable")).expect(200)
    assert (await native.call("POST", f"{path}/resume")).expect(200)["state"] == "active"


async def test_the_cloudevents_handshake_asks_for_an_origin_and_deliveries_name_it(native: Native) -> None:
    await _verifying(native, "cloudevents")
    native.sender.answer = lambda request: Response(
        200, (("webhook-allowed-origin", dict(request.headers)[REQUEST_ORIGIN]),)
    )
    made = await native.subscribe(headers={"authorization": "Bearer x"})
    assert (made["state"], made["headers"]) == ("active", {"authorization": "********"})
    [request] = native.sender.sent
    assert (request.method, dict(request.headers)["authorization"]) == ("OPTIONS", "Bearer x")
    stored = await native.store.subscription(1)
    assert stored is not None
    named = native.context.vault.open(stored.headers[REQUEST_ORIGIN], context=b"header:1")
    assert named.decode() == dict(request.headers)[REQUEST_ORIGIN]

    (await native.call("PATCH", f"{ALL}/{made['id']}", {"headers": None})).expect(200)
    stored = await native.store.subscription(1)
    assert stored is not None
    assert set(stored.headers) == {REQUEST_ORIGIN}


async def test_nothing_is_asked_where_nothing_is_pushed_or_nobody_asks(native: Native) -> None:
    await native.subscribe()
    await _verifying(native, "challenge")
    assert (await native.subscribe(None, kind="pull"))["state"] == "active"
    assert native.sender.sent == []
