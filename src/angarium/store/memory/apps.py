"""Keep third parties' programs and what their users allow them, and words that may be used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.store.memory.held import Held
from angarium.store.paging import select, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.model.registry import App, Grant
    from angarium.store.contract import Listing, Page


class Apps(Held):
    """The apps' part of the store."""

    async def put_app(self, app: App) -> None:
        """Create or replace an app."""
        self._apps[app.number] = app

    async def app(self, number: int) -> App | None:
        """Return an app."""
        return self._apps.get(number)

    async def apps(self, project: str, page: Page) -> Listing[App]:
        """List a project's apps, newest first."""
        held = (app for app in self._apps.values() if app.project == project)
        return select(window("apps", page), held, lambda app: (app.number,))

    async def delete_app(self, number: int) -> bool:
        """Delete an app and its grants."""
        for each in [grant.number for grant in self._grants.values() if grant.app == number]:
            del self._grants[each]
        return self._apps.pop(number, None) is not None

    async def put_grant(self, grant: Grant) -> None:
        """Create or replace a grant."""
        self._grants[grant.number] = grant

    async def grant(self, number: int) -> Grant | None:
        """Return a grant."""
        return self._grants.get(number)

    async def grant_of(self, digest: bytes) -> Grant | None:
        """Return the grant whose access token, or whose code, has this digest."""
        if not digest:
            return None
        held = sorted(self._grants.values(), key=lambda grant: grant.number)
        return next(
            (grant for grant in held if grant.digest == digest),
            next((grant for grant in held if grant.code == digest), None),
        )

    async def grants(self, project: str, page: Page, *, app: int | None = None) -> Listing[Grant]:
        """List a project's grants, newest first."""
        held = (grant for grant in self._grants.values() if grant.project == project and app in (None, grant.app))
        return select(window("grants", page), held, lambda grant: (grant.number,))

    async def grants_until(self, before_ms: int, *, limit: int) -> Sequence[Grant]:
        """Return grants that expire before a moment."""
        held = (grant for grant in self._grants.values() if grant.expires_ms < before_ms)
        return sorted(held, key=lambda grant: (grant.expires_ms, grant.number))[:limit]

    async def delete_grant(self, number: int) -> bool:
        """Delete a grant."""
        return self._grants.pop(number, None) is not None

    async def take_once(self, name: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a word that may be used once."""
        if self._once.get(name, now_ms) > now_ms:
            return False
        self._once[name] = until_ms
        return True
