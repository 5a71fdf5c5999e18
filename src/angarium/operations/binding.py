"""Hang subscriptions on grants: whose user's rights are asked, whose token they carry, and whose end is theirs.

A subscription of a dialect that knows grants (SalesKing's) names one among its options. What the dialect says of it is
copied: the facts, the access token and the app's secret, sealed for the subscription. So whoever changes a grant or an
app brings its subscriptions up to date (`bring_up_to_date`), holding `GRANTING`.
"""

from __future__ import annotations

import secrets as dice
import string
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from angarium.core.granting import hears, lies_within
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import FieldError, NotFound
from angarium.operations.context import GRANTING
from angarium.operations.secrecy import open_options, open_secrets, seal_options, seal_secret
from angarium.operations.writing import edit_subscription, remove_subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.model.registry import App, Grant
    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach

DIALECT: Final = "salesking"
"""The dialect whose subscriptions hang on grants."""

GRANT_PREFIX: Final = "grant_"
_ON: Final = "grant_number"
_ID_DIGITS: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 22


async def bound(context: Context, reach: Reach, wanted: Subscription) -> Subscription:
    """Return a subscription as it is written: hung on the grant that it names, where its dialect knows grants.

    `FieldError` when there is no such grant, or what is asked for is not the app's to ask.
    """
    if wanted.dialect != DIALECT:
        return _unbound(wanted)
    grant, app = await _named(context, reach, wanted)
    _check_terms(wanted, grant, app)
    return _on(context, wanted, grant, app)


async def check_bound(context: Context, reach: Reach, written: Subscription) -> Subscription:
    """Return a new subscription as its grant and app are now, whatever happened to them while it was written.

    When the grant has ended it is taken back: `FieldError`.
    """
    number = written.facts.get(_ON)
    if number is None:
        return written
    async with context.store.alone(GRANTING):
        grant = await context.store.grant(number)
        app = await context.store.app(grant.app) if grant is not None else None
        if grant is None or app is None:
            with suppress(NotFound):  # Whoever ended the grant may have removed it already.
                await remove_subscription(context, reach, written.id)
            raise _no_grant(written)
        return await _bring_up_to_date(context, reach, written.id, grant, app)


async def subscriptions_on(context: Context, grant: Grant) -> Sequence[Subscription]:
    """Return the subscriptions that hang on a grant, oldest first."""
    found = await context.store.subscriptions_of(grant.project, grant.tenant)
    return [each for each in found if each.facts.get(_ON) == grant.number]


async def bring_up_to_date(context: Context, reach: Reach, grant: Grant, app: App) -> None:
    """Have a grant's subscriptions follow what has changed of it or its app, at once."""
    for subscription in await subscriptions_on(context, grant):
        try:
            await _bring_up_to_date(context, reach, subscription.id, grant, app)
        except NotFound:
            continue  # Somebody has deleted it meanwhile.


async def remove_all(context: Context, reach: Reach, grant: Grant) -> None:
    """Delete all subscriptions of a grant: no request of theirs starts after this."""
    for subscription in await subscriptions_on(context, grant):
        try:
            await remove_subscription(context, reach, subscription.id)
        except NotFound:
            continue


def open_app_secret(context: Context, app: App) -> bytes:
    """Return an app's secret in plain bytes."""
    return context.vault.open(app.secret, context=b"app:%d" % app.number)


def open_token(context: Context, grant: Grant) -> str:
    """Return a grant's access token in plain text."""
    return context.vault.open(grant.token, context=b"grant:%d" % grant.number).decode()


async def _bring_up_to_date(context: Context, reach: Reach, id_: str, grant: Grant, app: App) -> Subscription:
    async def edit(present: Subscription) -> Subscription:
        return _on(context, present, grant, app)

    return await edit_subscription(context, reach, id_, edit)


async def _named(context: Context, reach: Reach, wanted: Subscription) -> tuple[Grant, App]:
    number = context.ids.number(GRANT_PREFIX, wanted.options["grant"])
    grant = await context.store.grant(number) if number is not None else None
    if grant is None or grant.id != wanted.options["grant"] or not grant.digest:
        raise _no_grant(wanted)
    if (grant.project, grant.tenant) != (wanted.project, wanted.tenant):
        raise _no_grant(wanted)
    app = await context.store.app(grant.app)
    if app is None or not reach.holds(project=grant.project, tenant=grant.tenant):
        raise _no_grant(wanted)
    return grant, app


def _no_grant(wanted: Subscription) -> FieldError:
    shown = wanted.options["grant"][:80]
    return FieldError("options.grant", f"{shown!r} is no grant of tenant {wanted.tenant} whose token was fetched")


def _check_terms(wanted: Subscription, grant: Grant, app: App) -> None:
    types = wanted.rule.types
    if len(types) != 1 or "*" in types[0]:
        raise FieldError("types", f"is {', '.join(types) or 'left out'}, expected exactly one such as client.create")
    if not hears(grant.scope, types[0]):
        raise FieldError("types", f"holds {types[0]}, which the grant's scope {grant.scope!r} does not include")
    if wanted.kind == "push" and not lies_within(wanted.url, app.url):
        raise FieldError("url", f"lies outside the app's url, {app.url}")


def _on(context: Context, subscription: Subscription, grant: Grant, app: App) -> Subscription:
    """Return a subscription with what it has of its grant; what has not changed stays as it is sealed."""
    number, vault = subscription.number, context.vault
    token, secret = {"access_token": open_token(context, grant)}, open_app_secret(context, app)
    sealed, secrets = subscription.sealed, subscription.secrets
    if open_options(vault, subscription) != token:
        sealed = seal_options(vault, number, token)
    if open_secrets(vault, subscription, now_ms=0) != (secret,):
        secrets = (seal_secret(vault, number, secret),)
    named = subscription.external_id or _make_id()
    return replace(subscription, facts=_facts(grant), sealed=sealed, secrets=secrets, external_id=named)


def _make_id() -> str:
    """Return what SalesKing's API calls a new subscription, whichever way it was made."""
    return "".join(dice.choice(_ID_DIGITS) for _ in range(_ID_LENGTH))


def _facts(grant: Grant) -> dict[str, Any]:
    return {
        _ON: grant.number,
        "company_id": grant.tenant,
        "user_id": grant.user,
        "sub_domain": grant.sub_domain,
        "expires_ms": grant.expires_ms,
        "scope": grant.scope,
        "permissions": None if grant.permissions is None else list(grant.permissions),
    }


def _unbound(subscription: Subscription) -> Subscription:
    """Take away what a grant had lent, when a subscription changes into another dialect."""
    if _ON not in subscription.facts:
        return subscription
    secrets = subscription.secrets if dialect_of(subscription.dialect).traits.makes_secret else ()
    return replace(subscription, facts={}, secrets=secrets)
