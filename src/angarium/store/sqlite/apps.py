"""Keep third parties' programs and what their users allow them, and words that may be used once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from angarium.model.registry import App, Grant
from angarium.store import bodies
from angarium.store.paging import window
from angarium.store.sqlite.packed import Packed, by_number, number_of
from angarium.store.sqlite.statements import first, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from angarium.store.contract import Listing, Page
    from angarium.store.sqlite.transaction import Transaction


class Apps(Packed):
    """The apps' part of the store."""

    async def put_app(self, app: App) -> None:
        """Create or replace an app."""
        await self._run("put_app", app.number, app.project, bodies.pack(app))

    async def app(self, number: int) -> App | None:
        """Return an app."""
        return await self._first(App, "app", number)

    async def apps(self, project: str, page: Page) -> Listing[App]:
        """List a project's apps, newest first."""
        wanted = window("apps", page)
        return await self._list(App, "apps", wanted, {"project": project, **by_number(wanted)}, number_of)

    async def delete_app(self, number: int) -> bool:
        """Delete an app and its grants."""

        def delete(transaction: Transaction) -> bool:
            run(transaction.connection, "delete_grants_of", (number,))
            return first(transaction.connection, "delete_app", (number,)) is not None

        return await self._change(delete, rows=300)

    async def put_grant(self, grant: Grant) -> None:
        """Create or replace a grant."""
        await self._run(
            "put_grant",
            grant.number,
            grant.project,
            grant.app,
            grant.digest,
            grant.code,
            grant.expires_ms,
            bodies.pack(grant),
        )

    async def grant(self, number: int) -> Grant | None:
        """Return a grant."""
        return await self._first(Grant, "grant", number)

    async def grant_of(self, digest: bytes) -> Grant | None:
        """Return the grant whose access token, or whose code, has this digest."""

        def read(connection: apsw.Connection) -> Grant | None:
            rows = run(connection, "grant_by_token", (digest,)) or run(connection, "grant_by_code", (digest,))
            return bodies.unpack_first(Grant, rows)

        return await self._read(read)

    async def grants(self, project: str, page: Page, *, app: int | None = None) -> Listing[Grant]:
        """List a project's grants, newest first."""
        wanted = window("grants", page)
        asked: dict[str, Any] = {"project": project, **by_number(wanted)}
        if app is None:
            return await self._list(Grant, "grants", wanted, asked, number_of)
        return await self._list(Grant, "grants_of_app", wanted, {"app": app, **asked}, number_of)

    async def grants_until(self, before_ms: int, *, limit: int) -> Sequence[Grant]:
        """Return grants that expire before a moment."""
        return await self._read(
            lambda connection: bodies.unpack_all(Grant, run(connection, "grants_until", (before_ms, limit)))
        )

    async def delete_grant(self, number: int) -> bool:
        """Delete a grant."""
        return await self._delete("delete_grant", number)

    async def take_once(self, name: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a word that may be used once."""
        asked = {"name": name, "now": now_ms, "until": until_ms}
        return await self._change(lambda transaction: first(transaction.connection, "take_once", asked) is not None)
