"""See requests arrive, over real sockets, and their answers come back."""

from __future__ import annotations

import asyncio
import resource

import pytest

from angarium import __version__
from angarium.model.wire import WITHHELD, NoResponse, Reason, Request, Response
from tests.egress.sending import begin, post, sender
from tests.receivers import Answer, hang, receiver


async def test_a_request_arrives_as_it_was_made() -> None:
    async with receiver(Answer(201, (("X-Id", "7"), ("x-id", "8")), b"thanks")) as r, sender() as s:
        answer = await post(
            s, r.url + "?a=b", headers=(("webhook-id", "evt_1"), ("x-name", "Zoë"), ("x-empty", "")), body=b"{}"
        )
        assert isinstance(answer, Response)
        assert (answer.status, answer.body) == (201, b"thanks")
        assert answer.headers == (("x-id", "7"), ("x-id", "8"), ("content-length", "6"))
        (request,) = r.requests
        assert (request.method, request.path, request.body) == ("POST", "/hook?a=b", b"{}")
        assert request.headers == {
            "host": f"127.0.0.1:{r.port}",
            "accept": "*/*",
            "user-agent": f"Angarium/{__version__}",
            "webhook-id": "evt_1",
            "x-name": "Zoë",
            "x-empty": "",
            "content-length": "2",
        }


async def test_requests_of_one_owner_share_a_connection() -> None:
    async with receiver() as r, sender() as s:
        for _ in range(3):
            await post(s, r.url)
        assert [request.connection for request in r.requests] == [1, 1, 1]


async def test_owners_share_no_connection() -> None:
    async with receiver() as r, sender() as s:
        for owner in ("ada", "bob", "ada", "bob"):
            await post(s, r.url, owner=owner)
        assert [request.connection for request in r.requests] == [1, 2, 1, 2]


# -- whether it may go -------------------------------------------------------------------------------------------------


async def test_a_request_that_may_not_be_sent_reaches_nobody() -> None:
    async with receiver() as r, sender() as s:
        assert await post(s, r.url, may_send=lambda: False) is WITHHELD
        assert (r.requests, r.connections) == ([], 0)


@pytest.mark.parametrize("is_connected", [False, True], ids=["new connection", "kept connection"])
async def test_whether_a_request_may_go_is_asked_again_once_it_is_connected(is_connected: bool) -> None:  # noqa: FBT001  a row
    answers = iter([True, False])
    async with receiver() as r, sender() as s:
        if is_connected:
            await post(s, r.url)
        assert await post(s, r.url, may_send=lambda: next(answers), body=b"late" * 8192) is WITHHELD
        assert isinstance(await post(s, r.url, may_send=lambda: True, body=b"in time"), Response)
        assert [request.body for request in r.requests] == [b""] * is_connected + [b"in time"]


# -- requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"", "0"), ("GET", b"", None), ("OPTIONS", b"", None), ("PUT", b"{}", "2"), ("OPTIONS", b"{}", "2")],
)
async def test_handshakes_use_other_methods(method: str, body: bytes, length: str | None) -> None:
    async with receiver() as r, sender() as s:
        for used, sent in ((method, body), ("POST", b"after"), (method, body)):
            assert isinstance(await post(s, r.url, method=used, body=sent), Response)
        assert [(request.method, request.body) for request in r.requests] == [
            (method, body),
            ("POST", b"after"),
            (method, body),
        ]
        assert r.requests[0].headers.get("content-length") == length
        assert "content-type" not in r.requests[0].headers


async def test_a_large_body_is_sent_at_once() -> None:
    body = b"0123456789abcdef" * 131_072
    async with receiver() as r, sender() as s:
        assert isinstance(await post(s, r.url, body=body), Response)
        assert r.requests[0].body == body
        assert "expect" not in r.requests[0].headers


async def test_a_request_s_own_user_agent_wins() -> None:
    async with receiver() as r, sender() as s:
        await post(s, r.url, headers=(("user-agent", "RadioManager"),))
        assert r.requests[0].headers["user-agent"] == "RadioManager"


async def test_the_url_is_sent_as_it_was_stored() -> None:
    async with receiver() as r, sender() as s:
        await post(s, f"http://127.0.0.1:{r.port}/a/../b//%7Ec?d=%20&e")
        assert r.requests[0].path == "/a/../b//%7Ec?d=%20&e"


