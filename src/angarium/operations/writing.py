"""Write subscriptions: find one within reach, edit it, store it with the version that the edit means, tell the engine.

Two edits at once do not lose each other: who finds that another was written meanwhile reads again and repeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from angarium.core.patterns import compile_pattern
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict, NotFound
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.telemetry import SUBSCRIPTION_CHANGED, SUBSCRIPTION_DELETED, emit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.operations.context import Context
    from angarium.operations.reach import Reach

PREFIX: Final = "sub_"
_TRIES: Final = 8


async def find_subscription(context: Context, reach: Reach, id_: str) -> Subscription:
    """Return the subscription that an id names; `NotFound` unless it lies within reach."""
    number = context.ids.number(PREFIX, id_)
    found = await context.store.subscription(number) if number is not None else None
    if found is None or found.id != id_ or not reach.holds(project=found.project, tenant=found.tenant):
        raise NotFound(f"there is no subscription {id_[:80]!r} here")
    return found


async def add_subscription(context: Context, reach: Reach, subscription: Subscription) -> Subscription:
    """Store a new subscription with its first version."""
    return await _write(context, reach, None, subscription)


async def edit_subscription(
    context: Context, reach: Reach, id_: str, edit: Callable[[Subscription], Awaitable[Subscription]]
) -> Subscription:
    """Store what `edit` makes of a subscription; it is called again when another edit came between."""
    for _ in range(_TRIES):
        present = await find_subscription(context, reach, id_)
        wanted = await edit(present)
        if wanted == present:
            return present
        wanted = replace(wanted, updated_ms=max(context.clock.now().wall_ms, present.updated_ms))
        try:
            return await _write(context, reach, present, wanted)
        except Conflict:
            continue
    raise Conflict(f"subscription {id_} is being changed by many at once; repeat in a moment")


async def remove_subscription(context: Context, reach: Reach, id_: str) -> None:
    """Delete a subscription: it is owed nothing any more, and no request starts after this."""
    found = await find_subscription(context, reach, id_)
    gone = replace(found, updated_ms=context.clock.now().wall_ms)
    await context.store.remove(gone)
    await context.engine.changed(gone)
    emit(SUBSCRIPTION_DELETED, subscription=gone.id, project=gone.project, tenant=gone.tenant, by=reach.by)


def owed_while(status: Status, kind: str) -> Owed:
    """Say what a subscription is owed in a state that a person put it in."""
    if status in {Status.UNVERIFIED, Status.DISABLED}:
        return Owed.NOTHING
    return Owed.FEED if kind == "pull" else Owed.PUSH


async def _write(context: Context, reach: Reach, present: Subscription | None, wanted: Subscription) -> Subscription:
    revision = present.revision if present else 0
    wanted = replace(wanted, owed=_owed(wanted))
    await context.store.change(wanted, _version(present, wanted), revision=revision)
    written = replace(wanted, revision=revision + 1)
    await context.engine.changed(written)
    emit(
        SUBSCRIPTION_CHANGED,
        subscription=written.id,
        project=written.project,
        tenant=written.tenant,
        status=written.status.value,
        by=reach.by,
    )
    return written


def _version(present: Subscription | None, wanted: Subscription) -> Version | None:
    """Return the version that a change means: none unless what is owed, or in which dialect, has changed."""
    terms = _terms(wanted)
    if present is not None and terms == _terms(present):
        return None
    return Version(wanted.number, 0, *terms)


def _owed(subscription: Subscription) -> Owed:
    """Return what a subscription is owed: nothing, so that what waits is not sent, while its grant permits nothing."""
    if subscription.status not in {Status.ACTIVE, Status.PAUSED}:
        return subscription.owed
    is_barred = _narrowed(subscription).permitted == ()
    return Owed.NOTHING if is_barred else owed_while(subscription.status, subscription.kind)


def _narrowed(subscription: Subscription) -> Rule:
    return dialect_of(subscription.dialect).narrow(subscription.rule, subscription.all_options)


def _terms(subscription: Subscription) -> tuple[Owed, Rule, str]:
    """Return what decides which events are owed: the rule as far as the dialect can say, and the grant permits."""
    rule = _narrowed(subscription)
    if rule.pattern:
        compile_pattern(rule.pattern)  # What a dialect adds may be too much; what cannot be compiled must not be kept.
    return subscription.owed, rule, subscription.dialect
