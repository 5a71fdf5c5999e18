"""Route what is asked of apps and grants: third parties' programs, and what users allow them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from angarium.api.native import shown
from angarium.api.native.described import described
from angarium.api.native.models import (
    AppAsked,
    AppSecretAsked,
    GrantAsked,
    GrantChange,
    GrantPage,
    PageQuery,
)
from angarium.api.native.parts import Do
from angarium.api.native.registry import page_of
from angarium.api.native.routing import InReach, NativeRoute, json_response
from angarium.core.scopes import Call
from angarium.operations.grants import GrantTerms

router = APIRouter(route_class=NativeRoute, strict_content_type=False)

_APPS = "/v1/projects/{project}/apps"
_APP = _APPS + "/{app}"
_GRANTS = "/v1/projects/{project}/grants"
_GRANT = _GRANTS + "/{grant}"
_TAG = "Apps"


# -- apps --------------------------------------------------------------------------------------------------------------


@router.post(_APPS, **described(Call.MANAGE_REGISTRY, _TAG, shows="NewApp", status=201))
async def create_app(do: Do, reach: InReach, asked: AppAsked) -> Response:
    """Make an app. Its secret is shown here and nowhere else."""
    made = await do.apps.create(
        reach, name=asked.name, url=asked.url, redirect_uri=asked.redirect_uri or "", secret=asked.secret
    )
    return json_response(shown.app(made.app, made.secret), 201)


@router.get(_APPS, **described(Call.READ_REGISTRY, _TAG, shows="AppList"))
async def list_apps(do: Do, reach: InReach, query: Annotated[PageQuery, Query()]) -> Response:
    """List a project's apps, the newest first."""
    return json_response(shown.listing(await do.apps.listed(reach, page_of(query)), shown.app))


@router.get(_APP, **described(Call.READ_REGISTRY, _TAG, shows="App"))
async def get_app(do: Do, reach: InReach, app: str) -> Response:
    """Show an app."""
    return json_response(shown.app(await do.apps.get(reach, app)))


@router.delete(_APP, **described(Call.MANAGE_REGISTRY, _TAG, status=204))
async def delete_app(do: Do, reach: InReach, app: str) -> Response:
    """Delete an app: its tokens work no more, and its subscriptions go."""
    await do.apps.delete(reach, app)
    return Response(status_code=204)


@router.post(_APP + "/secret/rotate", **described(Call.MANAGE_REGISTRY, _TAG, shows="NewSecret"))
async def rotate_app_secret(do: Do, reach: InReach, app: str, asked: AppSecretAsked) -> Response:
    """Make a new secret, shown here and nowhere else; the next push is signed with it alone."""
    return json_response({"secret": await do.apps.rotate(reach, app, secret=asked.secret)})


# -- grants ------------------------------------------------------------------------------------------------------------


@router.post(_GRANTS, **described(Call.MANAGE_REGISTRY, _TAG, shows="NewGrant", status=201))
async def create_grant(do: Do, reach: InReach, asked: GrantAsked) -> Response:
    """Grant an app what a user allows it. Its access token, or the code for it, is shown here and nowhere else."""
    terms = GrantTerms(
        app=asked.app,
        user=asked.user,
        tenant=asked.tenant,
        scope=asked.scope,
        permissions=None if asked.permissions is None else tuple(asked.permissions),
        sub_domain=asked.sub_domain or "",
        email=asked.email or "",
        expires_in_s=asked.expires_in,
        redirect_uri=asked.redirect_uri or "",
        challenge=asked.code_challenge or "",
    )
    return json_response(shown.grant(await do.grants.create(reach, terms, with_code=bool(asked.code))), 201)


@router.get(_GRANTS, **described(Call.READ_REGISTRY, _TAG, shows="GrantList"))
async def list_grants(do: Do, reach: InReach, query: Annotated[GrantPage, Query()]) -> Response:
    """List a project's grants, the newest first."""
    return json_response(shown.listing(await do.grants.listed(reach, page_of(query), app=query.app), shown.grant))


@router.get(_GRANT, **described(Call.READ_REGISTRY, _TAG, shows="Grant"))
async def get_grant(do: Do, reach: InReach, grant: str) -> Response:
    """Show a grant."""
    return json_response(shown.grant(await do.grants.get(reach, grant)))


@router.patch(_GRANT, **described(Call.MANAGE_REGISTRY, _TAG, shows="Grant"))
async def patch_grant(do: Do, reach: InReach, grant: str, asked: GrantChange) -> Response:
    """Change what the user may do: what is matched from now on goes by it; null stands for all there is."""
    if "permissions" not in asked.model_fields_set:
        return json_response(shown.grant(await do.grants.get(reach, grant)))
    return json_response(shown.grant(await do.grants.change(reach, grant, permissions=asked.permissions)))


@router.delete(_GRANT, **described(Call.MANAGE_REGISTRY, _TAG, status=204))
async def delete_grant(do: Do, reach: InReach, grant: str) -> Response:
    """Revoke a grant: its token works no more, and its subscriptions go."""
    await do.grants.revoke(reach, grant)
    return Response(status_code=204)
