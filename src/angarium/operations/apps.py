"""Keep the apps: third parties' programs that subscribe in the name of the publisher's users. What they sign is theirs.

An app's secret is what it authenticates itself with when it fetches tokens, and what its pushes are signed with. It is
kept encrypted and shown once.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.addressing import parse
from angarium.errors import FieldError, NotFound
from angarium.model.registry import App
from angarium.operations.binding import bring_up_to_date, open_app_secret
from angarium.operations.context import GRANTING
from angarium.operations.grants import end_grant, grants_of
from angarium.telemetry import APP_CHANGED, APP_DELETED, emit

if TYPE_CHECKING:
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.store.contract import Listing, Page

PREFIX: Final = "app_"
_SECRET_MIN, _SECRET_MAX = 8, 256


class NewApp(Struct, frozen=True):
    """An app that has just been made, with its secret."""

    app: App
    secret: str


class Apps:
    """Keep the apps of projects."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store

    async def create(
        self, reach: Reach, *, name: str, url: str, redirect_uri: str = "", secret: str | None = None
    ) -> NewApp:
        """Make an app; its secret is made unless it is given, for an app that has one already."""
        home = _check_url(url, "url")
        returns_to = _check_url(redirect_uri, "redirect_uri") if redirect_uri else ""
        plain = _new_secret(secret)
        number, now_ms = await self._store.number("app"), self._context.clock.now().wall_ms
        id_ = self._context.ids.numbered(PREFIX, number, now_ms)
        made = App(number, id_, reach.project, name, now_ms, home, returns_to, self._sealed(number, plain))
        await self._store.put_app(made)
        emit(APP_CHANGED, app=made.id, project=made.project, by=reach.by)
        return NewApp(made, plain)

    async def listed(self, reach: Reach, page: Page) -> Listing[App]:
        """List a project's apps, the newest first."""
        return await self._store.apps(reach.project, page)

    async def get(self, reach: Reach, id_: str) -> App:
        """Return an app."""
        return await find_app(self._context, reach.project, id_)

    async def delete(self, reach: Reach, id_: str) -> None:
        """Delete an app: its tokens work no more, and its subscriptions go."""
        found = await self.get(reach, id_)
        async with self._context.store.alone(GRANTING):
            for grant in await grants_of(self._context, found):
                await end_grant(self._context, reach, grant, reason="its app was deleted")
            await self._store.delete_app(found.number)
        emit(APP_DELETED, app=found.id, project=found.project, by=reach.by)

    async def rotate(self, reach: Reach, id_: str, *, secret: str | None = None) -> str:
        """Give an app a new secret, which signs its pushes from now on: one signature fits their format."""
        plain = _new_secret(secret)
        async with self._context.store.alone(GRANTING):
            found = await self.get(reach, id_)
            rotated = replace(found, secret=self._sealed(found.number, plain))
            await self._store.put_app(rotated)
            for grant in await grants_of(self._context, rotated):
                if grant.digest:
                    await bring_up_to_date(self._context, reach, grant, rotated)
        emit(APP_CHANGED, app=found.id, project=found.project, by=reach.by)
        return plain

    def _sealed(self, number: int, plain: str) -> bytes:
        return self._context.vault.seal(plain.encode(), context=b"app:%d" % number)


async def find_app(context: Context, project: str, id_: str) -> App:
    """Return a project's app; `NotFound`."""
    number = context.ids.number(PREFIX, id_)
    found = await context.store.app(number) if number is not None else None
    if found is None or found.id != id_ or found.project != project:
        raise NotFound(f"there is no app {id_[:80]!r} here")
    return found


def is_secret_of(context: Context, app: App, shown: str) -> bool:
    """Say whether somebody knows an app's secret."""
    return secrets.compare_digest(open_app_secret(context, app), shown.encode())


def _new_secret(given: str | None) -> str:
    if given is None:
        return secrets.token_hex(32)
    if not _SECRET_MIN <= len(given) <= _SECRET_MAX:
        raise FieldError("secret", f"is {len(given)} characters long, expected {_SECRET_MIN} to {_SECRET_MAX}")
    return given


def _check_url(text: str, field: str) -> str:
    """Return an app's own address, which nobody here calls; `FieldError` unless it is http or https, and whole."""
    try:
        parse(text)
    except FieldError as error:
        raise FieldError(field, error.detail) from error
    return text
