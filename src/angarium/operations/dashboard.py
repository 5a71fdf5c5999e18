"""Keep what is registered through the 'Dashboard' service's own API: subscriptions to one event, maybe of one country.

Nobody needs a key there while the project's setting `open_registration` is on, as it is by default; then each address
may register so many an hour. Such registrations are the tenant's named `default`. With the setting off, a `manage` or
`tenant` key is needed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.accepting import TENANT
from angarium.core.addressing import parse
from angarium.core.jsontext import kind_of
from angarium.core.scopes import Call, check
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import FieldError, Malformed, NotFound, StoreAway
from angarium.model.registry import ApiKey, Scope
from angarium.operations.quota import Quota, network_of
from angarium.operations.reach import Reach
from angarium.operations.subscriptions import Subscriptions
from angarium.operations.writing import remove_subscription
from angarium.store.contract import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.model.subscription import Subscription
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Served

DIALECT: Final = "dashboard"
PER_HOUR: Final = 1_000
"""How many registrations one address may make in an hour, without a key."""

_HOUR_S: Final = 3600.0
_ID_DIGITS: Final = 20
_PAGE: Final = 250
_MEMBERS: Final = ("url", "country", "event")
_GIVEN_URL: Final = "given_url"


class Registration(Struct, frozen=True, omit_defaults=True):
    """A subscription as the service shows it."""

    id: str
    url: str
    event: str
    country: str = ""


class Condition(Struct, frozen=True, rename={"database": "notification_db", "registrations": "webhooks"}):
    """How the service is doing, in its own words; `registrations` is None when the store cannot say."""

    database: int
    registrations: int | None
    version: str
    uptime: int


class Registrations:
    """Keep the registrations of all projects of the dialect."""

    def __init__(self, context: Context, callers: Callers) -> None:
        self._context = context
        self._callers = callers
        self._subscriptions = Subscriptions(context)
        self._quota = Quota(PER_HOUR, within_s=_HOUR_S, what="registrations")

    async def reach(self, served: Served, authorization: str, call: Call) -> Reach:
        """Return what whoever calls may touch; `Unauthorized`, `Forbidden` or `NotFound` where a key is needed."""
        project = served.project
        if _is_open(served):
            return Reach(served, ApiKey(0, "anybody", b"", Scope.TENANT, 0, project=project.name, tenant=TENANT))
        caller = await self._callers.find(authorization, now_ms=self._context.clock.now().wall_ms)
        check(caller, call, project.name)
        return Reach(served, caller)

    async def add(self, reach: Reach, document: Any, *, address: str) -> str:  # noqa: ANN401  any JSON
        """Register what a body asks for; return its id.

        `Malformed` for what is no object of texts, `FieldError` naming all that is missing or the first that is wrong,
        `RateExceeded` when this address has registered as many as it may.
        """
        wanted = _terms(document)
        if not _is_open(reach.served):
            return await self._add(reach, wanted)
        who = network_of(address)
        self._quota.take(who, now=self._context.clock.now().mono)
        try:
            return await self._add(reach, wanted)
        except BaseException:
            self._quota.give_back(who)
            raise

    async def listed(self, reach: Reach) -> list[Registration]:
        """Return all registrations within reach, the oldest first."""
        return [_shown(each) for each in reversed(await self._all(reach))]

    async def get(self, reach: Reach, id_: str) -> Registration:
        """Return one registration."""
        found = await self._find(reach, id_)
        if found is None:
            raise NotFound(f"there is no registration {id_[:40]!r}")
        return _shown(found)

    async def remove(self, reach: Reach, id_: str) -> None:
        """Remove a registration; one that is not there is removed already."""
        found = await self._find(reach, id_)
        if found is not None:
            await remove_subscription(self._context, reach, found.id)

    async def condition(self, reach: Reach) -> Condition:
        """Return how the service is doing."""
        uptime = int(self._context.clock.now().mono - self._context.since.mono)
        try:
            count = len(await self._all(reach))
        except StoreAway:
            return Condition(503, None, "v1", uptime)
        return Condition(200, count, "v1", uptime)

    async def _add(self, reach: Reach, wanted: dict[str, Any]) -> str:
        id_ = str(secrets.randbelow(9 * 10 ** (_ID_DIGITS - 1)) + 10 ** (_ID_DIGITS - 1))
        facts = {_GIVEN_URL: wanted["url"]}
        await self._subscriptions.create(reach, wanted, known=lambda made: replace(made, external_id=id_, facts=facts))
        return id_

    async def _find(self, reach: Reach, id_: str) -> Subscription | None:
        found = await self._context.store.subscription_called(reach.project, id_) if id_ else None
        if found is None or not reach.holds(project=found.project, tenant=found.tenant):
            return None
        return found

    async def _all(self, reach: Reach) -> list[Subscription]:
        """Return what was registered here, the newest first; what was made natively has no id of this API's."""
        found: list[Subscription] = []
        after: str | None = None
        while True:
            page = Page(limit=_PAGE, after=after)
            listing = await self._context.store.subscriptions(reach.project, page, tenant=reach.filter(None))
            found.extend(each for each in listing.data if each.external_id)
            after = listing.next
            if after is None:
                return found


def _is_open(served: Served) -> bool:
    return bool(served.project.settings.get("open_registration", True))


def _terms(document: object) -> dict[str, Any]:
    """Return what a registration's body means as a subscription's document."""
    given = _given(document)
    missing = [name for name in ("url", "event") if not given.get(name)]
    if missing:
        raise FieldError("", f"missing field{'s' if len(missing) > 1 else ''}: {', '.join(missing)}")
    words = _words()
    word = given["event"].upper()
    if word not in words:
        raise FieldError("", f"field 'event' is invalid: it is {given['event'][:40]!r}, expected {', '.join(words)}")
    options = {"country": country.upper()} if (country := given.get("country")) else {}
    return {"url": given["url"], "types": [f"*.{words[word]}"], "dialect": DIALECT, "options": options}


def _given(document: object) -> dict[str, str]:
    """Return the members that a body gives, however their names are spelt; others are passed over, as ever there."""
    if not isinstance(document, dict):
        raise Malformed(f"the body is {kind_of(document)}, expected an object with url, country and event")
    given = {name.lower(): value for name, value in document.items() if value is not None}
    for name in _MEMBERS:
        if not isinstance(given.get(name, ""), str):
            raise Malformed(f"field '{name}' is {kind_of(given[name])}, expected a text")
    return {name: given[name] for name in _MEMBERS if name in given}


def _words() -> Mapping[str, str]:
    """Return the events' words, and what they are here."""
    actions = dialect_of(DIALECT).traits.actions or {}
    return {word: action for action, word in actions.items()}


def _shown(subscription: Subscription) -> Registration:
    """Return a subscription as the service shows it; one that was changed natively may be for several events."""
    words = dialect_of(DIALECT).traits.actions or {}
    actions = [type_.rpartition(".")[2] for type_ in subscription.rule.types]
    wanted = [word for action, word in words.items() if not actions or action in actions or "*" in actions]
    country = str(subscription.options.get("country") or "")
    return Registration(subscription.external_id, _url(subscription), ", ".join(wanted), country)


def _url(subscription: Subscription) -> str:
    """Return a subscription's url as it was given, unless it leads elsewhere by now."""
    given = str(subscription.facts.get(_GIVEN_URL, subscription.url))
    return given if parse(given).url == subscription.url else subscription.url
