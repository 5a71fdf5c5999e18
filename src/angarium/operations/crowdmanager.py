"""Keep what is subscribed through CROWDMANAGER's own API: made, validated and enabled in three steps.

| step | what happens |
|---|---|
| made | the receiver is sent the id and a token by GET; unless it answers 200, nothing is stored |
| validated | whoever subscribes shows the token that its receiver was sent |
| enabled | it is pushed to, while it is validated too |

Another url begins anew. An id is a subscription's number. A token is kept as its SHA-256 and bound to the url that it
was sent to. Who subscribes to customer profiles gets what belongs to them as well: activities and consents.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.dialects.crowdmanager import FORMATS
from angarium.errors import Conflict, FieldError, NotFound
from angarium.model.subscription import Status, Subscription
from angarium.operations.handshaking import IS_VALIDATED, Handshakes
from angarium.operations.reach import check_tenant
from angarium.operations.terms import document_of, read_terms
from angarium.operations.writing import (
    PREFIX,
    add_subscription,
    edit_subscription,
    owed_while,
    remove_subscription,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.operations.terms import Terms

DIALECT: Final = "crowdmanager"
PROFILE: Final = "CustomerProfile"

_BELONGING: Final = {PROFILE: (PROFILE, "Activity", "Consent")}
_IS_ENABLED: Final = "is_enabled"
_EVENT: Final = "event"
_TOKENS: Final = "tokens"
_GIVEN: Final = "given"
_TOKENS_MAX: Final = 5
_TOKEN_BYTES: Final = 24
_ID_MAX: Final = 18
_LIVING: Final = frozenset({Status.ACTIVE, Status.PAUSED})


class Flags(Struct, frozen=True):
    """Whether a subscription's receiver was verified, and whether its maker wants it to be pushed to."""

    is_validated: bool
    is_enabled: bool


class Wanted(Struct, frozen=True):
    """What somebody asks for; None is what was not said."""

    event: str | None = None
    url: str | None = None
    format: str | None = None
    is_enabled: bool | None = None
    is_validated: bool | None = None
    token: str | None = None


class Shown(Struct, frozen=True):
    """A subscription as this API shows it. `failing_since_ms` is 0 while it is not failing."""

    subscription: Subscription
    flags: Flags
    failing_since_ms: int = 0

    @property
    def id(self) -> str:
        """Return what this API calls it."""
        return called(self.subscription)

    @property
    def event(self) -> str:
        """Return what it was subscribed to."""
        return event_of(self.subscription)

    @property
    def url(self) -> str:
        """Return its url as it was given, unless it was led elsewhere natively."""
        text, url = self.subscription.facts.get(_GIVEN, ("", ""))
        return str(text) if url == self.subscription.url else self.subscription.url


