"""Route what is asked of projects, tenants and keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from angarium.api.native import shown
from angarium.api.native.described import described
from angarium.api.native.models import DryRunQuery, KeyAsked, PageQuery, ProjectAsked, TenantAsked
from angarium.api.native.parts import Do
from angarium.api.native.routing import Caller, InReach, NativeRoute, json_response
from angarium.core.scopes import Call, may
from angarium.model.registry import Scope
from angarium.store.contract import Page

router = APIRouter(route_class=NativeRoute, strict_content_type=False)

_PROJECT = "/v1/projects/{project}"
_TENANTS = _PROJECT + "/tenants"
_TENANT = _TENANTS + "/{tenant:path}"
_KEYS = _PROJECT + "/keys"
_KEY = _KEYS + "/{key}"


def page_of(query: PageQuery) -> Page:
    """Return the page that a query asks for."""
    return Page(query.limit, query.after, query.before)


# -- projects ----------------------------------------------------------------------------------------------------------


@router.get("/v1/projects", **described(Call.ADMIN, "Projects", shows="ProjectList"))
async def list_projects(do: Do, query: Annotated[PageQuery, Query()]) -> Response:
    """List the projects, the newest first."""
    return json_response(shown.listing(await do.projects.listed(page_of(query)), shown.project))


@router.put(_PROJECT, **described(Call.CHANGE_PROJECT, "Projects", shows="Project", also=201, problems=(409,)))
async def put_project(
    do: Do, caller: Caller, project: str, asked: ProjectAsked, query: Annotated[DryRunQuery, Query()]
) -> Response:
    """Create a project, or replace what is said of it."""
    given = asked.given()
    if query.dry_run:
        written, is_new = await do.projects.preview(project, given)
    else:
        written, is_new = await do.projects.put(project, given, by=caller.id)
    return json_response(shown.project(written), 201 if is_new else 200)


@router.get(_PROJECT, **described(Call.READ_CATALOGUE, "Projects", shows="Project"))
async def get_project(reach: InReach) -> Response:
    """Show a project; a `tenant` key sees it without its settings."""
    return json_response(shown.project(reach.served.project, with_settings=may(reach.caller, Call.READ_REGISTRY)))


@router.patch(_PROJECT, **described(Call.CHANGE_PROJECT, "Projects", shows="Project", problems=(409,)))
async def patch_project(do: Do, reach: InReach, asked: ProjectAsked) -> Response:
    """Change a project (JSON Merge Patch)."""
    return json_response(shown.project(await do.projects.patch(reach.project, asked.given(), by=reach.by)))


@router.delete(_PROJECT, **described(Call.CHANGE_PROJECT, "Projects", status=204))
async def delete_project(do: Do, reach: InReach) -> Response:
    """Delete a project with its keys, tenants, jobs and subscriptions."""
    await do.projects.delete(reach.project, by=reach.by)
    return Response(status_code=204)


# -- tenants -----------------------------------------------------------------------------------------------------------


@router.get(_TENANTS, **described(Call.READ_REGISTRY, "Tenants", shows="TenantList"))
async def list_tenants(do: Do, reach: InReach, query: Annotated[PageQuery, Query()]) -> Response:
    """List a project's tenants, the newest first."""
    return json_response(shown.listing(await do.tenants.listed(reach, page_of(query)), shown.tenant))


@router.put(
    _TENANT,
    **described(Call.MANAGE_REGISTRY, "Tenants", shows="Tenant", also=201),
)
async def put_tenant(do: Do, reach: InReach, tenant: str, asked: TenantAsked) -> Response:
    """Create a tenant, or replace what is said of it; one also comes into being with its first event."""
    written, is_new = await do.tenants.put(reach, tenant, title=asked.title or "", attributes=asked.attributes or {})
    return json_response(shown.tenant(written), 201 if is_new else 200)


@router.get(_TENANT, **described(Call.READ_REGISTRY, "Tenants", shows="Tenant"))
async def get_tenant(do: Do, reach: InReach, tenant: str) -> Response:
    """Show a tenant."""
    return json_response(shown.tenant(await do.tenants.get(reach, tenant)))


# -- keys --------------------------------------------------------------------------------------------------------------


@router.post(_KEYS, **described(Call.MAKE_TENANT_KEY, "Keys", shows="NewKey", status=201))
async def create_key(do: Do, reach: InReach, asked: KeyAsked) -> Response:
    """Make a key; it is shown here and nowhere else."""
    made = await do.keys.create(
        reach,
        Scope(asked.scope),
        tenant=asked.tenant,
        name=asked.name or "",
        expires_in_s=asked.expires_in,
        actor=asked.actor,
    )
    return json_response(shown.key(made.key, made.token), 201)


@router.get(_KEYS, **described(Call.READ_KEYS, "Keys", shows="KeyList"))
async def list_keys(do: Do, reach: InReach, query: Annotated[PageQuery, Query()]) -> Response:
    """List a project's keys, the newest first, without the keys themselves."""
    found = await do.keys.listed(reach, page_of(query))
    return json_response(shown.listing(found, shown.key))


@router.get(_KEY, **described(Call.READ_KEYS, "Keys", shows="Key"))
async def get_key(do: Do, reach: InReach, key: str) -> Response:
    """Show what is known of a key."""
    return json_response(shown.key(await do.keys.get(reach, key)))


@router.delete(_KEY, **described(Call.MAKE_KEY, "Keys", status=204))
async def delete_key(do: Do, reach: InReach, key: str) -> Response:
    """Delete a key: it works no more from now on."""
    await do.keys.delete(reach, key)
    return Response(status_code=204)
