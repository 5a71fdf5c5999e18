"""An older API that says what it was given, for tests of what leads to it."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from angarium.api.answering import Answering, status_of_error
from angarium.errors import NotFound
from angarium.operations.callers import Callers
from angarium.operations.context import Context
from angarium.operations.projects import Projects


def build(context: Context, callers: Callers, projects: Projects) -> Answering:
    return Answering(
        [
            Route("/given/{rest:path}", _given, methods=["GET"]),
            Route("/missing", _missing, methods=["GET"]),
            Route("/broken", _broken, methods=["GET"]),
        ],
        _refuse,
    )


async def _given(request: Request) -> Response:
    project = request.scope["served"].project.name
    return JSONResponse([project, request.scope["root_path"], request.path_params["rest"]])


async def _missing(_: Request) -> Response:
    raise NotFound("nothing there")


async def _broken(_: Request) -> Response:
    raise RuntimeError("a fault")


def _refuse(_: Request, error: Exception) -> Response:
    status = status_of_error(error)
    said = "a fault here" if status == 500 else str(error)
    return Response(json.dumps({"echo": said}), status)
