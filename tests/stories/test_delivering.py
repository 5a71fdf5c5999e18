"""What is published arrives: once, signed, byte for byte, at everyone who subscribed and at nobody else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook
from tests.stories.verifying import is_signed, is_signed_by

TENANTS = ("1201", "1202", "a tenant/with ünusual name")
TYPES = ("item.create", "item.update", "item.delete", "broadcast.update")

# What each subscription asks for, and which events that means: written twice, so that one checks the other.
WANTED: list[tuple[dict[str, object], Callable[[dict[str, object]], bool]]] = [
    ({}, lambda published: True),
    ({"types": ["*"]}, lambda published: True),
    ({"types": ["item.*"]}, lambda published: published["object"] == "item"),
    ({"types": ["*.update"]}, lambda published: published["action"] == "update"),
    (
        {"types": ["item.delete", "broadcast.*"]},
        lambda published: (published["object"], published["action"]) in {("item", "delete"), ("broadcast", "update")},
    ),
    (
        {"filter": {"attributes": {"country": "NO"}}},
        lambda published: published["attributes"] == {"country": "NO"},
    ),
    (
        {"types": ["item.*"], "filter": {"data": {"price": {"$gte": 50}}}},
        lambda published: published["object"] == "item" and published["data"]["price"] >= 50,  # type: ignore[index]  # made below
    ),
    ({"types": ["nothing.ever"]}, lambda published: False),
]


def _published() -> list[dict[str, object]]:
    return [
        event(
            number,
            type_,
            tenant=tenant,
            data={"price": number, "title": "News at nine"},
            attributes={"country": "NO" if number % 3 else "SE"},
        )
        for number, (tenant, type_) in enumerate(list(product(TENANTS, TYPES)) * 8)
    ]


def test_each_event_arrives_once_and_signed_at_everyone_whom_it_matches(
    project: Project, hooks: Callable[[], Hook]
) -> None:
    subscribed = [
        (tenant, wants, hook := hooks(), project.subscribe(hook.url, tenant=tenant, **asked)["secret"])
        for tenant in TENANTS
        for asked, wants in WANTED
    ]
    events = _published()
    ids = [id_ for published in events[:32] for id_ in project.publish(published)] + project.publish(*events[32:])
    pairs = list(zip(ids, events, strict=True))

    for tenant, wants, hook, secret in subscribed:
        expected = [id_ for id_, published in pairs if published["tenant"] == tenant and wants(published)]
        hook.wait_for_ids(expected)
        assert Counter(expected) == hook.counted
        assert all(is_signed(request, secret) for request in hook.requests)
    deliveries = project.deliveries()
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}
    assert len(deliveries) == sum(len(hook.requests) for _, _, hook, _ in subscribed)


def test_publishing_says_how_many_deliveries_it_will_mean(project: Project, hook: Hook) -> None:
    for types in (["item.*"], ["*"], ["broadcast.*"]):
        project.subscribe(hook.url, types=types)
    project.subscribe(hook.url, tenant="another")
    project.subscribe(kind="pull")

    answer = project.post("events", [event(1), event(2), event(3, "broadcast.delete")])

    assert answer["matched"] == 6
    assert project.post("events", event(1, tenant="nobody"))["matched"] == 0


def test_a_request_is_what_standard_webhooks_says(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, headers={"x-team": "news"})
    given = event(
        49, tenant="default", data={"title": "x"}, url="https://api.example.com/items/49", actor={"user_id": 1}
    )

    [id_] = project.publish({**given, "occurred_at": "2026-11-22T08:59:58Z"})

    [request] = hook.wait_for(1)
    assert request.method == "POST"
    assert request.json == {
        "id": id_,
        "type": "item.update",
        "timestamp": "2026-11-22T08:59:58Z",
        "tenant": "default",
        "object": "item",
        "object_id": "49",
        "action": "update",
        "data": {"title": "x"},
        "url": "https://api.example.com/items/49",
        "actor": {"user_id": 1},
    }
    assert request.id == id_
    assert abs(int(request.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 120
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-team"] == "news"
    assert is_signed(request, made["secret"])
    assert not is_signed(request, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_a_v1a_signature_verifies_with_the_public_key_that_was_shown(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, options={"signature": "v1a"})
    other = project.subscribe(hook.url, tenant="other", options={"signature": "v1a"})

    project.publish(event())

    [request] = hook.wait_for(1)
    assert made["secret"].startswith("whpk_")
    assert is_signed_by(request, made["secret"])
    assert not is_signed_by(request, other["secret"])


def test_cloudevents_come_structured_and_in_batches(project: Project, hooks: Callable[[], Hook]) -> None:
    single, batched = hooks(), hooks()
    options = {"envelope": "cloudevents"}
    secret = project.subscribe(single.url, options=options)["secret"]
    project.subscribe(batched.url, options=options, batch={"max_events": 3, "max_wait_ms": 60_000})

    ids = project.publish(*(event(number, data={"n": number}) for number in range(3)))

    for request in single.wait_for(3):
        assert request.headers["content-type"] == "application/cloudevents+json"
        assert request.json["specversion"] == "1.0"
        assert (request.json["type"], request.json["id"]) == ("item.update", request.id)
        assert is_signed(request, secret)
    [batch] = batched.wait_for(1)
    assert batch.headers["content-type"] == "application/cloudevents-batch+json"
    assert [item["id"] for item in batch.json] == ids
    assert [item["data"] for item in batch.json] == [{"n": 0}, {"n": 1}, {"n": 2}]


DATA = [
    b'{"big": 9007199254740993, "bigger": 123456789012345678901234567890, "precise": 0.10000000000000000555}',
    b'{"exponent": 1E400, "zero": -0.0, "trailing": 1.50}',
    b'{ "b" : 1,\n\t"a":  2, "a": 3 }',
    '{"text": "\\u00e6\\/\\ud83d\\ude00 \u00e6/\U0001f600 \\u2028"}'.encode(),
    b"[1, 2.0, [null, true]]",
    b'"only a text"',
    b"12345678901234567890",
    b"null",
]


@pytest.mark.parametrize("data", DATA)
def test_data_arrives_byte_for_byte(project: Project, hook: Hook, data: bytes) -> None:
    made = project.subscribe(hook.url)
    body = b'{"object": "item", "action": "update", "object_id": "1", "data": %b}' % data

    project.client.call("POST", f"{project.path}/events", body=body).expect(202)
    as_line = b'{"object": "item", "action": "update", "object_id": "2", "data": %b}' % data.replace(b"\n", b" ")
    project.client.call(
        "POST", f"{project.path}/events", body=as_line, headers={"content-type": "application/x-ndjson"}
    ).expect(202)

    hook.wait_for(2)
    by_object = {request.json["object_id"]: request for request in hook.requests}
    assert b'"data":' + data in by_object["1"].body
    assert b'"data":' + data.replace(b"\n", b" ") in by_object["2"].body
    assert all(is_signed(request, made["secret"]) for request in hook.requests)


def test_an_object_id_that_is_a_number_is_kept_as_it_was_written(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, tenant="9007199254740993")
    body = b'{"tenant": 9007199254740993, "object": "item", "action": "update", "object_id": 123456789012345678901}'

    project.client.call("POST", f"{project.path}/events", body=body).expect(202)

    [request] = hook.wait_for(1)
    assert (request.json["tenant"], request.json["object_id"]) == ("9007199254740993", "123456789012345678901")


def test_arrays_and_lines_are_the_same_to_a_receiver(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, ordering="strict", max_in_flight=1)
    events = [event(number, data=number) for number in range(100)]

    lines = "\n".join(map(json.dumps, events[:50])).encode() + b"\n"
    answer = project.client.call(
        "POST", f"{project.path}/events", body=lines, headers={"content-type": "application/x-ndjson"}
    ).expect(202)
    ids = answer["ids"] + project.publish(*events[50:])

    hook.wait_for(100)
    assert hook.ids == ids
    assert [body["data"] for body in hook.bodies] == list(range(100))


def test_an_event_can_be_looked_up_with_its_deliveries(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    [id_] = project.publish(event(7, data={"title": "x"}))
    project.wait_for("delivered", event=id_)

    found = project.get(f"events/{id_}")

    assert (found["object"], found["object_id"], found["action"], found["data"]) == (
        "item",
        "7",
        "update",
        {"title": "x"},
    )
    [delivery] = found["deliveries"]
    assert (delivery["subscription"], delivery["state"]) == (made["id"], "delivered")
    assert [listed["id"] for listed in project.all("events", object="item")] == [id_]
    assert project.all("events", object="other") == []


def test_a_delivery_tells_of_its_attempts_the_successful_one_too(project: Project, hook: Hook) -> None:
    hook.always(Answer(201, body=b"thank you"))
    made = project.subscribe(hook.url, headers={"x-password": "do-not-show"})
    [id_] = project.publish(event())
    [shown] = project.wait_for("delivered", event=id_)

    [attempt] = shown["attempts"]
    assert (attempt["number"], attempt["status"], attempt["reason"]) == (1, 201, "accepted")
    assert attempt["took_ms"] >= 0
    assert attempt["phases"]
    assert "thank you" in json.dumps(attempt["response"])
    assert "do-not-show" not in json.dumps(shown)
    assert made["secret"] not in json.dumps(shown)
