"""The hot route on a real socket: one answer per publish, in order, whatever the bytes come like."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest

from angarium.api.publishing import BODIES_MAX
from angarium.errors import StoreAway
from tests.api.fronting import EVENT, Caller, Served, eventually, on_uvloop, request, serve


async def _until_waiting(served: Served, count: int) -> None:
    await eventually(lambda: served.store.waiting >= count)


@on_uvloop
async def test_a_publish_is_answered_after_its_commit_and_offered_to_the_engine(served: Served, caller: Caller) -> None:
    await caller.say(request())
    status, fields, body = await caller.answer()
    answer = json.loads(body)
    assert (status, fields["content-type"]) == (202, "application/json")
    assert (answer["accepted"], answer["matched"]) == (1, 3)
    [(event, place)] = served.engine.offered
    assert event.object_id == "49"
    assert answer["ids"] == [served.context.ids.event(place.partition, place.offset, place.accepted_ms)]
    assert not served.asgi


@on_uvloop
async def test_only_the_first_publish_loads_its_tenant(served: Served, caller: Caller) -> None:
    for _ in range(3):
        await caller.say(request())
        assert (await caller.answer())[0] == 202
    assert served.engine.loaded == ["default"]
    assert len(served.engine.offered) == 3


@on_uvloop
async def test_nothing_is_answered_before_the_commit(served: Served, caller: Caller) -> None:
    await caller.say(request())
    await caller.answer()
    served.store.is_held = True
    await caller.say(request())
    await _until_waiting(served, 1)
    assert len(served.engine.offered) == 1
    served.store.let_go()
    assert (await caller.answer())[0] == 202
    assert len(served.engine.offered) == 2


@on_uvloop
async def test_pipelined_publishes_are_answered_in_their_order(served: Served, caller: Caller) -> None:
    bodies = [json.dumps({"object": "item", "action": "update", "object_id": str(number)}) for number in range(600)]
    await caller.say(b"".join(request(body.encode(), x_request_id=f"r{n}") for n, body in enumerate(bodies)))
    ids = [(await caller.answer())[1]["x-request-id"] for _ in bodies]
    assert ids == [f"r{number}" for number in range(600)]
    assert [event.object_id for event, _ in served.engine.offered] == [str(number) for number in range(600)]


@on_uvloop
async def test_refusals_in_a_pipeline_do_not_nest(served: Served, caller: Caller) -> None:
    await caller.say(request())
    await caller.answer()
    await caller.say(request(b"{") * 2000)
    assert {(await caller.answer())[0] for _ in range(2000)} == {400}


@on_uvloop
async def test_hot_and_other_requests_of_one_connection_keep_their_order(served: Served, caller: Caller) -> None:
    other = request(b"", method="GET", path="/other", length=False)
    served.store.is_held = True
    await caller.say(request(x_request_id="a") + other + request(x_request_id="c") + other)
    await _until_waiting(served, 1)
    await asyncio.sleep(0.05)
    assert served.asgi == []
    served.store.is_held = False
    served.store.let_go()
    statuses = [await caller.answer() for _ in range(4)]
    assert [(status, body == b"ok") for status, _, body in statuses] == [
        (202, False),
        (200, True),
        (202, False),
        (200, True),
    ]
    assert served.asgi == ["/other", "/other"]


@on_uvloop
async def test_a_request_may_come_byte_by_byte(served: Served, caller: Caller) -> None:
    for byte in request():
        await caller.say(bytes([byte]))
        await asyncio.sleep(0)
    assert (await caller.answer())[0] == 202
    assert not served.asgi


@on_uvloop
async def test_a_connection_that_is_to_close_is_closed_after_the_answer(served: Served, caller: Caller) -> None:
    await caller.say(request(connection="close") + request())
    status, fields, _ = await caller.answer()
    assert (status, fields["connection"]) == (202, "close")
    assert await caller.rest() == b""
    assert len(served.engine.offered) == 1


@on_uvloop
async def test_whoever_closes_their_half_still_gets_the_answer(served: Served, caller: Caller) -> None:
    served.store.is_held = True
    await caller.say(request())
    caller.writer.write_eof()
    await _until_waiting(served, 1)
    await asyncio.sleep(0.05)
    served.store.let_go()
    assert (await caller.answer())[0] == 202
    assert await caller.rest() == b""


@pytest.mark.parametrize("resets", [False, True])
@on_uvloop
async def test_a_client_that_is_gone_before_the_answer_loses_nothing(
    served: Served, caller: Caller, *, resets: bool
) -> None:
    served.store.is_held = True
    await caller.say(request())
    await _until_waiting(served, 1)
    if resets:
        plug = caller.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.writer.transport.abort()
    await eventually(lambda: not resets or not served.front.connections)
    served.store.let_go()
    await eventually(lambda: served.engine.offered and not served.front.connections)
    assert len(served.engine.offered) == 1
    assert served.front.bodies.held == 0


@pytest.mark.parametrize("size", [60_000, 200_000])
@on_uvloop
async def test_bodies_that_never_arrive_whole_are_let_go(served: Served, caller: Caller, size: int) -> None:
    await caller.say(request())
    await caller.answer()
    await caller.say(request(b" " * size)[:-100])
    await eventually(lambda: served.front.bodies.held == size)
    caller.writer.transport.abort()
    await eventually(lambda: not served.front.connections)
    assert served.front.bodies.held == 0


def _array(count: int, pad: int) -> bytes:
    event = {"object": "item", "action": "update", "object_id": "1", "data": "x" * pad}
    return json.dumps([event] * count).encode()


@on_uvloop
async def test_a_large_array_of_a_known_publisher_is_hot(served: Served, caller: Caller) -> None:
    await caller.say(request())
    await caller.answer()
    await caller.say(request(_array(20, 200_000)))
    status, _, body = await caller.answer()
    assert (status, json.loads(body)["accepted"]) == (202, 20)
    assert not served.asgi


@pytest.mark.parametrize("size", [9_000, 1_000_000])
@on_uvloop
async def test_a_large_body_of_somebody_unknown_is_refused_before_it_is_read(
    served: Served, caller: Caller, size: int
) -> None:
    await caller.say(request(b"x" * size, key="ang_wrong")[:1000])
    assert (await caller.answer())[0] == 401
    assert served.front.bodies.held == 0


@on_uvloop
async def test_when_too_many_bodies_are_in_memory_publishers_are_told_to_come_back(
    served: Served, caller: Caller
) -> None:
    await caller.say(request())
    await caller.answer()
    served.front.bodies.hold(BODIES_MAX - 10)
    await caller.say(request())
    status, fields, _ = await caller.answer()
    assert (status, fields["retry-after"]) == (503, "1")
    served.front.bodies.release(BODIES_MAX - 10)
    await caller.say(request())
    assert (await caller.answer())[0] == 202
    assert served.front.bodies.held == 0


@on_uvloop
async def test_a_body_over_the_limit_is_refused_before_it_is_read(served: Served, caller: Caller) -> None:
    whole = request(b" " * (8 * 1024 * 1024 + 1))
    await caller.say(whole[:5000])
    assert (await caller.answer())[0] == 413
    await caller.say(whole[5000:] + request())  # The rest is read and dropped, and the connection goes on.
    assert (await caller.answer())[0] == 202


@on_uvloop
async def test_a_body_at_the_limit_is_read(served: Served, caller: Caller) -> None:
    await caller.say(request(EVENT + b" " * (8 * 1024 * 1024 - len(EVENT))))
    assert (await caller.answer())[0] == 202


@on_uvloop
async def test_chunked_bodies_and_100_continue_take_the_other_way(served: Served, caller: Caller) -> None:
    chunked = request(b"", length=False, transfer_encoding="chunked")
    await caller.say(chunked + b"10\r\n" + EVENT[:16] + b"\r\n%x\r\n" % len(EVENT[16:]) + EVENT[16:] + b"\r\n0\r\n\r\n")
    assert (await caller.answer())[0] == 202
    whole = request(expect="100-continue")
    await caller.say(whole[: -len(EVENT)])
    assert (await caller.answer())[0] == 100
    await caller.say(EVENT)
    assert (await caller.answer())[0] == 202
    assert len(served.asgi) == 2


@on_uvloop
async def test_a_refusal_instead_of_100_continue_ends_the_connection(served: Served, caller: Caller) -> None:
    await caller.say(request(expect="100-continue", key="ang_wrong")[: -len(EVENT)])
    status, fields, _ = await caller.answer()
    assert (status, fields["connection"]) == (401, "close")
    assert await caller.rest() == b""


@on_uvloop
async def test_chunks_beyond_the_limit_are_refused(served: Served, caller: Caller) -> None:
    await caller.say(request(b"", length=False, transfer_encoding="chunked"))
    chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
    for _ in range(9):
        await caller.say(chunk)
    assert (await caller.answer())[0] == 413


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/projects/p/events?x=1", "POST"),
        ("/v1/projects/p/events", "GET"),
        ("/v1/projects/p%2Fq/events", "POST"),
        ("/v1/projects/p/events/", "POST"),
        ("/v1/projects//events", "POST"),
    ],
)
@on_uvloop
async def test_whatever_is_not_plain_falls_through(served: Served, caller: Caller, path: str, method: str) -> None:
    await caller.say(request(path=path, method=method))
    await caller.answer()
    assert len(served.asgi) == 1


@on_uvloop
async def test_http_1_0_is_answered_and_closed(served: Served, caller: Caller) -> None:
    await caller.say(request(version="1.0"))
    assert (await caller.answer())[0] == 202
    assert await caller.rest() == b""


@on_uvloop
async def test_what_is_no_http_is_a_400_after_what_was_asked_before(served: Served, caller: Caller) -> None:
    served.store.is_held = True
    await caller.say(request() + b"nonsense\r\n\r\n")
    await _until_waiting(served, 1)
    served.store.let_go()
    assert (await caller.answer())[0] == 202
    status, fields, _ = await caller.answer()
    assert (status, fields["connection"]) == (400, "close")
    assert fields["x-request-id"]
    caller.writer.write_eof()
    assert await caller.rest() == b""


@on_uvloop
async def test_an_offer_to_speak_something_else_is_not_taken(served: Served, caller: Caller) -> None:
    await caller.say(request(b"", upgrade="h2c", connection="upgrade"))
    assert (await caller.answer())[0] == 400  # An empty body is no event; the publish itself was understood.
    await caller.say(request())
    assert (await caller.answer())[0] == 202


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/projects/p/events HTTP/1.1\r\nx: " + b"y" * 600_000,
        b"POST /" + b"y" * 600_000,
        b"POST /v1/projects/p/events HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
    ids=["value", "path", "fields"],
)
@on_uvloop
async def test_a_head_over_its_limit_is_a_431(served: Served, caller: Caller, head: bytes) -> None:
    caller.writer.write(head)
    assert (await caller.answer())[0] == 431
    caller.writer.transport.abort()


@on_uvloop
async def test_one_connection_too_many_is_turned_away() -> None:
    async with serve(connections_max=1) as served:
        first, second = await Caller.to(served.port), await Caller.to(served.port)
        assert (await second.answer())[0] == 503
        await first.say(request())
        assert (await first.answer())[0] == 202
        await first.close()
        await second.close()


@on_uvloop
async def test_a_full_disk_is_a_503_that_says_when_to_come_back(served: Served, caller: Caller) -> None:
    served.store.error = StoreAway("the disk is full")
    await caller.say(request())
    status, fields, body = await caller.answer()
    assert (status, fields["retry-after"]) == (503, "2")
    assert "disk is full" in json.loads(body)["detail"]
    assert not served.engine.offered


@on_uvloop
async def test_a_fault_of_ours_is_a_500_that_tells_nothing(served: Served, caller: Caller) -> None:
    served.store.error = RuntimeError("secret")
    await caller.say(request())
    status, _, body = await caller.answer()
    assert status == 500
    assert b"secret" not in body


@on_uvloop
async def test_whoever_does_not_read_the_answers_is_not_read_from(served: Served, caller: Caller) -> None:
    await caller.say(request())
    await caller.answer()
    many = request(b"{") * 1000
    writing = asyncio.create_task(_say_for_ever(caller, many))
    await eventually(lambda: any(connection.flow.write_paused for connection in served.front.connections))
    [connection] = served.front.connections
    assert connection.flow.read_paused
    writing.cancel()
    served.front.sweep(asyncio.get_running_loop().time() + 1000)
    await eventually(lambda: not served.front.connections)


async def _say_for_ever(caller: Caller, data: bytes) -> None:
    while True:
        await caller.say(data)


@pytest.mark.parametrize(
    ("said", "after_s", "answer"),
    [
        (b"", 11.0, b""),
        (b"POST /v1/proj", 11.0, b"HTTP/1.1 408 "),
        (request()[:-5], 121.0, b""),
        (request(b"x" * 100_000)[:-5], 121.0, b""),
    ],
    ids=["nothing", "half a head", "half a body", "half a large body"],
)
@on_uvloop
async def test_a_slow_publisher_does_not_keep_its_place(
    served: Served, caller: Caller, said: bytes, after_s: float, answer: bytes
) -> None:
    await caller.say(said)
    await asyncio.sleep(0.05)
    now = asyncio.get_running_loop().time()
    served.front.sweep(now + after_s / 2)
    assert served.front.connections
    served.front.sweep(now + after_s)
    served.front.sweep(now + after_s + 10)
    try:
        rest = await caller.rest()
    except ConnectionResetError:
        rest = b""
    assert rest.startswith(answer)
    await eventually(lambda: not served.front.connections)


@on_uvloop
async def test_a_connection_that_rests_between_publishes_is_kept_for_a_while(served: Served, caller: Caller) -> None:
    await caller.say(request())
    await caller.answer()
    now = asyncio.get_running_loop().time()
    served.front.sweep(now + 60)
    await caller.say(request())
    assert (await caller.answer())[0] == 202
    served.front.sweep(now + 200)
    assert await caller.rest() == b""


@on_uvloop
async def test_a_publish_that_waits_for_its_commit_is_never_overdue(served: Served, caller: Caller) -> None:
    served.store.is_held = True
    await caller.say(request())
    await _until_waiting(served, 1)
    served.front.sweep(asyncio.get_running_loop().time() + 1000)
    served.store.let_go()
    assert (await caller.answer())[0] == 202
