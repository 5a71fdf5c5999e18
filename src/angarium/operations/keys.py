"""Make, list and delete API keys. A key itself is shown once and kept as its digest only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from angarium.core.scopes import Call, check
from angarium.errors import FieldError, NotFound
from angarium.model.registry import ApiKey, Scope
from angarium.operations.callers import digest_of, make_token
from angarium.operations.reach import check_tenant
from angarium.store.paging import select, window
from angarium.telemetry import KEY_DELETED, KEY_MADE, emit

if TYPE_CHECKING:
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.store.contract import Listing, Page

PREFIX: Final = "key_"


class NewKey(Struct, frozen=True):
    """A key that has just been made, with what its holder shows."""

    key: ApiKey
    token: str


class Keys:
    """Keep the keys."""

    def __init__(self, context: Context, callers: Callers) -> None:
        self._context = context
        self._store = context.store
        self._callers = callers

    async def create(
        self,
        reach: Reach,
        scope: Scope,
        *,
        tenant: str | None = None,
        name: str = "",
        expires_in_s: int | None = None,
        actor: dict[str, Any] | None = None,
    ) -> NewKey:
        """Make a key of a project; one of scope `admin` belongs to none. `Forbidden` for more than a tenant's key."""
        if scope is not Scope.TENANT:
            check(reach.caller, Call.MAKE_KEY, reach.project)
        if tenant is not None and scope is not Scope.TENANT:
            raise FieldError("tenant", f"is given, but a {scope} key is of no one tenant; remove it")
        owner = check_tenant(reach.owner(tenant)) if scope is Scope.TENANT else ""
        now_ms, number, token = self._context.clock.now().wall_ms, await self._store.number("key"), make_token()
        made = ApiKey(
            number=number,
            id=self._context.ids.numbered(PREFIX, number, now_ms),
            digest=digest_of(token),
            scope=scope,
            created_ms=now_ms,
            project="" if scope is Scope.ADMIN else reach.project,
            tenant=owner,
            name=name,
            expires_ms=None if expires_in_s is None else now_ms + expires_in_s * 1000,
            actor=b"" if actor is None else msgspec.json.encode(actor),
        )
        await self._store.put_key(made)
        emit(KEY_MADE, id=made.id, scope=made.scope.value, project=made.project, tenant=made.tenant)
        return NewKey(made, token)

    async def listed(self, reach: Reach, page: Page) -> Listing[ApiKey]:
        """List a project's keys and those that belong to no project, the newest first."""
        wanted = window("keys", page)
        more = replace(page, limit=page.limit + 1)
        found = [await self._store.keys(project, more) for project in (reach.project, "")]
        held = [key for listing in found for key in listing.data]
        return select(wanted, held, lambda key: (key.number,))

    async def get(self, reach: Reach, id_: str) -> ApiKey:
        """Return a key's record."""
        number = self._context.ids.number(PREFIX, id_)
        found = await self._store.key(number) if number is not None else None
        if found is None or found.id != id_ or found.project not in {reach.project, ""}:
            raise NotFound(f"there is no key {id_[:80]!r} here")
        return found

    async def delete(self, reach: Reach, id_: str) -> None:
        """Delete a key: it works no more from now on."""
        found = await self.get(reach, id_)
        await self._store.delete_key(found.number)
        self._callers.forget(found.number)
        emit(KEY_DELETED, id=found.id, scope=found.scope.value, project=found.project, tenant=found.tenant)
