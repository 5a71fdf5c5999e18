"""Keep the grants: what a user of a tenant allows an app, with the access token that stands for it.

A token is kept as its digest, to be found by, and encrypted, since pushes carry it. A grant may begin with a code
instead, which the app exchanges for the token. When a grant ends, by a person or by its time, its subscriptions do.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.granting import read_scope
from angarium.core.matching import check_types
from angarium.errors import FieldError, NotFound
from angarium.model.registry import ApiKey, App, Grant, Scope
from angarium.operations.binding import GRANT_PREFIX, bring_up_to_date, remove_all
from angarium.operations.callers import digest_of
from angarium.operations.context import GRANTING
from angarium.operations.reach import Reach, check_tenant
from angarium.store.contract import Listing, Page
from angarium.telemetry import GRANT_CHANGED, GRANT_REVOKED, emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.operations.context import Context
    from angarium.operations.projects import Served

EXPIRES_IN_S: Final = 30 * 86_400
"""How long a token lives, unless the project's `login` or the grant says otherwise."""
CODE_LASTS_S: Final = 600
"""How long an app may take to exchange a code. RFC 6749, section 4.1.2."""

_PAGE: Final = 250


class GrantTerms(Struct, frozen=True):
    """What is granted: by whom, to which app, for how long (None: as the project says), and how its code is bound."""

    app: str
    user: str
    tenant: str | None = None
    scope: str | None = None
    permissions: tuple[str, ...] | None = None
    sub_domain: str = ""
    email: str = ""
    expires_in_s: int | None = None
    redirect_uri: str = ""
    challenge: str = ""


class Granted(Struct, frozen=True):
    """A grant with its app; `token` or `code` when it has just been made."""

    grant: Grant
    app: App
    token: str | None = None
    code: str | None = None


class Grants:
    """Keep the grants of projects."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store

    async def create(self, reach: Reach, terms: GrantTerms, *, with_code: bool = False) -> Granted:
        """Make a grant, with its token or with a code for it."""
        scope, permissions = _check_scope(terms.scope), check_permissions(terms.permissions)
        tenant = check_tenant(reach.owner(terms.tenant))
        check_tenant(terms.user, field="user")
        async with self._context.store.alone(GRANTING):
            app = await self._app(reach, terms.app)
            number, now_ms = await self._store.number("grant"), self._context.clock.now().wall_ms
            made = Grant(
                number=number,
                id=self._context.ids.numbered(GRANT_PREFIX, number, now_ms),
                project=reach.project,
                app=app.number,
                tenant=tenant,
                user=terms.user,
                created_ms=now_ms,
                expires_ms=now_ms,
                scope=scope,
                permissions=permissions,
                sub_domain=terms.sub_domain,
                email=terms.email,
            )
            expires_in_s = _lasts_s(reach.served) if terms.expires_in_s is None else terms.expires_in_s
            if with_code:
                granted = self._with_code(made, app, terms, expires_in_s)
            else:
                granted = with_token(self._context, made, app, expires_in_s)
            await self._store.put_grant(granted.grant)
        tell_changed(granted.grant, app, by=reach.by)
        return granted

    async def listed(self, reach: Reach, page: Page, *, app: str | None = None) -> Listing[Granted]:
        """List a project's grants, or an app's, the newest first."""
        number = None if app is None else (await self._app(reach, app, field="app")).number
        found = await self._store.grants(reach.project, page, app=number)
        apps = {each: await self._store.app(each) for each in {grant.app for grant in found.data}}
        data = [Granted(grant, held) for grant in found.data if (held := apps[grant.app]) is not None]
        return Listing(data, found.next, found.prev)

    async def get(self, reach: Reach, id_: str) -> Granted:
        """Return a grant; `NotFound`."""
        number = self._context.ids.number(GRANT_PREFIX, id_)
        found = await self._store.grant(number) if number is not None else None
        app = await self._store.app(found.app) if found is not None else None
        if found is None or app is None or found.id != id_ or found.project != reach.project:
            raise NotFound(f"there is no grant {id_[:80]!r} here")
        return Granted(found, app)

    async def change(self, reach: Reach, id_: str, *, permissions: Sequence[str] | None) -> Granted:
        """Change what a grant's user may do (None: everything): what is matched from now on goes by it."""
        checked = check_permissions(permissions)
        async with self._context.store.alone(GRANTING):
            found = await self.get(reach, id_)
            changed = replace(found, grant=replace(found.grant, permissions=checked))
            # Should this be cut short, the grant must not tell of what its subscriptions do not know.
            await bring_up_to_date(self._context, reach, changed.grant, changed.app)
            await self._store.put_grant(changed.grant)
            # Who was just changing one may have read the grant as it was.
            await bring_up_to_date(self._context, reach, changed.grant, changed.app)
        tell_changed(changed.grant, changed.app, by=reach.by)
        return changed

    async def revoke(self, reach: Reach, id_: str) -> None:
        """End a grant: its token works no more, and its subscriptions go."""
        async with self._context.store.alone(GRANTING):
            found = await self.get(reach, id_)
            await end_grant(self._context, reach, found.grant, reason="it was revoked")

    async def _app(self, reach: Reach, id_: str, *, field: str = "app") -> App:
        from angarium.operations.apps import find_app  # noqa: PLC0415  which ends grants, and so imports this module

        try:
            return await find_app(self._context, reach.project, id_)
        except NotFound as error:
            raise FieldError(field, str(error)) from error

    def _with_code(self, grant: Grant, app: App, terms: GrantTerms, expires_in_s: int) -> Granted:
        code = secrets.token_urlsafe(32)
        until_ms = grant.created_ms + CODE_LASTS_S * 1000
        bound: dict[str, Any] = {
            "redirect_uri": terms.redirect_uri,
            "challenge": terms.challenge,
            "expires_in": expires_in_s,
        }
        pending = replace(grant, code=digest_of(code), code_expires_ms=until_ms, code_terms=bound, expires_ms=until_ms)
        return Granted(pending, app, code=code)


