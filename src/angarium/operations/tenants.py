"""Keep the tenants: most come into being with their first event, some are told of beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from angarium.errors import NotFound
from angarium.model.registry import Tenant
from angarium.operations.reach import check_tenant

if TYPE_CHECKING:
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.store.contract import Listing, Page


class Tenants:
    """Keep the tenants of projects."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._store = context.store

    async def put(self, reach: Reach, name: str, *, title: str, attributes: dict[str, Any]) -> tuple[Tenant, bool]:
        """Create or replace a tenant; return it, and whether it is new."""
        check_tenant(reach.owner(name), field="tenant")
        tenant = Tenant(reach.project, name, self._clock.now().wall_ms, title, attributes)
        present = await self._store.tenant(reach.project, name)
        if present is not None:
            tenant = replace(tenant, created_ms=present.created_ms)
        return tenant, await self._store.put_tenant(tenant)

    async def get(self, reach: Reach, name: str) -> Tenant:
        """Return a tenant."""
        found = await self._store.tenant(reach.project, reach.owner(name))
        if found is None:
            raise NotFound(f"there is no tenant {name[:80]!r} here")
        return found

    async def listed(self, reach: Reach, page: Page) -> Listing[Tenant]:
        """List a project's tenants, the newest first."""
        return await self._store.tenants(reach.project, page)
