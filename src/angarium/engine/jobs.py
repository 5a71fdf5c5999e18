"""Run jobs: replays and resyncs, which append entries to the log, and redeliveries of many.

Each can stop at any moment and go on.

What a job does is spelled out in its `spec`, moments in milliseconds, members that are absent or null allowing any:

| kind | spec |
|---|---|
| `replay` | `from_ms`, `until_ms`, `state` of the deliveries; or `first_offset` and `last_offset` |
| `redeliver` | `subscription` (number), `tenant`, `state`, `since_ms`, `until_ms`, `partition`, `offset` of an event |
| `resync` | `objects` (kinds, in the order to send), `window` (kind to member), `from_ms`, `until_ms`, `actor` |
| `export` | the same without `window` |

A resync sends what is not deleted, as `create`, `actor` (a JSON value) having asked for it. Of a kind that is in
`window`, only what has a moment in that member of its `data`, from `from_ms` to `until_ms`, both included; what has no
moment there is `skipped`. An export goes by when the last event of an object occurred.

`total` counts what was asked for so far, `done` and `failed` what has been settled since. A job keeps a bounded number
of deliveries outstanding, so that a long one neither floods its lane nor memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.engine.redelivering import Redelivering
from angarium.engine.replaying import Replaying
from angarium.errors import AngariumError, StoreAway
from angarium.model.delivery import State
from angarium.model.registry import JobState
from angarium.telemetry import JOB_FINISHED, JOB_STARTED, emit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from angarium.clock import Clock
    from angarium.engine.registry import Registry
    from angarium.model.delivery import Open, Settled
    from angarium.model.registry import Job
    from angarium.store.contract import Store

_AWAY_S = 0.5
_NOTE_S = 0.5


class Running:
    """One job under way: what it still waits for, and its progress."""

    def __init__(self, job: Job, store: Store, clock: Clock) -> None:
        self.job = job
        self._store, self._clock = store, clock
        self._outstanding: set[tuple[int, int]] = set()
        self._moved = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """Return how many events are on their way."""
        return len(self._outstanding)

    def expect(self, subscription: int, offsets: Sequence[int]) -> None:
        """Take note that these offsets will be settled; they count towards the total."""
        self._outstanding.update((subscription, offset) for offset in offsets)
        self.job = replace(self.job, total=self.job.total + len(offsets))

    def take_up(self, subscription: int, *, total: int, outstanding: Sequence[int]) -> None:
        """Take up an interrupted job: so many were asked for, and these are not settled yet."""
        self._outstanding.update((subscription, offset) for offset in outstanding)
        self.job = replace(self.job, total=total, done=total - len(outstanding))

    def release(self, subscription: int, offsets: Sequence[int]) -> None:
        """Take note that these will not be settled after all."""
        self._outstanding.difference_update((subscription, offset) for offset in offsets)
        self.job = replace(self.job, total=self.job.total - len(offsets))

    def settled(self, settled: Sequence[Settled]) -> None:
        """Count what was waited for among what was settled."""
        if not self._outstanding:
            return
        for each in settled:
            ended = [(each.key.subscription, offset) for offset in (*each.members, each.key.last_offset)]
            mine = [place for place in ended if place in self._outstanding]
            if mine:
                self._outstanding.difference_update(mine)
                self._count(len(mine), each.state)
        self._moved.set()

    def _count(self, count: int, state: State) -> None:
        if state is State.DELIVERED:
            self.job = replace(self.job, done=self.job.done + count)
        else:
            self.job = replace(self.job, done=self.job.done + count, failed=self.job.failed + count)

    async def wait(self, *, below: int) -> None:
        """Wait until fewer than so many are outstanding, noting progress on the way."""
        while len(self._outstanding) >= below:
            self._moved.clear()
            await self.note()
            try:
                await asyncio.wait_for(self._moved.wait(), _NOTE_S)
            except TimeoutError:
                continue

    async def note(self, **changes: object) -> None:
        """Write the job's progress, unless it was cancelled meanwhile."""
        stored = await self._store.job(self.job.number)
        if stored is None or stored.state is not JobState.RUNNING:
            raise asyncio.CancelledError
        self.job = replace(self.job, updated_ms=self._clock.now().wall_ms, **changes)
        await self._store.put_job(self.job)


class Jobs:
    """All jobs of this process. `dispatch` sends a redelivery; `watch` tells of what was settled."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        dispatch: Callable[[Open], Awaitable[bool]],
    ) -> None:
        self._store, self._clock, self._registry, self._dispatch = store, clock, registry, dispatch
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Running] = {}

    async def open(self) -> None:
        """Go on with the jobs that were running."""
        for job in await self._store.jobs_in(JobState.RUNNING):
            self.start(job)

    async def close(self) -> None:
        """Stop; what is left goes on with the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def start(self, job: Job) -> None:
        """Run a job that the store holds as running."""
        running = self._running[job.number] = Running(job, self._store, self._clock)
        task = asyncio.get_running_loop().create_task(self._run(running))
        self._tasks[job.number] = task
        task.add_done_callback(lambda _: self._forget(job.number))

    def _forget(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._running.pop(number, None)

    def stop(self, number: int) -> None:
        """Stop a job; what it has already appended is delivered all the same."""
        if number in self._tasks:
            self._tasks[number].cancel()

    def settled(self, settled: Sequence[Settled]) -> None:
        """Tell the jobs what was settled."""
        for running in self._running.values():
            running.settled(settled)

    async def _run(self, running: Running) -> None:
        job = running.job
        emit(JOB_STARTED, job=job.id, kind=job.kind, project=job.project, tenant=job.tenant)
        while True:
            try:
                await self._work(running)
                await running.wait(below=1)
                await running.note(state=JobState.DONE)
            except StoreAway:
                await asyncio.sleep(_AWAY_S)
                continue
            except AngariumError as error:
                await running.note(state=JobState.FAILED, detail=str(error))
            break
        self._tell(running.job)

    async def _work(self, running: Running) -> None:
        if running.job.kind == "redeliver":
            await Redelivering(self._store, self._clock, self._dispatch, running).run()
        else:
            await Replaying(self._store, self._clock, self._registry, running).run()

    def _tell(self, job: Job) -> None:
        emit(
            JOB_FINISHED,
            job=job.id,
            kind=job.kind,
            state=str(job.state),
            total=job.total,
            done=job.done,
            failed=job.failed,
            skipped=job.skipped,
            detail=job.detail,
        )