@pytest.mark.parametrize("value", ["a\r\nhost: evil", "a\nb", "a\rb", "a\0b", "€"])
async def test_a_header_that_would_become_two_is_not_sent(value: str) -> None:
    async with receiver() as r, sender() as s:
        answer = await post(s, r.url, headers=(("x-name", value),))
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.INTERNAL
        assert isinstance(await post(s, r.url), Response)
        assert len(r.requests) == 1


async def test_a_method_that_nobody_needs_is_not_sent() -> None:
    async with receiver() as r, sender() as s:
        answer = await post(s, r.url, method="TRACE")
        assert isinstance(answer, NoResponse)
        assert answer.detail == "the request cannot be sent: method 'TRACE' is not sent by us"


async def test_nothing_of_one_request_is_left_in_the_next() -> None:
    async with receiver() as r, sender() as s:
        await post(s, r.url, headers=(("content-type", "a/b"), ("x-a", "1")), body=b"long body")
        await post(s, r.url, headers=(("x-b", "2"),), body=b"short")
        second = r.requests[1]
        assert second.body == b"short"
        assert {"x-a", "content-type"}.isdisjoint(second.headers)


async def test_cookies_are_not_kept() -> None:
    async with receiver(Answer(200, (("set-cookie", "a=b"),))) as r, sender() as s:
        for _ in range(2):
            await post(s, r.url)
        assert "cookie" not in r.requests[1].headers


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text("default login ada password secret\n")
    monkeypatch.setenv("HOME", str(home))
    async with receiver() as proxy, receiver() as r:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with sender() as s:
            assert isinstance(await post(s, r.url), Response)
        assert proxy.connections == 0
        assert "authorization" not in r.requests[0].headers


async def test_many_requests_are_on_the_wire_at_once() -> None:
    """More than 1,024 descriptors, where select would end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    async with receiver(Answer(delay_s=0.5)) as r, sender(max_in_flight=1200) as s:
        sent = [begin(s, r.url, body=str(number).encode()) for number in range(1200)]
        assert s.in_flight == 1200
        answers = await asyncio.gather(*sent)
        assert all(isinstance(answer, Response) for answer in answers)
        assert s.in_flight == 0
        assert sorted(int(request.body) for request in r.requests) == list(range(1200))


# -- what may not be reached -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://10.0.0.1/", "10.0.0.1 leads to 10.0.0.1, denied: private"),
        ("https://0xa.1/", "10.0.0.1 leads to 10.0.0.1, denied: private"),
        ("https://[::ffff:169.254.169.254]/", "denied: IPv4-mapped"),
        ("http://8.8.8.8/", "denied: http"),
        ("https://8.8.8.8:9001/", "denied: port 9001"),
        ("https://example.com\\@127.0.0.1/", "parsers read differently"),
        ("gopher://127.0.0.1/", "is no http or https url"),
    ],
)
async def test_what_may_not_be_reached_is_blocked(url: str, detail: str) -> None:
    async with sender() as s:
        answer = await post(s, url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BLOCKED
        assert detail in answer.detail


async def test_an_address_is_judged_again_when_it_is_connected_to() -> None:
    async with receiver(Answer(keep=False)) as r, sender() as s:
        assert isinstance(await post(s, r.url), Response)
        s._policy.allowances = ()  # The route was vetted, and is still remembered.
        answer = await post(s, r.url)
        assert isinstance(answer, NoResponse)
        assert (answer.reason, answer.detail) == (Reason.BLOCKED, "127.0.0.1 is denied: loopback")
        assert r.connections == 1


# -- starting and stopping ---------------------------------------------------------------------------------------------


async def test_closing_reports_what_is_on_the_wire_as_reset() -> None:
    async with receiver(hang) as r:
        async with sender(max_in_flight=3) as s:
            sent = [begin(s, r.url) for _ in range(5)]
            await r.arrived(3)
        for ended in sent:
            answer = await ended
            assert isinstance(answer, NoResponse)
            assert (answer.reason, answer.detail) == (Reason.RESET, "the sender was stopped")
        assert s.in_flight == 0


async def test_a_closed_sender_answers_too() -> None:
    async with receiver() as r:
        async with sender() as s:
            pass
        answer = await post(s, r.url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.RESET
        await s.close()
        assert r.connections == 0


async def test_a_caller_that_fails_does_not_silence_the_others() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    failure = ValueError("the caller's own")

    def fail(_: Response | NoResponse) -> None:
        raise failure

    async with receiver() as r, sender() as s:
        s.post(Request("POST", r.url, ()), timeout_s=30, allow_http=False, owner="ada", done=fail)
        assert isinstance(await post(s, r.url), Response)
        await r.arrived(2)
    assert s.in_flight == 0
    assert told == [failure]