def with_token(context: Context, grant: Grant, app: App, expires_in_s: int) -> Granted:
    """Return a grant with a new access token, good from now on for so many seconds."""
    token = secrets.token_hex(16)
    sealed = context.vault.seal(token.encode(), context=b"grant:%d" % grant.number)
    expires_ms = context.clock.now().wall_ms + expires_in_s * 1000
    return Granted(replace(grant, digest=digest_of(token), token=sealed, expires_ms=expires_ms), app, token=token)


async def grant_of_token(context: Context, project: str, token: str) -> Grant | None:
    """Return the grant whose access token this is, None when there is none or it has expired."""
    digest = digest_of(token)
    found = await context.store.grant_of(digest)
    if found is None or found.project != project or not secrets.compare_digest(found.digest, digest):
        return None
    return found if context.clock.now().wall_ms < found.expires_ms else None


async def grants_of(context: Context, app: App) -> Sequence[Grant]:
    """Return all grants of an app."""
    found: list[Grant] = []
    after: str | None = None
    while True:
        listing = await context.store.grants(app.project, Page(limit=_PAGE, after=after), app=app.number)
        found.extend(listing.data)
        after = listing.next
        if after is None:
            return found


async def end_grant(context: Context, reach: Reach, grant: Grant, *, reason: str) -> None:
    """End a grant with its subscriptions; whoever calls holds `GRANTING`."""
    await remove_all(context, reach, grant)
    await context.store.delete_grant(grant.number)
    await remove_all(context, reach, grant)  # Who was just subscribing may have come between.
    emit(
        GRANT_REVOKED,
        grant=grant.id,
        project=grant.project,
        tenant=grant.tenant,
        reason=reason,
        by=reach.by,
    )


def tell_changed(grant: Grant, app: App, *, by: str) -> None:
    """Say that a grant was made or changed."""
    emit(GRANT_CHANGED, grant=grant.id, app=app.id, project=grant.project, tenant=grant.tenant, by=by)


def own_reach(served: Served, by: str) -> Reach:
    """Return the reach of the server itself in a project."""
    return Reach(served, ApiKey(0, by, b"", Scope.ADMIN, 0))


def check_permissions(permissions: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return what a user may do; `FieldError` for what is no event type."""
    return None if permissions is None else check_types(permissions, field="permissions") if permissions else ()


def _check_scope(scope: str | None) -> str | None:
    if scope is not None:
        read_scope(scope)
    return scope


def _lasts_s(served: Served) -> int:
    return int(served.project.settings.get("login", {}).get("expires_in", EXPIRES_IN_S))
