"""Route what is asked of objects: one as it stands, and all of a kind."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from angarium.api.native import shown
from angarium.api.native.described import described
from angarium.api.native.models import ObjectPage, ObjectQuery
from angarium.api.native.parts import Do
from angarium.api.native.routing import InReach, NativeRoute, json_response
from angarium.core.scopes import Call

router = APIRouter(route_class=NativeRoute, strict_content_type=False)

_ALL = "/v1/projects/{project}/objects/{object}"
_TAG = "Objects"

_Kind = Annotated[str, Path(alias="object")]


@router.get(_ALL, **described(Call.READ, _TAG, shows="ObjectList", problems=(409,)))
async def list_objects(do: Do, reach: InReach, object_: _Kind, query: Annotated[ObjectPage, Query()]) -> Response:
    """List a tenant's objects of one kind as they stand, in the order of their ids."""
    found = await do.objects.listed(reach, object_, tenant=query.tenant, limit=query.limit, after=query.after)
    return json_response(shown.listing(found, partial(shown.object_state, do.context.ids)))


@router.get(_ALL + "/{object_id:path}", **described(Call.READ, _TAG, shows="Object", problems=(409,)))
async def get_object(
    do: Do, reach: InReach, object_: _Kind, object_id: str, query: Annotated[ObjectQuery, Query()]
) -> Response:
    """Show an object as it stands."""
    found = await do.objects.get(reach, object_, object_id, tenant=query.tenant)
    return json_response(shown.object_state(do.context.ids, found))
