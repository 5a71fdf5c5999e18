"""Replay what was sent before, once for each time that it is asked for, whatever interrupts it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from angarium.model.registry import Job, JobState
from angarium.store.memory import MemoryStore
from tests.engine.world import PROJECT, ids_of, world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from angarium.model.event import Entry, Place


class Interrupted(MemoryStore):
    """A store that lets a test do something right after entries were appended."""

    then: Callable[[], None] | None = None

    async def append(self, entries: Sequence[Entry]) -> Sequence[Place]:
        places = await super().append(entries)
        if self.then is not None:
            self.then()
            await asyncio.sleep(0)
        return places


async def test_what_was_appended_and_not_noted_is_not_appended_again() -> None:
    """A job that went to another worker right after its first page was replayed from its beginning there."""
    store = Interrupted()
    async with world(store) as w:
        one = await w.subscribe()
        sent = await w.publish("1", "2", "3")
        await w.quiet()
        now_ms = w.clock.now().wall_ms + 1
        await asyncio.sleep(0.002)
        job = Job(1, "job_1", PROJECT, "1", "replay", JobState.RUNNING, now_ms, now_ms, one.number)
        await store.put_job(job)
        store.then = lambda: w.engine.stop(job.number)
        w.engine.start(job)
        await w.until(lambda: not w.engine._jobs._tasks)
        store.then = None
        await w.restart()
        await w.until(lambda: store._jobs[1].state is JobState.DONE)
        assert Counter(ids_of(w.sender.requests)) == Counter(sent * 2)
        assert (store._jobs[1].total, store._jobs[1].done) == (3, 3)
