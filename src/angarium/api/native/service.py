"""Route what is asked of the server itself, without a key."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from angarium.api.native.described import described
from angarium.api.native.parts import Do
from angarium.api.native.routing import NativeRoute, json_response

router = APIRouter(route_class=NativeRoute, strict_content_type=False)


@router.get("/v1/addresses", **described(None, "Service", shows="Addresses"))
async def list_addresses(do: Do) -> Response:
    """List the addresses that pushes come from, as the operator has named them; empty when none are named."""
    return json_response({"addresses": [str(network) for network in do.context.settings.egress_addresses]})
