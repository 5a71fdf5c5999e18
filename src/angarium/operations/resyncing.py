"""Ask for a resync: the current state of chosen objects, sent to one subscription as if they had just been created.

Which objects, in which order and in which window is settled here; sending them is the engine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from angarium.core.matching import matcher
from angarium.dialects.registry import dialect as dialect_of
from angarium.engine.contract import EXPORT, RESYNC
from angarium.errors import Conflict, FieldError
from angarium.model.registry import JobState
from angarium.model.subscription import Rule
from angarium.operations.context import RESYNCING
from angarium.operations.examples import check_is_pushed_to
from angarium.operations.jobs import start_job
from angarium.operations.objects import check_objects_are_kept
from angarium.operations.windows import read_window
from angarium.operations.writing import find_subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.projects import Served
    from angarium.operations.reach import Reach

_ACTION: Final = "create"


class ResyncAsked(Struct, frozen=True):
    """What is asked for, in the words of the HTTP API. `actor` left out is the caller's own."""

    from_: str | None = None
    until: str | None = None
    objects: Sequence[str] | None = None
    actor: dict[str, Any] | None = None


class Resyncs:
    """Start resyncs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def resync(self, reach: Reach, id_: str, asked: ResyncAsked) -> Job:
        """Send a subscription the objects that it selects, as they stand.

        `Conflict` while the project keeps no objects, nothing is pushed to the subscription, or it is being resynced.
        """
        subscription = await find_subscription(self._context, reach, id_)
        check_is_pushed_to(subscription)
        check_objects_are_kept(reach.served.project)
        kinds = await self._kinds(reach, subscription) if asked.objects is None else asked.objects
        spec, left_out = _read(reach, subscription, asked, kinds)
        detail = f"left out, for the subscription does not select them: {', '.join(left_out)}" if left_out else ""
        return await self.start(reach, RESYNC, spec, subscription, detail=detail)

    async def _kinds(self, reach: Reach, subscription: Subscription) -> Sequence[str]:
        """Return the objects that the project names, or else those that the tenant has."""
        if known := reach.served.catalogue.objects:
            return known
        await self._context.engine.folded()
        return await self._context.store.object_kinds(subscription.project, subscription.tenant)

    async def start(
        self, reach: Reach, kind: str, spec: dict[str, Any], subscription: Subscription, *, detail: str = ""
    ) -> Job:
        """Start a job that sends current state, unless one is under way for this subscription (`Conflict`)."""
        async with self._context.store.alone(RESYNCING):
            running = await running_for(self._context, subscription)
            if running is not None:
                raise Conflict(
                    f"subscription {subscription.id} is being resynced by job {running.id}; wait for it, or cancel it"
                )
            return await start_job(
                self._context,
                reach,
                kind,
                spec,
                subscription=subscription.number,
                tenant=subscription.tenant,
                detail=detail,
            )


async def running_for(context: Context, subscription: Subscription) -> Job | None:
    """Return the job that is sending a subscription current state, if there is one."""
    for job in await context.store.jobs_in(JobState.RUNNING):
        if job.subscription == subscription.number and job.kind in {RESYNC, EXPORT}:
            return job
    return None


def _read(
    reach: Reach, subscription: Subscription, asked: ResyncAsked, kinds: Sequence[str]
) -> tuple[dict[str, Any], Sequence[str]]:
    """Return what the engine is to do, and which of the objects that were asked for are not selected."""
    catalogue, dialect = reach.served.catalogue, dialect_of(subscription.dialect)
    span = read_window(asked.from_, asked.until, since_field="from")
    named = _named(reach.served, kinds, asked)
    rule = dialect.narrow(subscription.rule, subscription.all_options)
    objects = [object_ for object_ in _in_order(named, tuple(dialect.traits.catalogue or ())) if selects(rule, object_)]
    left_out = [object_ for object_ in named if object_ not in objects]
    if not objects and named:
        wanted = ", ".join(subscription.rule.types) or "nothing that can be said in its dialect"
        raise FieldError("objects", f"are none that the subscription selects, which is {wanted}; name others")
    window = {object_: member for object_ in objects if (member := catalogue.window(object_))}
    if dialect.traits.asks_window and window and span.since_ms is None and span.until_ms is None:
        raise FieldError(
            "from", f"is missing, and until too: {', '.join(window)} are sent by when they start; name a window"
        )
    actor = asked.actor if asked.actor is not None else _actor_of(reach)
    spec = {
        "from_ms": span.since_ms,
        "until_ms": span.until_ms,
        "objects": objects,
        "window": window,
        "actor": actor,
    }
    return spec, left_out if asked.objects is not None else ()


def _named(served: Served, kinds: Sequence[str], asked: ResyncAsked) -> Sequence[str]:
    """Return the objects that are meant, each once; `FieldError` for those that the project does not know."""
    known = served.catalogue.objects
    if asked.objects is not None and not asked.objects:
        raise FieldError("objects", "is empty, so nothing would be sent; leave it out to send all that are selected")
    for place, object_ in enumerate(kinds):
        if known and object_ not in known:
            raise FieldError(f"objects[{place}]", f"is {object_[:80]!r}, expected one of {', '.join(known)}")
    return list(dict.fromkeys(kinds))


def _in_order(objects: Sequence[str], dialect_s: Sequence[str]) -> Sequence[str]:
    """Return objects in their dialect's order, in which what is referred to comes before what refers to it."""
    ranks = {object_: rank for rank, object_ in enumerate(dialect_s)}
    return sorted(objects, key=lambda object_: ranks.get(object_, len(ranks)))


def selects(rule: Rule, object_: str) -> bool:
    """Say whether a narrowed rule wants an object at all, may have it, and can be told that it was created."""
    is_wanted = not rule.types or any(text == "*" or text.rpartition(".")[0] in {"*", object_} for text in rule.types)
    return is_wanted and _hold(rule.permitted, object_) and _hold(rule.sayable, object_)


def _hold(types: Sequence[str] | None, object_: str) -> bool:
    return types is None or (bool(types) and matcher(Rule(tuple(types))).wants(object_, _ACTION))


def _actor_of(reach: Reach) -> Any:  # noqa: ANN401  JSON, as it was published
    return msgspec.json.decode(reach.caller.actor) if reach.caller.actor else None
