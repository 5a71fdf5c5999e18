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
from contextlib import suppress
from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.engine.contract import EXPORT, RESYNC
from angarium.engine.redelivering import Redelivering
from angarium.engine.replaying import Replaying
from angarium.engine.resyncing import Resyncing
from angarium.engine.running import Running
from angarium.errors import AngariumError, StoreAway
from angarium.model.registry import JobState
from angarium.telemetry import JOB_FINISHED, JOB_STARTED, STORE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from angarium.clock import Clock
    from angarium.engine.registry import Registry
    from angarium.model.delivery import Attempt, Open, Settled
    from angarium.model.registry import Job
    from angarium.store.contract import Store

LOOK_S = 1.0
"""So often a process among several looks which jobs it is to run."""

_AWAY_S = 0.5


class Jobs:
    """All jobs of this process. `dispatch` sends a redelivery; `folded` waits until the objects' states are current.

    With several processes a job is run by whoever `serves` its tenant's partition, and looks for it every second.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        dispatch: Callable[[Open, Attempt | None], Awaitable[bool]],
        folded: Callable[[], Awaitable[None]],
        serves: Callable[[int], bool] | None = None,
    ) -> None:
        self._store, self._clock, self._registry = store, clock, registry
        self._dispatch, self._folded, self._serves = dispatch, folded, serves
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Running] = {}
        self._looking: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def open(self) -> None:
        """Go on with the jobs that were running."""
        if self._serves is not None:
            self._looking = asyncio.get_running_loop().create_task(self._look_on())
            return
        for job in await self._store.jobs_in(JobState.RUNNING):
            self.start(job)

    async def close(self) -> None:
        """Stop; what is left goes on with the next start."""
        tasks = [*self._tasks.values(), *([self._looking] if self._looking is not None else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- whose they are ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take note that other partitions are served: stop at once what is others' now, and look for what is ours."""
        for number, running in self._running.items():
            if not self._is_ours(running.job):
                self.stop(number)
        self._moved.set()

    def _is_ours(self, job: Job) -> bool:
        return self._serves is None or self._serves(partition_of(job.project, job.tenant))

    async def _look_on(self) -> None:
        while True:
            self._moved.clear()
            try:
                await self._look()
            except AngariumError as error:
                emit(STORE_FAILED, operation="jobs_in", detail=str(error), pause_ms=int(LOOK_S * 1000))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):  # `wait_for` may swallow that it is cancelled.
                    await self._moved.wait()

    async def _look(self) -> None:
        """Stop what is not to run any more, and start what is to run here."""
        before = set(self._tasks)
        found = {job.number: job for job in await self._store.jobs_in(JobState.RUNNING) if self._is_ours(job)}
        for number in before - found.keys():
            self.stop(number)
        for number in found.keys() - before - self._tasks.keys():
            self.start(found[number])

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """Run a job that the store holds as running, unless another process is to."""
        if job.number in self._tasks or not self._is_ours(job):
            return
        running = self._running[job.number] = Running(job, self._store, self._clock, asks=self._serves is not None)
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

    def flushed(self, opened: Sequence[Open], settled: Sequence[Settled]) -> None:
        """Tell the jobs what was opened and settled."""
        for running in self._running.values():
            running.flushed(opened, settled)

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
        elif running.job.kind in (RESYNC, EXPORT):
            await self._folded()
            await Resyncing(self._store, self._clock, self._registry, running).run()
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
