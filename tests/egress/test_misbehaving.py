"""Meet receivers that hang, break off, flood or answer nonsense; each costs one attempt and nothing else."""

from __future__ import annotations

import resource

import pytest

from angarium.model.wire import NoResponse, Reason, Response
from tests.egress.sending import begin, post, sender
from tests.receivers import (
    Answer,
    Behaviour,
    close_after,
    endless,
    endless_interim,
    gzip_bomb,
    half_close,
    hang,
    hang_after_head,
    huge_head,
    receiver,
    redirect,
    reset_after,
    reset_at_once,
    trickle,
    trickle_body_for_ever,
    trickle_head_for_ever,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HALF_BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
HALF_HEAD = b"HTTP/1.1 200 OK\r\ncontent-le"


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [hang, trickle_head_for_ever], ids=["silence", "endless head"])
async def test_a_receiver_that_does_not_answer_times_out(behaviour: Behaviour) -> None:
    async with receiver(behaviour) as r, sender() as s:
        answer = await post(s, r.url, timeout_s=0.5)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.TIMEOUT
        assert len(r.requests) == 1
        assert answer.phases.total_us >= 450_000


@pytest.mark.parametrize("status", [200, 204, 302, 410, 500])
async def test_a_status_counts_at_the_deadline_though_its_body_is_stuck(status: int) -> None:
    async with receiver(hang_after_head(status)) as r, sender() as s:
        answer = await post(s, r.url, timeout_s=0.5)
        assert isinstance(answer, Response)
        assert answer.status == status
        assert ("content-length", "100") in answer.headers


async def test_a_status_counts_at_the_deadline_though_its_body_trickles() -> None:
    async with receiver(trickle_body_for_ever) as r, sender() as s:
        answer = await post(s, r.url, timeout_s=0.5)
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert set(answer.body) == {ord("a")}


async def test_a_slow_answer_within_the_deadline_is_an_answer() -> None:
    async with receiver(trickle(OK, every_s=0.01)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert (answer.status, answer.body) == (200, b"ok")


async def test_an_answer_after_the_deadline_is_told_to_nobody() -> None:
    """A late 200 must not be taken for the answer of the next request."""
    async with receiver(Answer(200, delay_s=0.6), Answer(201)) as r, sender() as s:
        late = begin(s, r.url, timeout_s=0.3)
        assert isinstance(await late, NoResponse)
        following = await post(s, r.url)
        assert isinstance(following, Response)
        assert following.status == 201
        assert r.requests[1].connection == 2


async def test_silent_receivers_do_not_hold_up_others() -> None:
    async with receiver(hang) as silent, receiver() as r, sender() as s:
        waiting = [begin(s, silent.url) for _ in range(100)]
        for _ in range(20):
            assert isinstance(await post(s, r.url), Response)
        assert not any(ended.done() for ended in waiting)


async def test_what_waits_for_room_waits_inside_its_deadline() -> None:
    async with receiver(hang) as silent, receiver() as r, sender(max_in_flight=1) as s:
        first = begin(s, silent.url, timeout_s=0.6)
        second = begin(s, r.url, timeout_s=0.2)
        third = begin(s, r.url, timeout_s=30)
        for ended in (first, second):
            answer = await ended
            assert isinstance(answer, NoResponse)
            assert answer.reason is Reason.TIMEOUT
        assert isinstance(await third, Response)


# -- breaking off ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        reset_at_once,
        reset_after(HALF_HEAD),
        reset_after(HALF_BODY),
        close_after(b""),
        close_after(HALF_HEAD),
        close_after(HALF_BODY),
        half_close,
    ],
    ids=["rst", "rst in head", "rst in body", "fin", "fin in head", "fin in body", "half-close"],
)
async def test_an_answer_that_breaks_off_is_a_reset(behaviour: Behaviour) -> None:
    async with receiver(behaviour) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.RESET
        assert len(r.requests) == 1


async def test_nobody_listening_is_a_refusal() -> None:
    async with receiver() as r:
        url = r.url
    async with sender() as s:
        answer = await post(s, url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.REFUSED


@pytest.mark.parametrize("behaviour", [reset_at_once, close_after(b""), half_close], ids=["rst", "fin", "half-close"])
async def test_a_request_is_never_repeated_silently_on_a_kept_connection(behaviour: Behaviour) -> None:
    """Libcurl would send it again on a new connection, and the receiver would have two for one attempt."""
    async with receiver(Answer(200), behaviour, Answer(200)) as r, sender() as s:
        assert isinstance(await post(s, r.url), Response)
        answer = await post(s, r.url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.RESET
        assert [request.connection for request in r.requests] == [1, 1]
        assert isinstance(await post(s, r.url), Response)
        assert len(r.requests) == 3


async def test_a_connection_closed_while_idle_is_replaced() -> None:
    async with receiver(Answer(200, keep=False)) as r, sender() as s:
        for _ in range(3):
            assert isinstance(await post(s, r.url), Response)
        assert [request.connection for request in r.requests] == [1, 2, 3]


# -- floods ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunks", "1 GB"])
@pytest.mark.parametrize("status", [200, 500])
async def test_of_an_endless_body_64_kib_are_read(status: int, *, is_chunked: bool) -> None:
    async with receiver(endless(status, is_chunked=is_chunked)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert answer.status == status
        assert answer.body == b"a" * 65_536


async def test_a_body_of_64_kib_is_read_whole_and_the_connection_kept() -> None:
    async with receiver(Answer(200, body=b"a" * 65_536)) as r, sender() as s:
        for _ in range(2):
            answer = await post(s, r.url)
            assert isinstance(answer, Response)
            assert answer.body == b"a" * 65_536
        assert [request.connection for request in r.requests] == [1, 1]


async def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip_bomb()
    async with receiver(bomb) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert answer.body == bomb.body
        assert "accept-encoding" not in r.requests[0].headers


@pytest.mark.parametrize("status", [200, 500])
async def test_a_head_of_10_mb_counts_by_its_status(status: int) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with receiver(huge_head(status, size=10_000_000)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert answer.status == status
        assert sum(len(name) + len(value) for name, value in answer.headers) <= 300 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib <= 10 * 1024


async def test_endless_interim_answers_are_no_answer() -> None:
    async with receiver(endless_interim) as r, sender() as s:
        answer = await post(s, r.url, timeout_s=10)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BAD_ANSWER


# -- nonsense ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\x16\x03 garbage \x00" * 50,
        b"<html>hello</html>",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/7.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
    ],
    ids=["bytes", "0.9", "ssh", "version", "status", "chunk", "length"],
)
async def test_nonsense_is_a_bad_answer(data: bytes) -> None:
    async with receiver(close_after(data)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BAD_ANSWER


async def test_interim_answers_are_not_the_answer() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with receiver(close_after(interim + OK)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert (answer.status, answer.headers, answer.body) == (200, (("content-length", "2"),), b"ok")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with receiver() as elsewhere, receiver(redirect(status, elsewhere.url)) as r, sender() as s:
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert answer.status == status
        assert ("location", elsewhere.url) in answer.headers
        assert len(r.requests) == 1
        assert elsewhere.connections == 0


async def test_a_redirect_to_itself_is_one_request() -> None:
    async with receiver() as r, sender() as s:
        r.behaviours = [redirect(302, r.url)]
        answer = await post(s, r.url)
        assert isinstance(answer, Response)
        assert answer.status == 302
        assert len(r.requests) == 1
