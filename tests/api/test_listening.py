"""Listening: whose word about clients counts, and how connections end with the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from angarium.api.front import Front, RequestIds
from angarium.api.listening import Listening, bind
from angarium.api.publishing import Bodies
from angarium.operations.callers import Callers
from angarium.operations.projects import Projects
from angarium.operations.publish import Publisher
from angarium.settings import Address, Network
from tests.api.fronting import Caller, FakeEngine, HeldStore, eventually, make_context, on_uvloop, request

FORWARDED = {"x_forwarded_for": "203.0.113.9, 127.0.0.2", "x_forwarded_proto": "https"}


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/wait":
        await asyncio.sleep(3600)
    body = f"{scope['scheme']} {scope['client'][0]}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _listening(*trusted: Network) -> AsyncIterator[tuple[Listening, Front]]:
    context = await make_context(HeldStore(), FakeEngine())
    publisher = Publisher(context, Callers(context), Projects(context))
    front = Front(publisher, Bodies(), RequestIds(), connections_max=10)
    listening = Listening(_echo, front, bind(Address("127.0.0.1", 0)), trusted=trusted)
    await listening.start()
    try:
        yield listening, front
    finally:
        await listening.stop(within_s=0)


@pytest.mark.parametrize(
    ("trusted", "told"),
    [((), b"http 127.0.0.1"), (("127.0.0.0/8",), b"https 203.0.113.9"), (("192.0.2.0/24",), b"http 127.0.0.1")],
)
@on_uvloop
async def test_what_is_said_of_a_client_counts_from_trusted_proxies_only(trusted: tuple[str, ...], told: bytes) -> None:
    async with _listening(*map(ip_network, trusted)) as (listening, _):
        caller = await Caller.to(listening.address.port)
        await caller.say(request(b"", method="GET", path="/", length=False, **FORWARDED))
        assert (await caller.answer())[2] == told
        await caller.close()


@on_uvloop
async def test_idle_connections_end_with_the_server_at_once() -> None:
    async with _listening() as (listening, front):
        caller = await Caller.to(listening.address.port)
        await caller.say(request(b"", method="GET", path="/", length=False))
        await caller.answer()
        await listening.stop(within_s=60)
        assert await caller.rest() == b""
        assert not front.connections
        with pytest.raises(ConnectionRefusedError):
            await Caller.to(listening.address.port)
        await caller.close()


@on_uvloop
async def test_whatever_does_not_end_by_itself_is_ended() -> None:
    async with _listening() as (listening, front):
        waiting, half = await Caller.to(listening.address.port), await Caller.to(listening.address.port)
        await waiting.say(request(b"", method="GET", path="/wait", length=False))
        await half.say(request()[:-5])
        await eventually(lambda: len(front.connections) == 2)
        await listening.stop(within_s=0.05)
        await eventually(lambda: not front.connections)
        assert not listening._server.server_state.tasks
        await waiting.close()
        await half.close()
