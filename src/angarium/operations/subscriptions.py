"""Make, change, list and delete subscriptions; pause, resume and disable them; rotate their secrets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict, FieldError
from angarium.model.delivery import Settled, State
from angarium.model.subscription import Owed, Status, Subscription
from angarium.operations.binding import bound, check_bound
from angarium.operations.handshaking import Handshakes, is_verified
from angarium.operations.merging import merge
from angarium.operations.reach import check_tenant
from angarium.operations.secrecy import (
    make_secret,
    open_headers,
    open_options,
    rotated,
    seal_headers,
    seal_options,
)
from angarium.operations.terms import MASK, Terms, document_of, own_headers, read_terms
from angarium.operations.writing import (
    PREFIX,
    add_subscription,
    edit_subscription,
    find_subscription,
    owed_while,
    remove_subscription,
)
from angarium.store.contract import DeliveryQuery, Listing, Page
from angarium.store.paging import cut, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.dialects.dialect import Dialect
    from angarium.engine.contract import LaneView
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.vault import Vault

DAY_S: Final = 86_400
OVERLAP_S_MAX: Final = 30 * DAY_S
FAILING: Final = "failing"
STATES: Final = ("unverified", "active", FAILING, "paused", "disabled")
"""What a subscription may be shown as: what it was last told to be, or that its receiver is failing."""

_NOT_YET = "the handshake has not been answered yet"
_BY_A_PERSON = "disabled by a person"


class Standing(Struct, frozen=True):
    """A subscription with how it is doing; moments are 0 for never. `secret` is there once, when it was made."""

    subscription: Subscription
    lane: LaneView
    last_delivered_ms: int = 0
    secret: str | None = None

    @property
    def state(self) -> str:
        """Return its state as it is shown."""
        status = self.subscription.status
        return FAILING if status is Status.ACTIVE and self.lane.is_failing else status.value


class Subscriptions:
    """Keep the subscriptions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._handshakes = Handshakes(context)

    async def create(
        self,
        reach: Reach,
        document: dict[str, Any],
        *,
        tenant: str | None = None,
        secret: str | None = None,
        known: Callable[[Subscription], Subscription] = lambda made: made,
    ) -> Standing:
        """Subscribe: make a subscription of a document, verify it where its project demands that, return it whole.

        `known` puts in what an older API knows of it beside that.
        """
        owner = check_tenant(reach.owner(tenant))
        terms = read_terms(document, project=reach.served.project, settings=self._context.settings, tenant=owner)
        number = await self._store.number("subscription")
        subscription, shown = self._made(reach, owner, terms, number, secret)
        named = await bound(self._context, reach, known(subscription))
        written = await add_subscription(self._context, reach, named)
        written = await check_bound(self._context, reach, written)
        if written.status is Status.UNVERIFIED:
            problem = await self._handshakes.problem(reach.served.project, written)
            written = await self._handshakes.conclude(reach, written, problem)
        return replace(await self._standing(written), secret=shown)

    async def preview_new(
        self, reach: Reach, document: dict[str, Any], *, tenant: str | None = None, secret: str | None = None
    ) -> Standing:
        """Return what `create` would make of a document, without an id; nothing is written, and no receiver asked."""
        owner = check_tenant(reach.owner(tenant))
        terms = read_terms(document, project=reach.served.project, settings=self._context.settings, tenant=owner)
        made = await bound(self._context, reach, self._made(reach, owner, terms, 0, secret)[0])
        return await self._standing(replace(made, id=""))

    async def get(self, reach: Reach, id_: str) -> Standing:
        """Return one subscription."""
        return await self._standing(await find_subscription(self._context, reach, id_))

    async def listed(
        self, reach: Reach, page: Page, *, tenant: str | None = None, state: str | None = None
    ) -> Listing[Standing]:
        """List subscriptions, the newest first."""
        tenant = reach.filter(tenant)
        if state == FAILING:
            listing = await self._failing(reach, page, tenant)
        else:
            status = None if state is None else Status(state)
            listing = await self._store.subscriptions(reach.project, page, tenant=tenant, status=status)
        standings = await asyncio.gather(*map(self._standing, listing.data))
        shown = [each for each in standings if state is None or each.state == state]
        return Listing(shown, listing.next, listing.prev)

    async def change(self, reach: Reach, id_: str, patch: dict[str, Any]) -> Standing:
        """Merge a change into what its maker said (RFC 7396). A changed address is verified before anything changes."""
        passed: set[str] = set()
        shown: list[str | None] = []

        async def edit(present: Subscription) -> Subscription:
            wanted, secret = self._changed(reach, present, patch)
            wanted = await bound(self._context, reach, wanted)
            shown[:] = [secret]
            is_asked = wanted.url != present.url or _has_other_handshake(present, wanted)
            if is_asked and present.status is not Status.UNVERIFIED and wanted.url not in passed:
                await self._handshakes.check_address(reach.served.project, wanted)
                passed.add(wanted.url)
                wanted = self._handshakes.named(reach.served.project, wanted)
            return wanted

        before = await find_subscription(self._context, reach, id_)
        written = await edit_subscription(self._context, reach, id_, edit)
        if written.status is Status.UNVERIFIED and written.url != before.url:
            problem = await self._handshakes.problem(reach.served.project, written)
            written = await self._handshakes.conclude(reach, written, problem)
        return replace(await self._standing(written), secret=shown[0])

    async def preview(self, reach: Reach, id_: str, patch: dict[str, Any]) -> Standing:
        """Return what a change would make of a subscription; nothing is written, and no receiver asked."""
        present = await find_subscription(self._context, reach, id_)
        wanted = await bound(self._context, reach, self._changed(reach, present, patch)[0])
        if wanted != present:
            wanted = replace(wanted, updated_ms=max(self._context.clock.now().wall_ms, present.updated_ms + 1))
        return await self._standing(wanted)

    async def delete(self, reach: Reach, id_: str) -> None:
        """Delete a subscription: it is owed nothing any more, and no request starts after this."""
        await remove_subscription(self._context, reach, id_)

    # -- states -----------------------------------------------------------------------------------------------------

    async def pause(self, reach: Reach, id_: str) -> Standing:
        """Send nothing until it is resumed; what is owed waits."""

        async def edit(present: Subscription) -> Subscription:
            if present.status in {Status.UNVERIFIED, Status.DISABLED}:
                raise Conflict(f"subscription {id_} is {present.status}, so nothing is sent that could wait")
            return replace(present, status=Status.PAUSED)

        return await self._standing(await edit_subscription(self._context, reach, id_, edit))

    async def resume(self, reach: Reach, id_: str) -> Standing:
        """Send what has waited while it was paused; one that was disabled starts from now, once it is verified."""
        now_ms = self._context.clock.now().wall_ms
        project = reach.served.project

        async def edit(present: Subscription) -> Subscription:
            match present.status:
                case Status.ACTIVE:
                    return present
                case Status.UNVERIFIED:
                    raise Conflict(f"subscription {id_} is unverified; POST …/{id_}/verify starts the handshake")
                case Status.DISABLED if is_verified(project, present.kind, dialect_of(present.dialect)):
                    return replace(present, status=Status.UNVERIFIED, owed=Owed.NOTHING, reason=_NOT_YET)
                case _:
                    owed = owed_while(Status.ACTIVE, present.kind)
                    return replace(present, status=Status.ACTIVE, owed=owed, reason="", resumed_ms=now_ms)

        written = await edit_subscription(self._context, reach, id_, edit)
        if written.status is Status.UNVERIFIED:
            problem = await self._handshakes.problem(project, written)
            written = await self._handshakes.conclude(reach, written, problem)
        return await self._standing(written)

    async def disable(self, reach: Reach, id_: str) -> Standing:
        """Owe it nothing from now on; what waits is cancelled."""

        async def edit(present: Subscription) -> Subscription:
            return replace(present, status=Status.DISABLED, owed=Owed.NOTHING, reason=_BY_A_PERSON)

        return await self._standing(await edit_subscription(self._context, reach, id_, edit))

    async def verify(self, reach: Reach, id_: str) -> Standing:
        """Start the handshake again."""
        return await self._standing(await self._handshakes.verify(reach, id_))

    async def rotate(self, reach: Reach, id_: str, *, overlap_s: int = DAY_S, secret: str | None = None) -> str:
        """Give it a new secret, and let the old one sign beside it for so long; return the new one as it is shown."""
        shown: list[str] = []

        async def edit(present: Subscription) -> Subscription:
            dialect, now_ms = dialect_of(present.dialect), self._context.clock.now().wall_ms
            if not present.secrets and not dialect.traits.makes_secret and secret is None:
                raise Conflict(f"subscription {id_} has no secret that is rotated; {_where_secrets_are(dialect)}")
            new = make_secret(self._context.vault, present.number, dialect, present.options, given=secret)
            shown[:] = [new.shown]
            until_ms = now_ms + overlap_s * 1000
            return replace(present, secrets=rotated(present.secrets, new.stored, until_ms=until_ms, now_ms=now_ms))

        await edit_subscription(self._context, reach, id_, edit)
        return shown[0]

    # -- making -----------------------------------------------------------------------------------------------------

    def _made(
        self, reach: Reach, owner: str, terms: Terms, number: int, secret: str | None
    ) -> tuple[Subscription, str | None]:
        """Return a new subscription, and its secret as it is shown."""
        now_ms, dialect = self._context.clock.now().wall_ms, dialect_of(terms.dialect)
        new = None
        if secret is not None or dialect.traits.makes_secret:
            new = make_secret(self._context.vault, number, dialect, terms.options, given=secret)
        status = Status.UNVERIFIED if is_verified(reach.served.project, terms.kind, dialect) else Status.ACTIVE
        made = Subscription(
            number=number,
            id=self._context.ids.numbered(PREFIX, number, now_ms),
            project=reach.project,
            tenant=owner,
            partition=partition_of(reach.project, owner),
            created_ms=now_ms,
            updated_ms=now_ms,
            status=status,
            secrets=(new.stored,) if new else (),
            reason=_NOT_YET if status is Status.UNVERIFIED else "",
            owed=owed_while(status, terms.kind),
        )
        return self._on(made, terms), new.shown if new else None

    def _changed(self, reach: Reach, present: Subscription, patch: dict[str, Any]) -> tuple[Subscription, str | None]:
        """Return a subscription as a patch wants it, and its new secret when the patch means one."""
        document = _merged(present, patch)
        project, tenant = reach.served.project, present.tenant
        terms = read_terms(document, project=project, settings=self._context.settings, tenant=tenant)
        wanted = self._on(present, terms)
        if wanted.kind != present.kind and wanted.status in {Status.ACTIVE, Status.PAUSED}:
            wanted = replace(wanted, owed=owed_while(wanted.status, wanted.kind))
        if not _needs_secret(present, wanted):
            return wanted, None
        new = make_secret(self._context.vault, present.number, dialect_of(wanted.dialect), wanted.options)
        if wanted.dialect != present.dialect:
            return replace(wanted, secrets=(new.stored,)), new.shown
        now_ms = self._context.clock.now().wall_ms
        secrets = rotated(present.secrets, new.stored, until_ms=now_ms + DAY_S * 1000, now_ms=now_ms)
        return replace(wanted, secrets=secrets), new.shown

    def _on(self, subscription: Subscription, terms: Terms) -> Subscription:
        """Return a subscription on these terms; what a handshake has put among its headers stays."""
        own = own_headers(subscription)
        ours = {name: value for name, value in subscription.headers.items() if name not in own}
        return replace(
            subscription,
            kind=terms.kind,
            url=terms.url,
            name=terms.name,
            description=terms.description,
            dialect=terms.dialect,
            rule=terms.rule,
            overrides=terms.overrides,
            **_options(self._context.vault, subscription, terms),
            headers={**ours, **_sealed_headers(self._context.vault, subscription, terms)},
        )

    # -- how they are doing -----------------------------------------------------------------------------------------

    async def _standing(self, subscription: Subscription) -> Standing:
        query = DeliveryQuery(subscription.project, subscription=subscription.number, state=State.DELIVERED)
        newest = (await self._store.deliveries(query, Page(limit=1))).data
        last_ms = max((each.settled_ms for each in newest if isinstance(each, Settled)), default=0)
        return Standing(subscription, await self._context.engine.lane(subscription), last_ms)

    async def _failing(self, reach: Reach, page: Page, tenant: str | None) -> Listing[Subscription]:
        """List those whose lanes are failing, which the engine knows; each is looked at until the page is full."""
        wanted = window("subscriptions", page)
        numbers = [each for each in await self._context.engine.lane_failing(reach.project) if wanted.holds((each,))]
        found: list[Subscription] = []
        for number in sorted(numbers, reverse=not wanted.is_backward):
            each = await self._store.subscription(number)
            if each is None or each.project != reach.project or tenant not in (None, each.tenant):
                continue
            if each.status is Status.ACTIVE and (await self._context.engine.lane(each)).is_failing:
                found.append(each)
            if len(found) > wanted.limit:
                break
        return cut(wanted, found, lambda each: (each.number,))


