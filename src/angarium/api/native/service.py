"""Route what is asked of the server itself, without a key: its addresses, and what it serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from angarium.api.native import docs, openapi
from angarium.api.native.described import described
from angarium.api.native.parts import Do
from angarium.api.native.routing import NativeRoute, json_response

router = APIRouter(route_class=NativeRoute, strict_content_type=False)


@router.get("/v1/addresses", **described(None, "Service", shows="Addresses"))
async def list_addresses(do: Do) -> Response:
    """List the addresses that pushes come from, as the operator has named them; empty when none are named."""
    return json_response({"addresses": [str(network) for network in do.context.settings.egress_addresses]})


@router.get("/openapi.json", include_in_schema=False)
async def show_openapi(request: Request) -> Response:
    """Return the API as an OpenAPI document."""
    return json_response(_document(request.app))


@router.get("/docs", include_in_schema=False)
async def show_docs(request: Request) -> Response:
    """Return the API as a page for people."""
    return HTMLResponse(docs.page_of(_document(request.app)), headers=docs.HEADERS)


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made when it is first asked for."""
    if app.openapi_schema is None:
        app.openapi_schema = openapi.document_of(app)
    return app.openapi_schema
