"""Send as the engine does, and wait for what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from angarium.egress import CurlSender
from angarium.model.wire import NoResponse, Request, Response
from angarium.settings import Allowance

LOOPBACK = (Allowance(ip_network("127.0.0.0/8"), 1, 65_535), Allowance(ip_network("::1"), 1, 65_535))


@asynccontextmanager
async def sender(*, allowances: Sequence[Allowance] = LOOPBACK, **settings: Any) -> AsyncIterator[CurlSender]:
    """Run a sender that may reach loopback."""
    running = CurlSender(allowances=allowances, **settings)
    await running.open()
    try:
        yield running
    finally:
        await running.close()


def begin(
    via: CurlSender,
    url: str,
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    timeout_s: float = 30.0,
    owner: str = "ada",
    allow_http: bool = False,
    may_send: Callable[[], bool] | None = None,
) -> asyncio.Future[Response | NoResponse]:
    """Post a request; the future has what came of it, and fails if that is told twice."""
    ended: asyncio.Future[Response | NoResponse] = asyncio.get_running_loop().create_future()
    request = Request(method, url, headers, body)
    via.post(request, timeout_s=timeout_s, allow_http=allow_http, owner=owner, done=ended.set_result, may_send=may_send)
    return ended


async def post(via: CurlSender, url: str, **what: Any) -> Response | NoResponse:
    """Post a request, and return what came of it."""
    async with asyncio.timeout(60):
        return await begin(via, url, **what)
