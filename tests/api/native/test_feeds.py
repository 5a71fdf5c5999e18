"""Feeds over HTTP: pages, waiting, streams, and cursors that are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from angarium.model.event import Entry, Kind
from angarium.store.contract import Settlement
from tests.api.native.filling import id_of, partition, publish
from tests.api.native.serving import ADMIN, Native

ALL = "/v1/projects/p/subscriptions"


@pytest.fixture(autouse=True)
async def _project(native: Native) -> None:
    await native.project()


async def _feed(native: Native, **members: Any) -> str:
    made = await native.subscribe(None, kind="pull", **members)
    return f"{ALL}/{made['id']}/feed"


async def test_a_feed_shows_events_as_items_of_the_dialect(native: Native) -> None:
    path = await _feed(native)
    [place] = await publish(native, "49", data=b'{ "a" :\n 12345678901234567890 }', occurred_us=1_800_000_000_000_001)
    reply = await native.call("GET", path)
    [item] = reply.expect(200)["data"]
    assert item == {
        "cursor": item["cursor"],
        "id": id_of(native, place),
        "type": "item.update",
        "occurred_at": "2027-01-15T08:00:00.000001Z",
        "body": {
            "id": id_of(native, place),
            "type": "item.update",
            "timestamp": "2027-01-15T08:00:00.000001Z",
            "tenant": "default",
            "object": "item",
            "object_id": "49",
            "action": "update",
            "data": {"a": 12345678901234567890},
        },
    }
    assert b'"data":{ "a" :\n 12345678901234567890 }' in reply.body


async def test_pages_join_without_gap_and_next_passes_what_does_not_match(native: Native) -> None:
    path = await _feed(native, types=["item.delete"])
    await publish(native, *map(str, range(600)))
    page = (await native.call("GET", path)).expect(200)
    assert page["data"] == []
    wanted = await publish(native, "1", "2", "3", action="delete")
    ids: list[str] = []
    for _ in range(3):
        page = (await native.call("GET", path, after=page["next"], limit=1)).expect(200)
        ids += [item["id"] for item in page["data"]]
        assert page["next"] == page["data"][0]["cursor"]
    assert ids == [id_of(native, place) for place in wanted]
    assert (await native.call("GET", path, limit=2)).expect(200)["data"][0]["id"] == ids[0]


async def test_a_page_of_large_events_is_cut_and_goes_on(native: Native) -> None:
    path = await _feed(native)
    large = b'"' + b"x" * 200_000 + b'"'
    places = await publish(native, *map(str, range(50)), data=large)
    first = (await native.call("GET", path, limit=250)).expect(200)
    assert 40 <= len(first["data"]) < 50
    rest = (await native.call("GET", path, limit=250, after=first["next"])).expect(200)
    ids = [item["id"] for item in first["data"] + rest["data"]]
    assert ids == [id_of(native, place) for place in places]


async def test_what_was_owed_at_its_offset_is_shown_whatever_was_asked_later(native: Native) -> None:
    path = await _feed(native, types=["item.update"])
    [first] = await publish(native, "1")
    (await native.call("PATCH", path.removesuffix("/feed"), {"types": ["item.delete"]})).expect(200)
    await publish(native, "2")
    [third] = await publish(native, "3", action="delete")
    (await native.call("POST", path.replace("/feed", "/disable"))).expect(200)
    await publish(native, "4", action="delete")
    (await native.call("POST", path.replace("/feed", "/resume"))).expect(200)
    [fifth] = await publish(native, "5", action="delete")
    shown = (await native.call("GET", path)).expect(200)["data"]
    assert [item["id"] for item in shown] == [id_of(native, place) for place in (first, third, fifth)]


async def test_a_replay_is_not_shown_again(native: Native) -> None:
    path = await _feed(native)
    [place] = await publish(native, "1")
    await native.store.append(
        [Entry(place.partition, 0, 1, None, Kind.REPLAY, target=1, of=place.offset, of_ms=place.accepted_ms)]
    )
    assert len((await native.call("GET", path)).expect(200)["data"]) == 1


async def test_a_long_poll_returns_what_comes_and_is_empty_when_nothing_does(native: Native) -> None:
    path = await _feed(native)
    empty = (await native.call("GET", path, wait_s=0.05)).expect(200)
    assert empty["data"] == []
    waiting = asyncio.create_task(native.call("GET", path, after=empty["next"], wait_s=30))
    await asyncio.sleep(0.05)
    [place] = await publish(native, "1")
    assert [item["id"] for item in (await waiting).expect(200)["data"]] == [id_of(native, place)]


async def test_a_long_poll_waits_on_while_others_of_its_partition_publish(native: Native) -> None:
    path = await _feed(native, types=["item.delete"])
    waiting = asyncio.create_task(native.call("GET", path, wait_s=30))
    for number in range(5):
        await publish(native, str(number))
        await asyncio.sleep(0.01)
    [place] = await publish(native, "1", action="delete")
    assert [item["id"] for item in (await waiting).expect(200)["data"]] == [id_of(native, place)]


async def test_a_long_poll_ends_when_its_subscription_is_deleted(native: Native) -> None:
    path = await _feed(native)
    waiting = asyncio.create_task(native.call("GET", path, wait_s=30))
    await asyncio.sleep(0.05)
    (await native.call("DELETE", path.removesuffix("/feed"))).expect(204)
    (await waiting).problem(404)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "nonsense"}, "after"),
        ({"after": "cur_" + "0" * 32}, "after"),
        ({"after": "\ufffd"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 251}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"wait_s": 31}, "wait_s"),
        ({"wait_s": "nan"}, "wait_s"),
        ({"surplus": 1}, "surplus"),
    ],
)
async def test_a_wrong_parameter_is_named(native: Native, query: dict[str, Any], field: str) -> None:
    path = await _feed(native)
    assert (await native.call("GET", path, **query)).fields() == [field]


async def test_another_feed_s_cursor_is_refused(native: Native) -> None:
    one, two = await _feed(native), await _feed(native)
    cursor = (await native.call("GET", one)).expect(200)["next"]
    assert (await native.call("GET", two, after=cursor)).fields() == ["after"]


async def test_a_cursor_that_is_older_than_the_log_is_gone(native: Native) -> None:
    path = await _feed(native)
    cursor = (await native.call("GET", path)).expect(200)["next"]
    places = await publish(native, "1", "2")
    await native.store.settle(Settlement(watermarks={partition(): places[-1].offset}))
    await native.store.retain(before_ms=native.clock.wall_ms + 1, limit=100)
    (await native.call("GET", path, after=cursor)).problem(410)
    assert (await native.call("GET", path)).expect(200)["data"] == []


# -- streams -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(native: Native, path: str, **headers: str) -> AsyncIterator[asyncio.StreamReader]:
    """Lend a stream that is read while it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", native.port)
    fields = {"host": "x", "authorization": f"Bearer {ADMIN}", "accept": "text/event-stream", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"content-type: text/event-stream" in head
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def next_event(reader: asyncio.StreamReader) -> tuple[str, Any]:
    """Return the id and document of the next event of a stream."""
    id_, data = "", ""
    while True:
        line = (await asyncio.wait_for(reader.readline(), 60)).decode().rstrip("\r\n")
        assert not reader.at_eof(), "the stream has ended"
        if line.startswith("id: "):
            id_ = line.removeprefix("id: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ") + "\n"
        elif not line and data:
            return id_, json.loads(data)


async def test_a_stream_gives_what_there_is_and_what_comes(native: Native) -> None:
    path = await _feed(native)
    await publish(native, "1", data=b'{"text":\n"x"}')
    async with streaming(native, path) as reader:
        events = [await next_event(reader)]
        await publish(native, "2", "3")
        events += [await next_event(reader), await next_event(reader)]
    shown = (await native.call("GET", path)).expect(200)["data"]
    assert [document for _, document in events] == shown
    assert [id_ for id_, _ in events] == [item["cursor"] for item in shown]

    async with streaming(native, f"{path}?after={shown[0]['cursor']}", last_event_id=shown[1]["cursor"]) as reader:
        assert await next_event(reader) == events[2]


async def test_a_stream_with_a_wrong_cursor_is_refused_before_it_begins(native: Native) -> None:
    path = await _feed(native)
    reply = await native.call("GET", path, headers={"accept": "text/event-stream"}, after="nonsense")
    assert reply.fields() == ["after"]


async def test_a_stream_ends_when_its_key_or_subscription_is_deleted(native: Native) -> None:
    path = await _feed(native)
    made = (await native.call("POST", "/v1/projects/p/keys", {"scope": "read"})).expect(201)
    async with streaming(native, path, authorization=f"Bearer {made['key']}") as reader:
        await publish(native, "1")
        await next_event(reader)
        (await native.call("DELETE", f"/v1/projects/p/keys/{made['id']}")).expect(204)
        await publish(native, "2")
        assert b"data:" not in await asyncio.wait_for(reader.read(), 60)
    async with streaming(native, path) as reader:
        await next_event(reader)
        (await native.call("DELETE", path.removesuffix("/feed"))).expect(204)
        await publish(native, "3")
        rest = await asyncio.wait_for(reader.read(), 60)
        assert rest.count(b"data:") <= 1
