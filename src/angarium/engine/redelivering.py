"""Send many settled deliveries again, each with its own id and body, oldest of each page last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.model.delivery import Attempt, Open, Origin, Settled, State
from angarium.model.event import Place
from angarium.model.wire import Reason
from angarium.store.contract import DeliveryQuery, Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.clock import Clock
    from angarium.engine.running import Running
    from angarium.store.contract import Store

OUTSTANDING_MAX = 500


def reopened(settled: Settled, now_ms: int) -> Open:
    """Return the open delivery that sends a settled one again, due now; its attempts go on counting."""
    return Open(
        settled.key,
        settled.members,
        Origin.REDELIVER,
        settled.attempts,
        now_ms,
        now_ms,
        settled.status,
        settled.reason,
    )


def last_attempt(settled: Settled) -> Attempt | None:
    """Return the attempt with which a delivery arrived, which its record tells of until the next takes its place."""
    if settled.state is not State.DELIVERED:
        return None
    return Attempt(
        settled.key,
        settled.attempts,
        settled.at_ms,
        settled.status,
        settled.reason or str(Reason.ACCEPTED),
        settled.took_ms,
        settled.phases,
        settled.answer,
    )


class Redelivering:
    """One redelivery of many: it walks the list of deliveries, newest first, settled when it was asked for."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        dispatch: Callable[[Open, Attempt | None], Awaitable[bool]],
        running: Running,
    ) -> None:
        self._store, self._clock, self._dispatch, self._running = store, clock, dispatch, running

    async def run(self) -> None:
        """Send all that the job's filters name.

        Ranges of what was never sent are left to a replay, and nothing goes to who is disabled or gone (`skipped`).
        """
        spec = self._running.job.spec
        query = DeliveryQuery(
            self._running.job.project,
            tenant=spec.get("tenant"),
            subscription=spec.get("subscription"),
            state=State(spec["state"]) if spec.get("state") else None,
            event=Place(spec["partition"], spec["offset"], 0) if spec.get("offset") else None,
            since_ms=spec.get("since_ms"),
            until_ms=spec.get("until_ms"),
        )
        after = spec.get("after")
        while True:
            listing = await self._store.deliveries(query, Page(limit=100, after=after))
            for each in listing.data:
                await self._one(each)
            after = listing.next
            if after is None:
                return
            await self._running.note(spec={**spec, "after": after})
            await self._running.wait(below=OUTSTANDING_MAX)

    async def _one(self, delivery: Settled | Open) -> None:
        job = self._running.job
        if isinstance(delivery, Open) or delivery.settled_ms >= job.created_ms:
            return  # It is on its way, or was redelivered by this very job.
        is_whole = not delivery.count and delivery.origin is not Origin.TEST and delivery.state is not State.MERGED
        subscription = await self._store.subscription(delivery.key.subscription) if is_whole else None
        if subscription is None or not subscription.is_served:
            self._running.job = replace(job, skipped=job.skipped + (delivery.count or 1))
            return
        offsets = [*delivery.members, delivery.key.last_offset]
        self._running.expect(delivery.key.subscription, offsets, key=delivery.key)
        if not await self._dispatch(reopened(delivery, self._clock.now().wall_ms), last_attempt(delivery)):
            self._running.release(delivery.key.subscription, offsets)