def _merged(present: Subscription, patch: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a subscription with a patch merged in."""
    if "secret" in patch:
        raise FieldError("secret", "cannot be set by a change; POST …/secret/rotate takes it, with an overlap")
    document = document_of(present)
    patch = dict(patch)
    if isinstance(patch.get("headers"), dict):
        patch["headers"] = _headers(present, patch["headers"])
    if patch.get("dialect", present.dialect) != present.dialect:
        document["options"] = {}  # Another dialect's.
    if patch.get("kind") == "pull":
        document["url"] = None
    merged: dict[str, Any] = merge(document, patch)
    return merged


def _headers(present: Subscription, given: dict[str, Any]) -> dict[str, Any]:
    """Return a patch's headers in lower case; a value that is given as it is shown, masked, stays what it was."""
    lower = {name.lower(): value for name, value in given.items()}
    return {name: value for name, value in lower.items() if value != MASK or name not in present.headers}


def _sealed_headers(vault: Vault, subscription: Subscription, terms: Terms) -> dict[str, bytes]:
    """Return the headers on these terms, sealed; a value that has not changed stays as it is sealed."""
    known = open_headers(vault, subscription)
    given = {
        name: subscription.headers[name] if name in known and known[name] == value else value
        for name, value in terms.headers.items()
    }
    return seal_headers(vault, subscription.number, given)


def _options(vault: Vault, subscription: Subscription, terms: Terms) -> dict[str, Any]:
    """Return the options on these terms, the secret ones sealed; one that has not changed stays as it is sealed.

    So does one that is given as it is shown, and what the server keeps there of its own (a grant's token).
    """
    names = dialect_of(terms.dialect).traits.secret_options
    secret = {name: value for name, value in terms.options.items() if name in names}
    known = open_options(vault, subscription)
    for name, value in secret.items():
        if value == MASK and name not in known:
            raise FieldError(f"options.{name}", "is what a secret is shown as; give the secret itself")
    kept = {name: subscription.sealed[name] for name, value in secret.items() if value in _same(known, name)}
    new = {name: value for name, value in secret.items() if value and name not in kept}
    plain = {name: value for name, value in terms.options.items() if name not in secret}
    is_other = terms.dialect != subscription.dialect
    ours = {} if is_other else {name: value for name, value in subscription.sealed.items() if name not in names}
    return {"options": plain, "sealed": {**ours, **kept, **seal_options(vault, subscription.number, new)}}


def _same(known: dict[str, str], name: str) -> tuple[str, ...]:
    """Return the ways to say that a secret option stays what it is."""
    return (MASK, known[name]) if name in known else ()


def _has_other_handshake(present: Subscription, wanted: Subscription) -> bool:
    """Say whether another dialect verifies in a way of its own."""
    return wanted.dialect != present.dialect and dialect_of(wanted.dialect).handshake is not None


def _where_secrets_are(dialect: Dialect) -> str:
    names = " and ".join(f"options.{name}" for name in dialect.traits.secret_options)
    if names:
        return f"its dialect {dialect.name} has {names}, which PATCH changes"
    return f"its dialect {dialect.name} has none of its own"


def _needs_secret(present: Subscription, wanted: Subscription) -> bool:
    """Say whether the change means a secret of another form: another dialect's, or another signature scheme's."""
    if not dialect_of(wanted.dialect).traits.makes_secret:
        return False
    is_other = wanted.options.get("signature") != present.options.get("signature")
    return wanted.dialect != present.dialect or (is_other and bool(present.secrets))