class Pushes:
    """Keep the subscriptions of organisations."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._handshakes = Handshakes(context)

    async def listed(self, reach: Reach, organization: str, *, event: str | None = None) -> Sequence[Shown]:
        """Return an organisation's subscriptions, those to one event only if one is named."""
        found = await self._context.store.subscriptions_of(reach.project, organization)
        return [await self._shown(each) for each in found if _is_ours(each) and event in (None, event_of(each))]

    async def get(self, reach: Reach, organization: str, id_: str) -> Shown:
        """Return one subscription."""
        return await self._shown(await self.find(reach, organization, id_))

    async def create(self, reach: Reach, organization: str, wanted: Wanted) -> Shown:
        """Subscribe, once the receiver has answered the validation; it is neither validated nor enabled yet.

        `FieldError` when it did not, or for what is wrong; then nothing is stored.
        """
        document = self._document(reach, wanted)
        terms = self._terms(reach, check_tenant(organization, field="organization"), document)
        number = await self._context.store.number("subscription")
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        made = self._made(reach, organization, terms, number, wanted, token)
        await self._ask(reach, made, token)
        return await self._shown(await add_subscription(self._context, reach, made))

    async def change(self, reach: Reach, organization: str, id_: str, wanted: Wanted) -> Shown:
        """Enable or disable a subscription, validate it by its token, or lead it to another url.

        `FieldError` for a wrong token, or when the receiver at another url does not answer; then nothing is changed.
        """
        found = await self.find(reach, organization, id_)
        url, token = self._on(reach, found, wanted).url, ""
        if url != found.url or _asks_again(found, wanted):
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            await self._ask(reach, replace(found, url=url), token)

        async def edit(present: Subscription) -> Subscription:
            if present.url != found.url:
                raise Conflict(f"subscription {id_} was led elsewhere meanwhile; read it again, and repeat")
            return self._flagged(self._on(reach, present, wanted), present, wanted, token)

        return await self._shown(await edit_subscription(self._context, reach, found.id, edit))

    async def remove(self, reach: Reach, organization: str, id_: str) -> None:
        """Delete a subscription."""
        found = await self.find(reach, organization, id_)
        await remove_subscription(self._context, reach, found.id)

    async def find(self, reach: Reach, organization: str, id_: str) -> Subscription:
        """Return the subscription that this API calls so; `NotFound` unless it is the organisation's."""
        number = int(id_) if id_.isascii() and id_.isdigit() and len(id_) <= _ID_MAX else 0
        found = await self._context.store.subscription(number) if number else None
        is_there = found is not None and _is_ours(found) and called(found) == id_
        if found is None or not is_there or (found.project, found.tenant) != (reach.project, organization):
            raise NotFound(f"Cannot find subscription with id: {id_[:80]}")
        return found

    # -- making -----------------------------------------------------------------------------------------------------

    def _document(self, reach: Reach, wanted: Wanted) -> dict[str, Any]:
        event = wanted.event or PROFILE
        known = reach.served.catalogue.objects
        if known and event not in known:
            raise FieldError("event", f"is {event[:80]!r}, expected one of {', '.join(known)}")
        if not wanted.url:
            raise FieldError("url", "is missing; name the address to push to")
        return {
            "url": wanted.url,
            "types": [f"{object_}.*" for object_ in _BELONGING.get(event, (event,))],
            "dialect": DIALECT,
            "options": _options(wanted),
        }

    def _terms(self, reach: Reach, organization: str, document: dict[str, Any]) -> Terms:
        settings = self._context.settings
        return read_terms(document, project=reach.served.project, settings=settings, tenant=organization)

    def _on(self, reach: Reach, present: Subscription, wanted: Wanted) -> Subscription:
        """Return a subscription with the url and format that are wanted; `FieldError` when the change cannot be."""
        terms = self._terms(reach, present.tenant, _changed_document(present, wanted))
        changed = replace(present, url=terms.url, options=terms.options)
        _check(present, wanted, is_led_elsewhere=changed.url != present.url)
        return changed

    def _made(
        self, reach: Reach, organization: str, terms: Terms, number: int, wanted: Wanted, token: str
    ) -> Subscription:
        now_ms = self._context.clock.now().wall_ms
        return Subscription(
            number=number,
            id=self._context.ids.numbered(PREFIX, number, now_ms),
            project=reach.project,
            tenant=organization,
            partition=partition_of(reach.project, organization),
            created_ms=now_ms,
            updated_ms=now_ms,
            status=Status.UNVERIFIED,
            url=terms.url,
            dialect=terms.dialect,
            rule=terms.rule,
            options=terms.options,
            facts={
                _EVENT: wanted.event or PROFILE,
                _IS_ENABLED: False,
                IS_VALIDATED: False,
                _TOKENS: [_digest(token)],
                _GIVEN: [wanted.url, terms.url],
            },
            reason=_REASONS[Status.UNVERIFIED],
            owed=owed_while(Status.UNVERIFIED, terms.kind),
            external_id=str(number),
        )

    async def _ask(self, reach: Reach, subscription: Subscription, token: str) -> None:
        problem = await self._handshakes.ask(reach.served.project, subscription, token)
        if problem is not None:
            raise FieldError("url", f"{subscription.url} {problem}")

    def _flagged(self, changed: Subscription, present: Subscription, wanted: Wanted, token: str) -> Subscription:
        """Return a changed subscription with the flags and tokens that follow."""
        flags = _flags_after(changed, present, wanted)
        held = _tokens(present) if changed.url == present.url else []
        if token:
            held = [*held, _digest(token)][-_TOKENS_MAX:]
        facts = {**changed.facts, _IS_ENABLED: flags.is_enabled, IS_VALIDATED: flags.is_validated, _TOKENS: held}
        given = {_GIVEN: [wanted.url, changed.url]} if wanted.url is not None else {}
        changed = replace(changed, facts={**facts, **given})
        if flags == flags_of(present):
            return changed
        status = _status(flags)
        is_new = status is Status.ACTIVE and present.status not in _LIVING
        return replace(
            changed,
            status=status,
            owed=owed_while(status, present.kind),
            reason=_REASONS.get(status, ""),
            resumed_ms=self._context.clock.now().wall_ms if is_new else present.resumed_ms,
        )

    async def _shown(self, subscription: Subscription) -> Shown:
        since_ms = (await self._context.engine.lane(subscription)).failing_since_ms
        return Shown(subscription, flags_of(subscription), since_ms if subscription.status is Status.ACTIVE else 0)


