"""Events, deliveries, jobs, tests and what is sent again, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from angarium.model.delivery import TEST_OFFSET, Attempt, Key, Origin, State
from angarium.model.event import Entry, Kind
from angarium.model.registry import JobState
from angarium.model.wire import Phases
from tests.api.native.filling import id_of, key_of, open_, publish, settle
from tests.api.native.serving import Native
from tests.api.native.test_feeds import next_event, streaming

PATH = "/v1/projects/p"
ALL = f"{PATH}/deliveries"


@pytest.fixture(autouse=True)
async def _project(native: Native) -> None:
    await native.project()


# -- events ------------------------------------------------------------------------------------------------------------


async def test_an_event_is_shown_as_it_was_published_with_its_deliveries(native: Native) -> None:
    made = await native.subscribe()
    [place] = await publish(
        native, "49", data=b'{"n": 1E400}', url="https://a.example/49", actor=b'{"user_id":1}', attributes=b'{"c":"NO"}'
    )
    delivery = await settle(native, key_of(place, 1))
    reply = await native.call("GET", f"{PATH}/events/{id_of(native, place)}")
    assert b'"data":{"n": 1E400}' in reply.body
    shown = json.loads(reply.body.replace(b"1E400", b"1"))
    [listed] = shown.pop("deliveries")
    assert (listed["id"], listed["subscription"], listed["state"]) == (delivery, made["id"], "delivered")
    assert shown == {
        "id": id_of(native, place),
        "type": "item.update",
        "tenant": "default",
        "object": "item",
        "object_id": "49",
        "action": "update",
        "data": {"n": 1},
        "actor": {"user_id": 1},
        "attributes": {"c": "NO"},
        "url": "https://a.example/49",
        "occurred_at": "2027-01-15T08:00:00Z",
        "accepted_at": "2027-01-15T08:00:00Z",
    }


async def test_events_are_listed_by_all_filters(native: Native) -> None:
    ids = {}
    for number, (tenant, object_, action) in enumerate(
        [("1", "item", "update"), ("1", "item", "delete"), ("1", "story", "update"), ("2", "item", "update")]
    ):
        native.clock.wall_ms = 1_800_000_000_000 + number * 1000
        [place] = await publish(native, str(number), tenant=tenant, object=object_, action=action)
        ids[id_of(native, place)] = number

    async def listed(**query: Any) -> list[int]:
        return [ids[each["id"]] for each in (await native.call("GET", f"{PATH}/events", **query)).expect(200)["data"]]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(tenant="1") == [2, 1, 0]
    assert await listed(object="item", action="update") == [3, 0]
    assert await listed(object_id="2") == [2]
    assert await listed(since="2027-01-15T08:00:01Z", until="2027-01-15T09:00:03+01:00") == [2, 1]
    page = (await native.call("GET", f"{PATH}/events", limit=3)).expect(200)
    assert await listed(after=page["next"]) == [0]


# -- deliveries --------------------------------------------------------------------------------------------------------


async def test_a_delivery_tells_of_each_attempt_and_of_no_secret(native: Native) -> None:
    made = await native.subscribe(headers={"x-password": "hunter2"})
    [place] = await publish(native, "49")
    key = key_of(place, 1)
    failed = Attempt(key, 1, 1_800_000_001_000, 500, "status", 12, Phases(1, 2, 3, 4000, 5000), b"oh no \xff", "")
    silent = Attempt(key, 2, 1_800_000_002_000, 0, "timeout", 15_000, Phases(), b"", "after 15 s")
    id_ = await open_(native, key, failed, silent, status=0, reason="timeout")

    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert (shown["state"], shown["next_at"], shown["settled_at"]) == ("retrying", "2027-01-15T08:00:05Z", None)
    first, second = shown["attempts"]
    request = first.pop("request")
    assert first == {
        "number": 1,
        "at": "2027-01-15T08:00:01Z",
        "status": 500,
        "reason": "status",
        "detail": None,
        "took_ms": 12,
        "phases": {"dns_ms": 0.001, "connect_ms": 0.002, "tls_ms": 0.003, "first_byte_ms": 4, "total_ms": 5},
        "response": {"status": 500, "body": "oh no \ufffd"},
    }
    assert (request["method"], request["url"]) == ("POST", "https://example.com/hook")
    assert request["headers"]["webhook-id"] == id_of(native, place)
    assert request["headers"]["webhook-timestamp"] == "1800000001"
    assert request["headers"]["webhook-signature"] == "********"
    assert request["headers"]["x-password"] == "********"
    assert request["headers"]["content-type"] == "application/json"
    assert (second["status"], second["response"], second["detail"]) == (None, None, "after 15 s")

    await settle(native, key, attempts=3, took_ms=7, answer=b"thanks", status=201)
    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert [(each["number"], each["status"], each["reason"]) for each in shown["attempts"]] == [
        (1, 500, "status"),
        (2, None, "timeout"),
        (3, 201, "accepted"),
    ]
    assert shown["attempts"][2]["response"] == {"status": 201, "body": "thanks"}
    assert made["secret"] not in json.dumps(shown)
    assert "hunter2" not in json.dumps(shown)


async def test_deliveries_are_listed_by_all_filters(native: Native) -> None:
    subscriptions = [(await native.subscribe(tenant=tenant))["id"] for tenant in ("1", "2")]
    ids: dict[str, int] = {}
    events: list[str] = []
    for number, (tenant, state) in enumerate(
        [("1", State.DELIVERED), ("1", State.EXHAUSTED), ("2", State.DELIVERED), ("2", State.EXHAUSTED)]
    ):
        native.clock.wall_ms = 1_800_000_000_000 + number * 1000
        [place] = await publish(native, str(number), tenant=tenant)
        events.append(id_of(native, place))
        ids[await settle(native, key_of(place, int(tenant)), state)] = number
    [place] = await publish(native, "4", tenant="2")
    ids[await open_(native, key_of(place, 2))] = 4

    async def listed(**query: Any) -> list[int]:
        return [ids[each["id"]] for each in (await native.call("GET", ALL, **query)).expect(200)["data"]]

    assert sorted(await listed()) == [0, 1, 2, 3, 4]
    assert await listed(tenant="1") == [1, 0]
    assert await listed(subscription=subscriptions[1], state="exhausted") == [3]
    assert await listed(state="retrying") == [4]
    assert await listed(event=events[2]) == [2]
    assert await listed(since="2027-01-15T08:00:01Z", until="2027-01-15T08:00:03Z") == [2, 1]
    assert await listed(state="merged") == []


async def test_a_batch_names_all_of_its_events_and_a_range_says_how_many(native: Native) -> None:
    await native.subscribe(batch={"max_events": 10})
    places = await publish(native, *"123")
    batch = await settle(native, key_of(places[2], 1), members=tuple(place.offset for place in places[:2]))
    shown = (await native.call("GET", f"{ALL}/{batch}")).expect(200)
    assert shown["events"] == [id_of(native, place) for place in places]
    assert (shown["event_count"], shown["is_range"]) == (3, False)
    assert shown["attempts"][0]["request"]["headers"]["webhook-id"] == batch

    late = await publish(native, *map(str, range(50)))
    first = late[0].offset
    rows = {"first_offset": first, "count": 50, "attempts": 0, "status": 0, "reason": "timeout"}
    range_ = await settle(native, key_of(late[-1], 1), State.EXHAUSTED, **rows)
    shown = (await native.call("GET", f"{ALL}/{range_}")).expect(200)
    assert (shown["event_count"], shown["is_range"], shown["attempts"]) == (50, True, [])

    job = (await native.call("POST", f"{ALL}/{range_}/redeliver")).expect(202)
    assert job["kind"] == "replay"
    assert native.engine.started[-1].spec == {"first_offset": first, "last_offset": late[-1].offset}


async def test_a_replayed_event_is_called_by_its_own_id(native: Native) -> None:
    await native.subscribe()
    [place] = await publish(native, "1")
    native.clock.skip_ms(60_000)
    [again] = await native.store.append(
        [
            Entry(
                place.partition, 0, native.clock.wall_ms, None, Kind.REPLAY, 1, of=place.offset, of_ms=place.accepted_ms
            )
        ]
    )
    id_ = await settle(native, key_of(again, 1))
    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert (shown["event"], shown["type"]) == (id_of(native, place), "item.update")
    assert shown["attempts"][0]["request"]["headers"]["angarium-replay"] == "true"


async def test_a_delivery_outlives_its_subscription(native: Native) -> None:
    made = await native.subscribe()
    [place] = await publish(native, "1")
    id_ = await settle(native, key_of(place, 1))
    (await native.call("DELETE", f"{PATH}/subscriptions/{made['id']}")).expect(204)
    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert (shown["subscription"], shown["tenant"], shown["attempts"][0]["request"]) == (None, "default", None)
    assert [each["id"] for each in (await native.call("GET", ALL)).expect(200)["data"]] == [id_]
    (await native.call("POST", f"{ALL}/{id_}/redeliver")).problem(409)
    await native.project("q")
    (await native.call("GET", f"/v1/projects/q/deliveries/{id_}")).problem(404)


async def test_changes_of_deliveries_are_streamed(native: Native) -> None:
    made = await native.subscribe()
    other = await native.subscribe()
    one, two = await publish(native, "1", "2")
    async with streaming(native, f"{ALL}?subscription={made['id']}") as reader:
        await settle(native, key_of(one, 2))
        await open_(native, key_of(one, 1))
        await settle(native, key_of(one, 1))
        states = [(await next_event(reader))[1] for _ in range(2)]
        assert [(each["state"], each["subscription"]) for each in states] == [
            ("retrying", made["id"]),
            ("delivered", made["id"]),
        ]
    async with streaming(native, f"{ALL}?state=exhausted") as reader:
        await settle(native, key_of(two, 1))
        await settle(native, key_of(two, 2), State.EXHAUSTED)
        assert (await next_event(reader))[1]["subscription"] == other["id"]


# -- sending again -----------------------------------------------------------------------------------------------------


async def test_a_delivery_is_sent_again_with_its_own_id(native: Native) -> None:
    await native.subscribe()
    [place] = await publish(native, "1")
    id_ = await settle(native, key_of(place, 1), State.EXHAUSTED, attempts=4, status=500)
    shown = (await native.call("POST", f"{ALL}/{id_}/redeliver")).expect(202)
    assert (shown["id"], shown["state"], shown["origin"]) == (id_, "retrying", "redeliver")
    [sent] = native.engine.dispatched
    assert (sent.key, sent.origin, sent.attempts, sent.next_ms) == (
        key_of(place, 1),
        Origin.REDELIVER,
        4,
        native.clock.wall_ms,
    )
    (await native.call("POST", f"{ALL}/{id_}/redeliver")).problem(409)


async def test_what_was_delivered_and_sent_again_tells_of_both(native: Native) -> None:
    await native.subscribe()
    [place] = await publish(native, "1")
    id_ = await settle(native, key_of(place, 1), answer=b"first")
    (await native.call("POST", f"{ALL}/{id_}/redeliver")).expect(202)
    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert [each["response"]["body"] for each in shown["attempts"]] == ["first"]
    await settle(native, key_of(place, 1), attempts=2, answer=b"second")
    shown = (await native.call("GET", f"{ALL}/{id_}")).expect(200)
    assert [(each["number"], each["response"]["body"]) for each in shown["attempts"]] == [(1, "first"), (2, "second")]


async def test_nothing_is_sent_to_who_is_not_pushed_to(native: Native) -> None:
    made = await native.subscribe()
    pull = await native.subscribe(None, kind="pull")
    [place] = await publish(native, "1")
    id_ = await settle(native, key_of(place, 1))
    (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/disable")).expect(200)
    for path in (
        f"deliveries/{id_}/redeliver",
        f"deliveries/redeliver?subscription={made['id']}",
        f"subscriptions/{made['id']}/test",
        f"subscriptions/{made['id']}/replay",
        f"subscriptions/{pull['id']}/test",
        f"subscriptions/{pull['id']}/replay",
    ):
        (await native.call("POST", f"{PATH}/{path}")).problem(409)
    assert native.engine.dispatched == []
    assert native.engine.started == []


async def test_a_test_is_one_example_that_is_marked(native: Native) -> None:
    made = await native.subscribe(types=["invoice.*"])
    shown = (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/test")).expect(202)
    assert (shown["state"], shown["origin"], shown["subscription"]) == ("retrying", "test", made["id"])
    [sent] = native.engine.dispatched
    assert sent.key == Key(sent.key.partition, TEST_OFFSET + 1, 1, native.clock.wall_ms)
    body = json.loads(sent.body or b"")
    assert (body["id"], body["object"], sent.content_type) == (shown["event"], "invoice", "application/json")
    detail = (await native.call("GET", f"{ALL}/{shown['id']}")).expect(200)
    assert detail["attempts"] == []
    (await native.call("GET", f"{PATH}/events/{shown['event']}")).problem(404)
    id_ = await settle(native, sent.key, origin=Origin.TEST)
    (await native.call("POST", f"{ALL}/{id_}/redeliver")).problem(409)


async def test_a_test_of_batches_is_a_batch(native: Native) -> None:
    made = await native.subscribe(batch={"max_events": 5})
    (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/test")).expect(202)
    assert json.loads(native.engine.dispatched[0].body or b"")["type"] == "batch"


async def test_a_replay_is_a_job_with_its_window_and_state(native: Native) -> None:
    made = await native.subscribe(tenant="7")
    asked = {"from": "2027-01-15T08:00:00Z", "until": "2027-01-15T08:00:01.5Z", "state": "exhausted"}
    job = (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/replay", asked)).expect(202)
    assert {name: job[name] for name in ("kind", "state", "total", "done", "failed")} == {
        "kind": "replay",
        "state": "running",
        "total": 0,
        "done": 0,
        "failed": 0,
    }
    assert (job["subscription"], job["tenant"]) == (made["id"], "7")
    [started] = native.engine.started
    assert started.spec == {"from_ms": 1_800_000_000_000, "until_ms": 1_800_000_001_500, "state": "exhausted"}
    everything = (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/replay")).expect(202)
    assert native.engine.started[1].spec == {}

    assert (await native.call("GET", f"{PATH}/jobs/{job['id']}")).expect(200) == job
    listed = (await native.call("GET", f"{PATH}/jobs", tenant="7")).expect(200)["data"]
    assert listed == [everything, job]
    assert (await native.call("GET", f"{PATH}/jobs", tenant="8")).expect(200)["data"] == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": 5}, "from"),
        ({"until": "2027-02-30T00:00:00Z"}, "until"),
        ({"from": "2027-01-15T08:00:01Z", "until": "2027-01-15T08:00:00Z"}, "until"),
        ({"state": "retrying"}, "state"),
        ({"since": "2027-01-15T08:00:00Z"}, "since"),
    ],
)
async def test_a_wrong_member_of_a_replay_is_named(native: Native, asked: Any, field: str) -> None:
    made = await native.subscribe()
    assert (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/replay", asked)).fields() == [field]


async def test_many_are_sent_again_by_filters_of_the_query_or_the_body(native: Native) -> None:
    made = await native.subscribe(tenant="1")
    [place] = await publish(native, "1", tenant="1")
    event = id_of(native, place)
    query = {"subscription": made["id"], "state": "exhausted", "since": "2027-01-15T08:00:00Z", "event": event}
    job = (await native.call("POST", f"{ALL}/redeliver", **query)).expect(202)
    assert (job["kind"], job["subscription"]) == ("redeliver", made["id"])
    (await native.call("POST", f"{ALL}/redeliver", query)).expect(202)
    expected = {
        "subscription": 1,
        "state": "exhausted",
        "since_ms": 1_800_000_000_000,
        "partition": place.partition,
        "offset": place.offset,
    }
    assert [each.spec for each in native.engine.started] == [expected, expected]
    (await native.call("POST", f"{ALL}/redeliver")).problem(422)
    assert (await native.call("POST", f"{ALL}/redeliver", state="retrying")).fields() == ["state"]


async def test_a_job_is_cancelled_once_while_it_runs(native: Native) -> None:
    made = await native.subscribe()
    job = (await native.call("POST", f"{PATH}/subscriptions/{made['id']}/replay")).expect(202)
    path = f"{PATH}/jobs/{job['id']}"
    assert (await native.call("POST", f"{path}/cancel")).expect(200)["state"] == "cancelled"
    assert native.engine.stopped == [1]
    assert (await native.call("POST", f"{path}/cancel")).expect(200)["state"] == "cancelled"
    await native.store.put_job(replace(native.engine.started[0], state=JobState.DONE))
    (await native.call("POST", f"{path}/cancel")).problem(409)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("deliveries", {"subscription": "sub_1"}, "subscription"),
        ("deliveries", {"event": "evt_1"}, "event"),
        ("deliveries", {"state": "lost"}, "state"),
        ("deliveries", {"since": "now"}, "since"),
        ("deliveries", {"limit": 0}, "limit"),
        ("deliveries", {"limit": 251}, "limit"),
        ("deliveries", {"limit": "x"}, "limit"),
        ("deliveries", {"after": "x"}, "after"),
        ("deliveries", {"surplus": "x"}, "surplus"),
        ("events", {"until": "2027-13-01T00:00:00Z"}, "until"),
        ("events", {"since": "2027-01-02T00:00:00Z", "until": "2027-01-01T00:00:00Z"}, "until"),
        ("events", {"tenant": "a\0b"}, "tenant"),
        ("jobs", {"state": "running"}, "state"),
        ("subscriptions", {"state": "asleep"}, "state"),
        ("keys", {"before": "\u00e6"}, "before"),
    ],
)
async def test_a_wrong_parameter_is_named(native: Native, path: str, query: dict[str, Any], field: str) -> None:
    assert (await native.call("GET", f"{PATH}/{path}", **query)).fields() == [field]


@pytest.mark.parametrize(
    "path", ["events/evt_1", "deliveries/dlv_1", "jobs/job_1", "keys/key_1", "subscriptions/sub_1"]
)
async def test_an_id_that_was_never_given_out_is_not_found(native: Native, path: str) -> None:
    (await native.call("GET", f"{PATH}/{path}")).problem(404)
