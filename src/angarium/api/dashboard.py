"""Answer the 'Dashboard' service's API of registrations, `/dashboard/v1/notifications`, as its clients know it.

Each path is served with and without a slash at its end, without redirect: a client that follows one would turn its
POST into a GET. Members of a body may be spelt in any case, and no content type is needed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from angarium.api.answering import Answering, status_of_error
from angarium.api.native.bodies import parse, read_bytes
from angarium.api.problems import retry_after_s
from angarium.core.scopes import Call
from angarium.errors import Busy, FieldError, Malformed, RateExceeded, StoreAway, Unauthorized
from angarium.operations.dashboard import Registrations
from angarium.operations.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects

_ALL = "/dashboard/v1/notifications"
_ONE = _ALL + "/{id}"
_STATUS = "/dashboard/v1/status"


def build(context: Context, callers: Callers, _: Projects) -> Answering:
    """Return what answers for all projects of the dialect."""
    api = _Api(Registrations(context, callers))
    paths: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
        _ALL: {"GET": api.list_all, "POST": api.add, "DELETE": api.remove_none},
        _ONE: {"GET": api.show, "DELETE": api.remove},
        _STATUS: {"GET": api.condition},
    }
    return Answering([_route(path + slash, calls) for path, calls in paths.items() for slash in ("", "/")], _refuse)


def _route(path: str, calls: dict[str, Callable[[Request], Awaitable[Response]]]) -> Route:
    """Return one route for all methods of a path, so that a 405 names them all."""

    async def answer(request: Request) -> Response:
        return await calls["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(calls))


class _Api:
    """The calls."""

    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations

    async def list_all(self, request: Request) -> Response:
        return _json(await self._registrations.listed(await self._reach(request, Call.READ)))

    async def add(self, request: Request) -> Response:
        reach = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        body = await read_bytes(request)
        if not body.strip():
            raise Malformed("the body is empty, expected an object with url, country and event")
        address = request.client.host if request.client else ""
        return _json({"id": await self._registrations.add(reach, parse(body), address=address)}, 201)

    async def remove_none(self, _: Request) -> Response:
        raise FieldError("", "the id is missing; put it at the path's end")

    async def show(self, request: Request) -> Response:
        reach = await self._reach(request, Call.READ)
        return _json(await self._registrations.get(reach, request.path_params["id"]))

    async def remove(self, request: Request) -> Response:
        reach = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        with contextlib.suppress(StoreAway):  # "Both success and error will return 204".
            await self._registrations.remove(reach, request.path_params["id"])
        return Response(status_code=204)

    async def condition(self, request: Request) -> Response:
        return _json(await self._registrations.condition(await self._reach(request, Call.READ)))

    async def _reach(self, request: Request, call: Call) -> Reach:
        shown = request.headers.get("authorization", "")
        return await self._registrations.reach(request.scope["served"], shown, call)


def _refuse(_: Request, error: Exception) -> Response:
    """Say what went wrong as the service does."""
    status, text = status_of_error(error), str(error)
    headers = {"x-content-type-options": "nosniff"}
    match error:
        case _ if status == 500:
            text = "the server has a fault here"
        case HTTPException():
            text = "there is nothing here" if status == 404 else "this method is not allowed here"
            headers.update(error.headers or {})
        case FieldError(field=field, detail=detail) if field:
            text = f"field '{field.removeprefix('options.')}' {detail}"
        case RateExceeded() | Busy() | StoreAway():
            headers["retry-after"] = str(retry_after_s(error))
        case Unauthorized():
            headers["www-authenticate"] = "Bearer"
        case _:
            pass
    return _json({"message": text}, status, headers)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401  any JSON
    return Response(msgspec.json.encode(document), status, headers, "application/json")
