"""Ask a user for consent: what an app asks for, as the page shows it, and what follows from the answer.

The user comes from the publisher's login with an assertion; the page holds a ticket, sealed, that says all of it again.
Both are taken once.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from angarium.core.granting import NAMES, read_scope
from angarium.errors import FieldError, NotFound
from angarium.operations.apps import find_app
from angarium.operations.assertions import read_assertion
from angarium.operations.grants import Grants, GrantTerms, own_reach
from angarium.operations.login import login_of
from angarium.operations.oauth import Asked, back, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.model.registry import App
    from angarium.operations.assertions import User
    from angarium.operations.context import Context
    from angarium.operations.projects import Served

TICKET_LASTS_S: Final = 600
"""How long a user may look at the page."""


class Consent(Struct, frozen=True):
    """What the page shows: who asks whom for what; and the ticket that its answer brings back."""

    app: App
    user: str
    tenant: str
    rights: Sequence[str]
    returns_to: str
    ticket: str


class Ticket(Struct, frozen=True):
    """What an answer is about."""

    id: str
    asked: Asked
    user: str
    tenant: str
    email: str
    sub_domain: str
    permissions: tuple[str, ...] | None
    until_ms: int


class Consents:
    """Ask for consent."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._grants = Grants(context)

    async def ask(self, served: Served, request: str, assertion: str) -> Consent:
        """Return what a user is asked who comes from the publisher's login; `FieldError`."""
        now_ms = self._context.clock.now().wall_ms
        asked = unseal(self._context.vault, served, "request", request, Asked)
        if asked is None or asked.until_ms <= now_ms:
            raise FieldError("request", "is unknown or too old; begin again at the app")
        login = login_of(self._context.vault, served.project)
        if login is None:
            raise FieldError("assertion", "cannot be checked, for the project has no login")
        user = read_assertion(assertion, key=login.key, project=served.project.name, request=request, now_ms=now_ms)
        app = await self._app(served, asked)
        await self._take("assertion", served, user.jti, until_ms=user.until_ms)
        ticket = _ticket(asked, user, now_ms)
        return Consent(
            app=app,
            user=user.email or user.name,
            tenant=user.sub_domain or user.tenant,
            rights=rights_of(asked.scope),
            returns_to=asked.returns_to,
            ticket=seal(self._context.vault, served, "ticket", ticket),
        )

    async def answer(self, served: Served, sealed: str, *, is_allowed: bool) -> str:
        """Return where a user goes who has answered: back to the app, with a code when it was allowed."""
        ticket = unseal(self._context.vault, served, "ticket", sealed, Ticket)
        if ticket is None or ticket.until_ms <= self._context.clock.now().wall_ms:
            raise FieldError("ticket", "is unknown or too old; begin again at the app")
        asked = ticket.asked
        await self._app(served, asked)
        await self._take("ticket", served, ticket.id, until_ms=ticket.until_ms)
        if not is_allowed:
            return back(asked.returns_to, asked.state, error="access_denied")
        terms = GrantTerms(
            app=asked.app,
            user=ticket.user,
            tenant=ticket.tenant,
            scope=asked.scope,
            permissions=ticket.permissions,
            sub_domain=ticket.sub_domain,
            email=ticket.email,
            redirect_uri=asked.redirect_uri,
            challenge=asked.challenge,
        )
        granted = await self._grants.create(own_reach(served, f"user {ticket.user}"), terms, with_code=True)
        assert granted.code is not None, "a grant with a code has one"
        return back(asked.returns_to, asked.state, code=granted.code)

    async def _app(self, served: Served, asked: Asked) -> App:
        try:
            return await find_app(self._context, served.project.name, asked.app)
        except NotFound as error:
            raise FieldError("request", "is of an app that is not registered any more") from error

    async def _take(self, kind: str, served: Served, word: str, *, until_ms: int) -> None:
        digest = hashlib.sha256(word.encode()).hexdigest()
        now_ms = self._context.clock.now().wall_ms
        if not await self._store.take_once(f"{kind}:{served.project.name}:{digest}", now_ms=now_ms, until_ms=until_ms):
            raise FieldError(kind, "was used before; begin again at the app")


def rights_of(scope: str | None) -> Sequence[str]:
    """Return what an app asks for, a line for each right."""
    if scope is None:
        return ("everything that you may see and do",)
    return [_right(context, names) for context, names in read_scope(scope).items()]


def _right(context: str, allowed: frozenset[str]) -> str:
    names = ", ".join(name for name in NAMES if name in allowed)
    if context.startswith("api/"):
        return f"{names} {context.removeprefix('api/')} in your name"
    return f"hear of {context} ({names})"


def _ticket(asked: Asked, user: User, now_ms: int) -> Ticket:
    return Ticket(
        id=secrets.token_hex(16),
        asked=asked,
        user=user.name,
        tenant=user.tenant,
        email=user.email,
        sub_domain=user.sub_domain,
        permissions=user.permissions,
        until_ms=now_ms + TICKET_LASTS_S * 1000,
    )