def called(subscription: Subscription) -> str:
    """Return what this API calls a subscription, made here or natively."""
    return subscription.external_id or str(subscription.number)


def event_of(subscription: Subscription) -> str:
    """Return what a subscription is to: as it was asked for here, else the first object of its types."""
    named = [text.rpartition(".")[0] for text in subscription.rule.types]
    wanted = str(subscription.facts.get(_EVENT, "")) or next((each for each in named if each not in {"", "*"}), "")
    return wanted or PROFILE


def flags_of(subscription: Subscription) -> Flags:
    """Return a subscription's flags; what was done to it natively counts."""
    match subscription.status:
        case Status.UNVERIFIED:
            return Flags(is_validated=False, is_enabled=bool(subscription.facts.get(_IS_ENABLED)))
        case Status.DISABLED:
            return Flags(is_validated=bool(subscription.facts.get(IS_VALIDATED, True)), is_enabled=False)
        case _:
            return Flags(is_validated=True, is_enabled=True)


def _is_ours(subscription: Subscription) -> bool:
    return subscription.dialect == DIALECT and subscription.kind == "push"


def _check(present: Subscription, wanted: Wanted, *, is_led_elsewhere: bool) -> None:
    """Raise `FieldError` unless a change is one that can be."""
    if wanted.event not in (None, event_of(present)):
        raise FieldError("event", f"is {event_of(present)} and cannot be changed; make another subscription")
    if wanted.token is not None:
        if is_led_elsewhere:
            raise FieldError("validationToken", "is for the present url; another url is sent another token")
        if not _is_token(present, wanted.token):
            raise FieldError("validationToken", "is not the one that was sent to the url; nothing was changed")
    elif wanted.is_validated not in (None, flags_of(present).is_validated):
        needs = "takes more than this; send the validationToken that the url was called with"
        raise FieldError(
            "isValidated", needs if wanted.is_validated else "cannot be taken back; set isEnabled to false"
        )


def _asks_again(present: Subscription, wanted: Wanted) -> bool:
    """Say whether naming the present url asks for another token: the first may have been lost."""
    return wanted.url is not None and wanted.token is None and not flags_of(present).is_validated


def _flags_after(changed: Subscription, present: Subscription, wanted: Wanted) -> Flags:
    before = flags_of(present)
    is_validated = changed.url == present.url and (before.is_validated or wanted.token is not None)
    return Flags(is_validated, before.is_enabled if wanted.is_enabled is None else wanted.is_enabled)


def _status(flags: Flags) -> Status:
    if not flags.is_validated:
        return Status.UNVERIFIED
    return Status.ACTIVE if flags.is_enabled else Status.DISABLED


_REASONS: Final = {
    Status.UNVERIFIED: "the token that its url was called with has not been shown yet",
    Status.DISABLED: "it is not enabled",
}


def _changed_document(present: Subscription, wanted: Wanted) -> dict[str, Any]:
    options = {**present.options, **_options(wanted)}
    return {**document_of(present), "options": options, **({"url": wanted.url} if wanted.url is not None else {})}


def _options(wanted: Wanted) -> Mapping[str, Any]:
    if wanted.format is None:
        return {}
    if wanted.format not in FORMATS:
        raise FieldError("format", f"is {wanted.format[:80]!r}, expected {' or '.join(FORMATS)}")
    return {"format": wanted.format}


def _is_token(present: Subscription, token: str) -> bool:
    digest = _digest(token)
    return any(secrets.compare_digest(digest, held) for held in _tokens(present))


def _tokens(present: Subscription) -> list[str]:
    return list(present.facts.get(_TOKENS, ()))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
