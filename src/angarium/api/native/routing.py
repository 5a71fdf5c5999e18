"""Lead each call the same way: who calls, what for, within whose things, the body read strictly; and answer faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from angarium.api.native.bodies import JSON, MERGE_PATCH, read_body
from angarium.api.problems import as_reply, problem, status_of
from angarium.core.scopes import Call, check
from angarium.errors import BadCursor, FieldError
from angarium.model.registry import ApiKey
from angarium.operations.callers import Callers
from angarium.operations.projects import Projects
from angarium.operations.reach import Reach
from angarium.telemetry import REQUEST_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from angarium.api.replies import Reply
    from angarium.clock import Clock

CALL: Final = "x-needs"
"""Where a route says what its caller's key must allow: a member of its OpenAPI description."""

_FOUND_MAX: Final = 60


class Gatekeeper(NamedTuple):
    """What deciding about a call takes."""

    callers: Callers
    projects: Projects
    clock: Clock

    async def caller(self, request: Request) -> ApiKey:
        """Return who calls; `Unauthorized`."""
        shown = request.headers.get("authorization", "")
        return await self.callers.find(shown, now_ms=self.clock.now().wall_ms)


def gatekeeper(request: Request) -> Gatekeeper:
    """Return the gatekeeper of the application that a request came to."""
    keeper: Gatekeeper = request.app.state.gatekeeper
    return keeper


class NativeRoute(APIRoute):
    """A call of the native API."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request, whatever happens."""
        handle = super().get_route_handler()
        call: Call | None = (self.openapi_extra or {}).get(CALL)
        media_types = MERGE_PATCH if "PATCH" in (self.methods or ()) else JSON
        has_body = self.body_field is not None

        async def answer(request: Request) -> Response:
            try:
                _check_query(request)
                if call is not None:
                    await _admit(request, call)
                if has_body:
                    request = _Read(request, await read_body(request, media_types))
                return await handle(request)
            except Exception as error:  # noqa: BLE001  whatever happens is answered
                return as_response(_reply(error, request))

        return answer


class _Read(Request):
    """A request whose body has been read and parsed."""

    def __init__(self, request: Request, document: Any) -> None:  # noqa: ANN401  any JSON
        headers = [field for field in request.scope["headers"] if field[0] != b"content-type"]
        scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
        super().__init__(scope, request.receive)
        self._document = document

    async def body(self) -> bytes:
        """Say that there is one."""
        return b"{}"

    async def json(self) -> Any:  # noqa: ANN401  any JSON
        """Return what it holds."""
        return self._document


def as_response(reply: Reply) -> Response:
    """Return a whole answer as Starlette sends it."""
    return Response(reply.body, reply.status, dict(reply.headers))


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401  any JSON
    """Answer with a document."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")


# -- who and whose -----------------------------------------------------------------------------------------------------


async def _admit(request: Request, call: Call) -> None:
    """Find out who calls and whether they may; `Unauthorized`, `Forbidden`, `NotFound`."""
    caller = await gatekeeper(request).caller(request)
    check(caller, call, request.path_params.get("project", ""))
    request.scope["caller"] = caller


async def _reach(request: Request, project: str) -> Reach:
    caller: ApiKey = request.scope["caller"]
    return Reach(await gatekeeper(request).projects.find(project), caller)


def _caller(request: Request) -> ApiKey:
    caller: ApiKey = request.scope["caller"]
    return caller


InReach = Annotated[Reach, Depends(_reach)]
"""A route's parameter: within whose things it acts."""
Caller = Annotated[ApiKey, Depends(_caller)]
"""A route's parameter: who calls."""


# -- faults ------------------------------------------------------------------------------------------------------------


def _check_query(request: Request) -> None:
    for name, value in request.query_params.multi_items():
        if "\0" in name or "\0" in value:
            raise FieldError(name.replace("\0", "?")[:_FOUND_MAX], "holds the character U+0000; leave it out")


def _reply(error: Exception, request: Request) -> Reply:
    match error:
        case RequestValidationError():
            return reply_to_invalid(error.errors())
        case HTTPException():
            return as_reply(error.status_code, str(error.detail), headers=list((error.headers or {}).items()))
        case BadCursor() if "after" not in request.query_params:
            return as_reply(status_of(error), str(error), faults=[{"field": "before", "detail": str(error)}])
        case _:
            if status_of(error) == 500:
                log_fault(request.scope, error)
            return problem(error)


def log_fault(scope: Any, error: BaseException) -> None:  # noqa: ANN401  an ASGI scope
    """Log a fault of ours."""
    emit(
        REQUEST_FAILED,
        request_id=scope.get("request_id", ""),
        method=scope.get("method", ""),
        path=scope.get("path", ""),
        error=error,
    )


def reply_to_invalid(errors: Sequence[Any]) -> Reply:
    """Answer a request whose members are not what its model says, naming them all."""
    faults = [{"field": _field(error["loc"]), "detail": _detail(error)} for error in errors]
    first = faults[0]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return as_reply(422, f"{first['field'] or 'the body'}: {first['detail']}{more}", faults=faults)


def _field(place: Sequence[str | int]) -> str:
    """Return a field's path such as `batch.max_events`, or the name of a parameter."""
    path = ""
    for step in place[1:]:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def _detail(error: Any) -> str:  # noqa: ANN401  as pydantic gives it
    kind, said = error["type"], str(error["msg"])
    if kind == "extra_forbidden":
        return "is unknown here; remove it, or correct its name"
    if kind == "missing":
        return "is missing"
    expected = said[:1].lower() + said[1:]
    return f"is {_found(error.get('input'))}: {expected}"


def _found(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value[:_FOUND_MAX])
        case int() | float():
            return str(value)[:_FOUND_MAX]
        case dict():
            return "an object"
        case _:
            return "an array"
