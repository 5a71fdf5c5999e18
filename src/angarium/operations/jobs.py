"""Send past events again, one or many: at once, or as jobs, which the engine runs; and look after all jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from angarium.engine.redelivering import last_attempt, reopened
from angarium.engine.running import ALONE as JOBS
from angarium.errors import Conflict, FieldError, NotFound
from angarium.model.delivery import Open, Origin, State
from angarium.model.registry import Job, JobState
from angarium.operations.deliveries import Asked, Deliveries, query_of
from angarium.operations.examples import check_is_pushed_to
from angarium.operations.windows import read_window
from angarium.operations.writing import find_subscription

if TYPE_CHECKING:
    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.store.contract import Listing, Page

PREFIX: Final = "job_"
REPLAY: Final = "replay"
REDELIVER: Final = "redeliver"


class Jobs:
    """Send again, and look after jobs."""

    def __init__(self, context: Context, deliveries: Deliveries) -> None:
        self._context = context
        self._store = context.store
        self._deliveries = deliveries

    # -- sending again ----------------------------------------------------------------------------------------------

    async def replay(self, reach: Reach, id_: str, *, from_: str | None, until: str | None, state: str | None) -> Job:
        """Send a subscription its past events again, in their order, with the same ids."""
        subscription = await find_subscription(self._context, reach, id_)
        check_is_pushed_to(subscription)
        window = read_window(from_, until, since_field="from")
        spec = {"from_ms": window.since_ms, "until_ms": window.until_ms, "state": state}
        return await self._start(reach, REPLAY, spec, subscription=subscription, tenant=subscription.tenant)

    async def redeliver(self, reach: Reach, id_: str) -> Open | Job:
        """Send one past delivery again, now, with the same id and body; a range is replayed, as a job.

        `Conflict` when it is still being retried, or its subscription is not pushed to.
        """
        found = await self._deliveries.find(reach, id_)
        subscription = await self._store.subscription(found.key.subscription)
        if subscription is None:
            raise Conflict(f"the subscription of delivery {id_} has been deleted, so there is nowhere to send it")
        check_is_pushed_to(subscription)
        if isinstance(found, Open):
            raise Conflict(f"delivery {id_} is still on its way; it is sent again by itself")
        if found.count:
            spec = {"first_offset": found.first_offset, "last_offset": found.key.last_offset}
            return await self._start(reach, REPLAY, spec, subscription=subscription, tenant=subscription.tenant)
        if found.state is State.MERGED:
            raise Conflict(f"delivery {id_} was merged into a later one, which holds its events; send that one again")
        if found.origin is Origin.TEST:
            raise Conflict(f"delivery {id_} was a test, whose event is not kept; POST …/test sends another")
        open_ = reopened(found, self._context.clock.now().wall_ms)
        if not await self._context.engine.dispatch(open_, last_attempt(found)):
            raise Conflict(f"delivery {id_} is being sent again already")
        return open_

    async def redeliver_many(self, reach: Reach, asked: Asked) -> Job:
        """Send all settled deliveries again that the filters choose; at least one filter chooses."""
        if asked == Asked():
            raise FieldError("", "no filter was given, which would mean every delivery there is; name one, as state")
        if asked.state == State.RETRYING:
            raise FieldError("state", "is retrying, but those are sent again by themselves; name another, as exhausted")
        query = query_of(self._context.ids, reach, asked)
        spec = {
            "subscription": query.subscription,
            "tenant": query.tenant,
            "state": query.state.value if query.state is not None else None,
            "since_ms": query.since_ms,
            "until_ms": query.until_ms,
            "partition": query.event.partition if query.event is not None else None,
            "offset": query.event.offset if query.event is not None else None,
        }
        subscription = None
        if asked.subscription is not None:
            subscription = await find_subscription(self._context, reach, asked.subscription)
            check_is_pushed_to(subscription)
        tenant = subscription.tenant if subscription is not None else query.tenant or ""
        return await self._start(reach, REDELIVER, spec, subscription=subscription, tenant=tenant)

    async def _start(
        self, reach: Reach, kind: str, spec: dict[str, Any], *, subscription: Subscription | None, tenant: str
    ) -> Job:
        number = subscription.number if subscription is not None else 0
        return await start_job(self._context, reach, kind, spec, subscription=number, tenant=tenant)

    # -- jobs -------------------------------------------------------------------------------------------------------

    async def listed(self, reach: Reach, page: Page, *, tenant: str | None = None) -> Listing[Job]:
        """List jobs, the newest first."""
        return await self._store.jobs(reach.project, page, tenant=reach.filter(tenant))

    async def get(self, reach: Reach, id_: str) -> Job:
        """Return a job, with how far it is."""
        number = self._context.ids.number(PREFIX, id_)
        found = await self._store.job(number) if number is not None else None
        if found is None or found.id != id_ or not reach.holds(project=found.project, tenant=found.tenant):
            raise NotFound(f"there is no job {id_[:80]!r} here")
        return found

    async def cancel(self, reach: Reach, id_: str) -> Job:
        """Cancel a job: what it has not begun is not begun any more. `Conflict` when it has ended by itself."""
        number = (await self.get(reach, id_)).number
        # Whoever runs it writes its progress: here it is stopped before its state is read, elsewhere it is kept out.
        self._context.engine.stop(number)
        async with self._store.alone(JOBS):
            found = await self.get(reach, id_)
            if found.state is JobState.CANCELLED:
                return found
            if found.state is not JobState.RUNNING:
                raise Conflict(f"job {id_} is {found.state} already")
            cancelled = replace(found, state=JobState.CANCELLED, updated_ms=self._context.clock.now().wall_ms)
            await self._store.put_job(cancelled)
        return cancelled

    async def subscription_of(self, job: Job) -> Subscription | None:
        """Return the subscription that a job is for, while there is one."""
        return await self._store.subscription(job.subscription) if job.subscription else None


async def start_job(  # noqa: PLR0913  what a job is made of
    context: Context,
    reach: Reach,
    kind: str,
    spec: dict[str, Any],
    *,
    subscription: int,
    tenant: str,
    detail: str = "",
) -> Job:
    """Store a job and have the engine run it; members of `spec` that are None are left out."""
    now_ms, number = context.clock.now().wall_ms, await context.store.number("job")
    job = Job(
        number=number,
        id=context.ids.numbered(PREFIX, number, now_ms),
        project=reach.project,
        tenant=tenant,
        kind=kind,
        state=JobState.RUNNING,
        created_ms=now_ms,
        updated_ms=now_ms,
        subscription=subscription,
        spec={name: value for name, value in spec.items() if value is not None},
        detail=detail,
    )
    await context.store.put_job(job)
    context.engine.start(job)
    return job
