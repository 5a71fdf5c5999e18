"""Append the current state of a tenant's objects to the log, for one subscription, while live changes go on.

The store makes each page of entries of what has been committed by then, so an entry lies in the log behind all that it
contains, and in front of whatever happens to the object next: the lane's order does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core.matching import Matcher, matcher
from angarium.core.resyncing import Choice, choose, event_of, read_terms
from angarium.engine.contract import EXPORT
from angarium.errors import Conflict, NotFound
from angarium.model.event import Event, Kind, ObjectState
from angarium.model.subscription import Owed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from angarium.clock import Clock
    from angarium.engine.registry import Registry
    from angarium.engine.running import Running
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

PAGE = 50
OUTSTANDING_MAX = 100
"""So few, for live events of the same receiver come behind what was appended before them, and so does a cancellation.
Fewer still cost speed: 20,000 objects took 4.3 s with 2,500 outstanding, 5.2 s with 100, 6.7 s with 64."""


class Resyncing:
    """One resync or export: it goes through the objects kind by kind, in the order of their ids."""

    def __init__(self, store: Store, clock: Clock, registry: Registry, running: Running) -> None:
        self._store, self._clock, self._registry, self._running = store, clock, registry, running
        self._spec = running.job.spec
        self._terms = read_terms(running.job.spec, by_last_event=running.job.kind == EXPORT)
        self._appended: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Append all that is wanted; `NotFound` or `Conflict` when the subscription is sent nothing any more."""
        subscription = await self._store.subscription(self._running.job.subscription)
        if subscription is None:
            raise NotFound("its subscription has been deleted")
        await self._begin(subscription)
        async for object_, states in self._pages(subscription):
            await self._append(subscription, object_, states)
        self._running.all_asked()

    async def _begin(self, subscription: Subscription) -> None:
        """Fix where the job begins and about how much it will send, or take up what it had begun."""
        if "begins" not in self._spec:
            heads = await self._store.heads()
            self._spec = {**self._spec, "begins": heads.get(subscription.partition, 0), "at": [0, ""]}
            self._spec["planned"] = await self._count(subscription)
            self._running.plan(self._spec["planned"])
            await self._running.note(spec=self._spec)
            return
        entries = await self._running.take_up(subscription, Kind.RESYNC, after=self._spec["begins"])
        self._appended = {(each.event.object, each.event.object_id) for each in entries if each.event is not None}
        self._running.plan(self._spec["planned"])

    async def _count(self, subscription: Subscription) -> int:
        rule, count = await self._rule(subscription), 0
        async for _, states in self._pages(subscription):
            count += sum(choose(state, self._terms, rule) is Choice.SENT for state in states)
        return count

    async def _rule(self, subscription: Subscription) -> Matcher:
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        version = tenant.latest(subscription.number)
        if version is None or version.owed is not Owed.PUSH:
            raise Conflict("its subscription is pushed nothing any more")
        return matcher(version.rule)

    async def _pages(self, subscription: Subscription) -> AsyncIterator[tuple[int, Sequence[ObjectState]]]:
        """Yield, from where the job stands, which kind comes and some of its objects."""
        first, after = self._spec["at"]
        for place in range(first, len(self._terms.objects)):
            after = after if place == first else ""
            while states := await self._store.objects(
                subscription.project, subscription.tenant, self._terms.objects[place], after=after, limit=PAGE
            ):
                yield place, states
                after = states[-1].object_id

    async def _append(self, subscription: Subscription, place: int, states: Sequence[ObjectState]) -> None:
        """Append what is wanted of a page, as it stands when it is appended, and note how far the job has come."""
        await self._running.wait(below=OUTSTANDING_MAX)
        terms, rule = self._terms, await self._rule(subscription)
        choices = [(state, choose(state, terms, rule)) for state in states]
        wanted = [(state.object, state.object_id) for state, choice in choices if choice is Choice.SENT]
        wanted = [each for each in wanted if each not in self._appended]

        def event(state: ObjectState) -> Event | None:
            return event_of(state, terms) if choose(state, terms, rule) is Choice.SENT else None

        if wanted:
            places = await self._store.append_states(
                subscription.project,
                subscription.tenant,
                wanted,
                target=subscription.number,
                now_ms=self._clock.now().wall_ms,
                event_of=event,
            )
            self._running.expect(subscription.number, [each.offset for each in places])
        job = self._running.job
        skipped = job.skipped + sum(choice is Choice.SKIPPED for _, choice in choices)
        self._spec = {**self._spec, "at": [place, states[-1].object_id]}
        await self._running.note(spec=self._spec, cursor=job.cursor + len(states), skipped=skipped)
