"""See requests arrive, over real sockets, and their answers come back."""

from __future__ import annotations

from angarium import __version__
from angarium.model.wire import Response
from tests.egress.sending import post, sender
from tests.receivers import Answer, receiver


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
