"""Keep what SalesKing's apps subscribe through their own API: subs, each for one channel and tied to an access token.

An app sees the subs of the token that it shows, and no others; it needs the scope `api/subs` for the calls, and that of
the channel's object to subscribe to it. A sub is a subscription whose `external_id` is the sub's id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from angarium.core.granting import calls, read_scope
from angarium.dialects.salesking import ACTIONS
from angarium.errors import FieldError, Forbidden, NotFound, Unauthorized
from angarium.model.registry import ApiKey, Grant, Scope
from angarium.operations.binding import DIALECT, subscriptions_on
from angarium.operations.context import SUBS
from angarium.operations.grants import grant_of_token
from angarium.operations.reach import Reach
from angarium.operations.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.projects import Served

LENGTH_MAX: Final = 100
"""How long a channel and a callback url may be, as SalesKing's schema says."""

_API: Final = "subs"


class SubInvalid(FieldError):
    """A sub cannot be as it is asked for; `faults` are all its fields and what is wrong with each."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(*faults[0])
        self.faults = faults


class Subs:
    """Keep the subs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._subscriptions = Subscriptions(context)

    async def caller(self, served: Served, token: str) -> Grant:
        """Return the grant whose token somebody shows; `Unauthorized` when there is none."""
        if not token:
            raise Unauthorized("no access token was shown; only apps that a user has granted access may call")
        found = await grant_of_token(self._context, served.project.name, token)
        if found is None:
            raise Unauthorized("the access token is unknown, revoked or expired")
        return found

    def channels(self, served: Served, grant: Grant) -> list[str]:
        """Return all channels of a project."""
        if grant.scope is not None and f"api/{_API}" not in read_scope(grant.scope):
            _forbid(f"api/{_API}")
        return list(channels_of(served))

    async def listed(self, grant: Grant) -> Sequence[Subscription]:
        """Return the subs of a token, the oldest first."""
        _check_call(grant, "read")
        return await self._all(grant)

    async def get(self, grant: Grant, id_: str) -> Subscription:
        """Return one sub; `NotFound`, also for another token's."""
        _check_call(grant, "read")
        return await self._find(grant, id_)

    async def create(self, served: Served, grant: Grant, *, channel: str, callback_url: str) -> Subscription:
        """Subscribe to a channel; `SubInvalid` says all that is wrong."""
        _check_call(grant, "create")
        _check(served, channel, callback_url)
        document = {"url": callback_url, "types": [channel], "dialect": DIALECT, "options": {"grant": grant.id}}
        async with self._context.store.alone(SUBS):  # So that no two are the same.
            await self._check_is_only(grant, channel, callback_url)
            try:
                made = await self._subscriptions.create(_reach(served, grant), document, tenant=grant.tenant)
            except FieldError as error:
                raise _as_invalid(error) from error
        return made.subscription

    async def change(
        self, served: Served, grant: Grant, id_: str, *, channel: str | None, callback_url: str | None
    ) -> Subscription:
        """Change a sub's channel or address (None: they stay)."""
        _check_call(grant, "update")
        async with self._context.store.alone(SUBS):  # So that no two are the same.
            found = await self._find(grant, id_)
            channel = channel_of(found) if channel is None else channel
            callback_url = found.url if callback_url is None else callback_url
            _check(served, channel, callback_url)
            await self._check_is_only(grant, channel, callback_url, but=found.number)
            try:
                changed = await self._subscriptions.change(
                    _reach(served, grant), found.id, {"url": callback_url, "types": [channel]}
                )
            except FieldError as error:
                raise _as_invalid(error) from error
        return changed.subscription

    async def delete(self, served: Served, grant: Grant, id_: str) -> Subscription:
        """Delete a sub; return what it was."""
        _check_call(grant, "delete")
        found = await self._find(grant, id_)
        await self._subscriptions.delete(_reach(served, grant), found.id)
        return found

    async def _find(self, grant: Grant, id_: str) -> Subscription:
        found = await self._store.subscription_called(grant.project, id_) if id_ else None
        if found is None or found.options.get("grant") != grant.id:
            raise NotFound(f"there is no sub {id_[:80]!r} of this access token")
        return found

    async def _all(self, grant: Grant) -> Sequence[Subscription]:
        return [each for each in await subscriptions_on(self._context, grant) if each.external_id]

    async def _check_is_only(self, grant: Grant, channel: str, callback_url: str, *, but: int = 0) -> None:
        for each in await self._all(grant):
            if each.number != but and (channel_of(each), each.url) == (channel, callback_url):
                raise SubInvalid([("callback_url", "has already been subscribed to this channel")])


def channels_of(served: Served) -> Iterable[str]:
    """Yield the channels of a project: each of its objects with what may happen to it."""
    for object_ in served.catalogue.objects:
        for action in ACTIONS:
            try:
                served.catalogue.type_of(object_, action)
            except FieldError:
                continue  # The project does not publish it.
            yield f"{object_}.{action}"


def channel_of(subscription: Subscription) -> str:
    """Return a sub's channel."""
    return subscription.rule.types[0]


def _reach(served: Served, grant: Grant) -> Reach:
    caller = ApiKey(0, grant.id, b"", Scope.TENANT, grant.created_ms, project=grant.project, tenant=grant.tenant)
    return Reach(served, caller)


def _check_call(grant: Grant, name: str) -> None:
    if not calls(grant.scope, _API, name):
        _forbid(f"api/{_API}:{name}")


def _forbid(scope: str) -> NoReturn:
    raise Forbidden(f"the access token lacks the scope {scope}")


def _check(served: Served, channel: str, callback_url: str) -> None:
    faults = [
        (name, problem)
        for name, value in (("channel", channel), ("callback_url", callback_url))
        if (problem := _length_problem(value))
    ]
    if not faults and channel not in channels_of(served):
        faults.append(("channel", "is not a channel, see api/subs/channels"))
    if faults:
        raise SubInvalid(faults)


def _length_problem(value: str) -> str:
    if not value.strip():
        return "can't be blank"
    return f"is too long (maximum is {LENGTH_MAX} characters)" if len(value) > LENGTH_MAX else ""


def _as_invalid(error: FieldError) -> Exception:
    """Return an error in the words of subs."""
    match error.field.partition("[")[0]:
        case "url":
            return SubInvalid([("callback_url", f"is invalid: {error.detail}")])
        case "types":
            return SubInvalid([("channel", "is not in the scope that was granted")])
        case "options.grant":
            return Unauthorized("the access token was revoked just now")
        case _:
            return error
