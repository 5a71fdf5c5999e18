from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from angarium.cli.receiver import Answer, Gauge, Manners, Received, Receiver, misbehave

POST = b"POST /hook?a=1 HTTP/1.1\r\nhost: x\r\nWebhook-Id: evt_1\r\ncontent-length: 2\r\n\r\n{}"
TIMEOUT_S = 20


@asynccontextmanager
async def _talking(
    answering: Callable[[Received], Answer],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    receiver = Receiver(answering)
    await receiver.start("127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield reader, writer
    finally:
        writer.close()
        receiver.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def test_a_request_is_read_whole_and_answered() -> None:
    seen: list[Received] = []

    def answering(received: Received) -> Answer:
        seen.append(received)
        return Answer(202, (("x-team", "a"),), b"thanks")

    async with _talking(answering) as (reader, writer):
        writer.write(POST[:40])
        await asyncio.sleep(0)
        writer.write(POST[40:])
        assert await _answer(reader) == (202, {"x-team": "a", "content-length": "6"}, b"thanks")
    assert (seen[0].method, seen[0].path, seen[0].body, seen[0].message_id) == ("POST", "/hook?a=1", b"{}", "evt_1")
    assert not seen[0].is_handshake


async def test_requests_of_one_connection_are_answered_in_their_order_though_the_first_is_slow() -> None:
    delays = iter([0.05, 0.0])
    statuses = iter([201, 202])
    async with _talking(lambda _: Answer(next(statuses), delay_s=next(delays))) as (reader, writer):
        writer.write(POST + POST)
        assert (await _answer(reader))[0] == 201
        assert (await _answer(reader))[0] == 202


async def test_a_dropped_request_gets_no_answer() -> None:
    async with _talking(lambda _: Answer(is_dropped=True)) as (reader, writer):
        writer.write(POST)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await _answer(reader)


async def test_what_is_no_http_is_told_so() -> None:
    async with _talking(lambda _: Answer()) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await _answer(reader))[0] == 400


async def test_a_body_that_waits_to_be_asked_for_is_asked_for() -> None:
    async with _talking(lambda received: Answer(body=received.body)) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await _answer(reader))[2] == b"ab"


async def test_a_challenge_is_answered_with_itself_whatever_the_manners() -> None:
    body = b'{"type": "verification", "challenge": "c-1"}'
    seen: list[Received] = []

    def answering(received: Received) -> Answer:
        seen.append(received)
        return Answer(500)

    async with _talking(answering) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        status, _, answer = await _answer(reader)
    assert (status, answer) == (200, b'{"challenge": "c-1"}')
    assert seen[0].is_handshake


async def test_an_origin_that_asks_is_allowed() -> None:
    async with _talking(lambda _: Answer(500)) as (reader, writer):
        writer.write(b"OPTIONS / HTTP/1.1\r\nhost: x\r\nwebhook-request-origin: push.example.com\r\n\r\n")
        status, headers, _ = await _answer(reader)
    assert (status, headers["webhook-allowed-origin"]) == (200, "push.example.com")


@pytest.mark.parametrize(
    "body", [b'{"type":"item.update","challenge":"x"}', b'["challenge"]', b'{"challenge": 1', b"{}"]
)
async def test_an_event_that_only_looks_like_a_challenge_is_none(body: bytes) -> None:
    async with _talking(lambda _: Answer(201)) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert (await _answer(reader))[0] == 201


@pytest.mark.parametrize(
    ("manners", "dice", "is_over_rate", "expected"),
    [
        (Manners(), 0.5, False, Answer(200)),
        (Manners(status=503), 0.5, False, Answer(503)),
        (Manners(delay_s=3), 0.5, False, Answer(200, delay_s=3)),
        (Manners(flaky=0.3), 0.29, False, Answer(500, body=b"flaky\n")),
        (Manners(flaky=0.3), 0.3, False, Answer(200)),
        (Manners(per_second=1), 0.5, True, Answer(429, (("retry-after", "1"),), b"too many requests\n")),
        (Manners(drops=True), 0.5, True, Answer(is_dropped=True)),
    ],
)
def test_manners(manners: Manners, dice: float, *, is_over_rate: bool, expected: Answer) -> None:
    assert misbehave(manners, dice=dice, is_over_rate=is_over_rate) == expected


@pytest.mark.parametrize(
    ("per_second", "moments", "over"),
    [
        (None, [0, 0, 0], [False, False, False]),
        (2.0, [0, 0.1, 0.2, 1.05, 1.15], [False, False, True, False, False]),
        (0.5, [0, 1.9, 2.1], [False, True, False]),
    ],
)
def test_a_gauge_says_when_requests_come_too_fast(
    per_second: float | None, moments: list[float], over: list[bool]
) -> None:
    gauge = Gauge(per_second)
    assert [gauge.is_over(moment) for moment in moments] == over
