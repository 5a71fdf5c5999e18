"""Answer for an older API: routes without detours, and whatever goes wrong told in that system's own words.

Neither is a matter of course with Starlette: it redirects from a path to the same with a slash, and tells a fault of
ours in words of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Router

from angarium.api.problems import status_of
from angarium.telemetry import REQUEST_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import Message, Receive, Scope, Send


class Answering:
    """The ASGI application of some routes. `refuse` is asked for the answer to a request that met an error.

    That is an `AngariumError`, an `HTTPException` (no such route 404, not with this method 405), or a fault of ours,
    which has been logged then; `status_of_error` tells them apart.
    """

    def __init__(self, routes: Sequence[BaseRoute], refuse: Callable[[Request, Exception], Response]) -> None:
        self._router = Router(routes, redirect_slashes=False)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        scope = {**scope, "app": self}  # Without one, Starlette answers in its own words what has no route.
        try:
            await self._router(scope, receive, noted)
        except Exception as error:
            if has_begun:
                raise
            if status_of_error(error) == 500:
                emit(
                    REQUEST_FAILED,
                    request_id=scope.get("request_id", ""),
                    method=scope["method"],
                    path=f"{scope.get('root_path', '')}{scope['path']}",
                    error=error,
                )
            await self._refuse(Request(scope, receive), error)(scope, receive, send)


def status_of_error(error: Exception) -> int:
    """Return the status that an error is answered with, unless the older API has another for it."""
    return error.status_code if isinstance(error, HTTPException) else status_of(error)
