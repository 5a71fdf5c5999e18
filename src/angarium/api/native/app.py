"""Put the native API together: its routes, what answers when there is none, and a name for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from angarium import __version__
from angarium.api.front import RequestIds
from angarium.api.native import apps, deliveries, objects, registry, service, subscriptions
from angarium.api.native.parts import Operations
from angarium.api.native.routing import Gatekeeper, as_response, log_fault
from angarium.api.problems import as_reply, problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects

REQUEST_ID: Final = b"x-request-id"
_ROUTERS: Final = (
    registry.router,
    apps.router,
    subscriptions.router,
    deliveries.router,
    objects.router,
    service.router,
)


def build_native(context: Context, callers: Callers, projects: Projects) -> Named:
    """Return the ASGI application that answers everything but the hot publish route."""
    app = FastAPI(
        title="Angarium",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={HTTPException: _refused},
    )
    app.state.gatekeeper = Gatekeeper(callers, projects, context.clock)
    app.state.operations = Operations.of(context, callers, projects)
    for router in _ROUTERS:
        app.include_router(router)
    return Named(app)


async def _refused(_: Request, error: Exception) -> Response:
    """Answer what has no route, or not with this method."""
    assert isinstance(error, HTTPException)
    return as_response(as_reply(error.status_code, str(error.detail), headers=list((error.headers or {}).items())))


class Named:
    """Name each request that has no name yet, say its name in the answer, and answer whatever else goes wrong."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        added: list[tuple[bytes, bytes]] = []
        if "request_id" not in scope:
            given = next((value for name, value in scope["headers"] if name == REQUEST_ID), None)
            added = [(REQUEST_ID, self._ids.of(given))]
            scope["request_id"] = added[0][1].decode("ascii")
        has_begun = False

        async def named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            await self.app(scope, receive, named)
        except Exception as error:
            log_fault(scope, error)
            if has_begun:
                raise
            await as_response(problem(error))(scope, receive, named)
