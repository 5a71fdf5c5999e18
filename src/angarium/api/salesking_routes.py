"""Route SalesKing's paths, which may end in a slash or in `.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    Calls = dict[str, Callable[[Request], Awaitable[Response]]]
    """What answers each method of a path."""


def route(path: str, calls: Calls, *, with_head: bool = True) -> Route:
    """Return one route for all methods of a path, so that a 405 names them all.

    Without HEAD where a GET is good once: who only looks ahead must not use it up.
    """

    async def answer(request: Request) -> Response:
        return await calls["GET" if request.method == "HEAD" else request.method](request)

    found = Route(path, answer, methods=list(calls))
    found.methods = found.methods if with_head else set(calls)
    return found


class Forked:
    """Lead what lies below a prefix to one application, and the rest to another, each path without its suffix."""

    def __init__(self, prefix: str, below: ASGIApp, rest: ASGIApp) -> None:
        self._prefix, self._below, self._rest = prefix, below, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        app = self._below if scope["path"].startswith(self._prefix) else self._rest
        await app({**scope, "path": scope["path"].removesuffix("/").removesuffix(".json")}, receive, send)
