"""Keep third parties' programs and what their users allow them, and words that may be used once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from angarium.model.registry import App, Grant
from angarium.store import bodies
from angarium.store.paging import window
from angarium.store.postgres.packed import Packed, by_number, number_of
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from angarium.store.contract import Listing, Page
    from angarium.store.postgres.transaction import Transaction


class Apps(Packed):
    """The apps' part of the store."""

    async def put_app(self, app: App) -> None:
        """Create or replace an app."""
        await self._alter("put_app", number=app.number, project=app.project.encode(), body=bodies.pack(app))

    async def app(self, number: int) -> App | None:
        """Return an app."""
        return await self._first(App, "app", number=number)

    async def apps(self, project: str, page: Page) -> Listing[App]:
        """List a project's apps, newest first."""
        wanted = window("apps", page)
        return await self._list(App, "apps", wanted, {"project": project.encode(), **by_number(wanted)}, number_of)

    async def delete_app(self, number: int) -> bool:
        """Delete an app and its grants."""

        async def delete(transaction: Transaction) -> bool:
            await run(transaction.connection, "delete_grants_of", app=number)
            is_gone = await value(transaction.connection, "delete_app", number=number) is not None
            await transaction.count_change()
            return is_gone

        return await self._change(delete)

    async def put_grant(self, grant: Grant) -> None:
        """Create or replace a grant."""
        await self._alter(
            "put_grant",
            number=grant.number,
            project=grant.project.encode(),
            app=grant.app,
            digest=grant.digest,
            code=grant.code,
            expires_ms=grant.expires_ms,
            body=bodies.pack(grant),
        )

    async def grant(self, number: int) -> Grant | None:
        """Return a grant."""
        return await self._first(Grant, "grant", number=number)

    async def grant_of(self, digest: bytes) -> Grant | None:
        """Return the grant whose access token, or whose code, has this digest."""
        by_token = await self._first(Grant, "grant_by_token", digest=digest)
        return by_token or await self._first(Grant, "grant_by_code", digest=digest)

    async def grants(self, project: str, page: Page, *, app: int | None = None) -> Listing[Grant]:
        """List a project's grants, newest first."""
        wanted = window("grants", page)
        asked: dict[str, Any] = {"project": project.encode(), **by_number(wanted)}
        if app is None:
            return await self._list(Grant, "grants", wanted, asked, number_of)
        return await self._list(Grant, "grants_of_app", wanted, {"app": app, **asked}, number_of)

    async def grants_until(self, before_ms: int, *, limit: int) -> Sequence[Grant]:
        """Return grants that expire before a moment."""
        return await self._all(Grant, "grants_until", before_ms=before_ms, limit=limit)

    async def delete_grant(self, number: int) -> bool:
        """Delete a grant."""
        return await self._alter("delete_grant", number=number)

    async def take_once(self, name: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a word that may be used once."""
        async with self._reading() as connection:
            taken = await value(connection, "take_once", name=name.encode(), now=now_ms, until=until_ms)
        return taken is not None
