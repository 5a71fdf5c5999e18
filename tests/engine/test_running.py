"""Hold what a job counts of all that is opened and settled while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.clock import SystemClock
from angarium.engine import running as module
from angarium.engine.running import Running
from angarium.errors import AngariumError
from angarium.model.delivery import Key, Open, Settled, State
from angarium.model.registry import Job, JobState
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

MINE, OTHER, P = 7, 8, 3
JOB = Job(1, "job_1", "p", "1", "resync", JobState.RUNNING, 0, 0, subscription=MINE)


def _running(offsets: Sequence[int] = (), store: MemoryStore | None = None) -> Running:
    running = Running(JOB, store or MemoryStore(), SystemClock())
    running.expect(MINE, offsets)
    return running


def _settled(
    last: int, *members: int, state: State = State.DELIVERED, of: int = MINE, first: int = 0, count: int = 0
) -> Settled:
    return Settled(Key(P, last, of, 0), state, 0, members, first_offset=first, count=count)


def _counts(running: Running) -> tuple[int, int, int]:
    return running.job.total, running.job.done, running.job.failed


def test_what_is_settled_is_counted_once_and_of_its_own_subscription_only() -> None:
    running = _running([1, 2, 3, 4])
    running.flushed((), [_settled(2, 1), _settled(3, of=OTHER), _settled(3, state=State.EXHAUSTED), _settled(9)])
    assert _counts(running) == (4, 3, 1)
    running.flushed((), [_settled(2, 1)])
    assert _counts(running) == (4, 3, 1)


def test_a_range_stands_for_all_in_it_that_was_never_sent() -> None:
    running = _running([3, 5, 6, 9])
    running.flushed([Open(Key(P, 5, MINE, 0))], ())
    range_ = _settled(8, first=2, count=2, state=State.CANCELLED)
    running.flushed((), [replace(range_, key=replace(range_.key, subscription=OTHER)), range_])
    assert _counts(running) == (4, 2, 2)
    running.flushed((), [_settled(5), _settled(9)])
    assert _counts(running) == (4, 4, 2)


def test_a_delivery_that_was_merged_has_not_ended() -> None:
    running = _running([1, 2])
    running.flushed((), [_settled(1, state=State.MERGED)])
    assert _counts(running) == (2, 0, 0)
    running.flushed((), [_settled(2, 1)])
    assert _counts(running) == (2, 2, 0)


def test_a_total_is_what_was_planned_until_all_has_been_asked_for() -> None:
    running = _running()
    running.plan(5)
    running.expect(MINE, [1, 2])
    assert running.job.total == 5
    running.expect(MINE, [3, 4, 5, 6])
    assert running.job.total == 6
    running.release(MINE, [6])
    assert running.job.total == 5
    running.plan(9)
    running.all_asked()
    assert running.job.total == 5


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (None, "its subscription has been deleted"),
        (Status.DISABLED, "its subscription is disabled"),
        (Status.UNVERIFIED, "its subscription is unverified"),
    ],
)
async def test_nobody_waits_for_a_subscription_that_is_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, status: Status | None, problem: str
) -> None:
    monkeypatch.setattr(module, "_NOTE_S", 0.01)
    store = MemoryStore()
    await store.put_job(JOB)
    if status is not None:
        subscription = Subscription(MINE, "sub_7", "p", "1", P, 0, 0, status)
        await store.change(subscription, Version(MINE, 0, Owed.NOTHING, Rule(), "standard"), revision=0)
    with pytest.raises(AngariumError, match=problem):
        await _running([1], store).wait(below=1)
