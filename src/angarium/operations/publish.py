"""Accept events: who publishes, what, and whether there is room; then the store, then the engine, then the answer.

This is the hot path, so it is made of steps without an await: `publish` is called with what was asked and with whom to
tell. When everything that it needs is in memory, the answer is given from the store's commit itself. Only the first
publish of a caller, project or tenant takes a task, which loads what is missing and then goes the same way.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.accepting import accept, form_of
from angarium.core.scopes import Call, check
from angarium.errors import AngariumError, Busy, FieldError, RateExceeded, StoreAway
from angarium.operations.admitting import Gate
from angarium.operations.rates import Rates
from angarium.store.contract import Publish
from angarium.telemetry import ENGINE_FAILED, PUBLISH_ACCEPTED, Histogram, emit, is_said

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Mapping, Sequence

    from angarium.clock import Moment
    from angarium.model.event import Event, Place
    from angarium.model.registry import Project
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects, Served
    from angarium.store.contract import Receipt

KEY_CHARS_MAX: Final = 255
_LOADS_MAX_S: Final = 10.0


class Asked(Struct, frozen=True):
    """What a publisher asks: the headers that matter, empty when absent, and the body as it came."""

    project: str
    authorization: str
    content_type: str
    idempotency_key: str | None
    body: bytes


class Published(Struct, frozen=True):
    """What a publisher is told after the commit: the events' ids in order, how many will be sent, whether again."""

    ids: Sequence[str]
    matched: int
    is_replay: bool


Answer = Published | Exception
"""What became of a publish. An exception outside the family is a fault of ours."""


class _Prepared(Struct, frozen=True):
    """A publish that has been read and may go to the store once there is room, matched in some generation."""

    publish: Publish
    began: Moment
    done: Callable[[Answer], None]
    generation: int


class Publisher:
    """Accept what publishers send. Made on the loop, and used there only."""

    def __init__(self, context: Context, callers: Callers, projects: Projects) -> None:
        self._clock = context.clock
        self._engine = context.engine
        self._store = context.store
        self._ids = context.ids
        self._callers = callers
        self._projects = projects
        self._rates = Rates()
        self._loading: set[asyncio.Task[_Prepared]] = set()
        self._recounting: set[asyncio.Task[int]] = set()
        self._counts = {"events_accepted_total": 0, "publishes_accepted_total": 0, "publishes_refused_total": 0}
        self.took = Histogram()
        self._gate = Gate[_Prepared](has_room=self._has_room, admit=self._hand_over, refuse=self._refuse)

    def publish(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        """Accept what is asked; `done` is called once, on the loop, perhaps before this returns."""
        began = self._clock.now()
        try:
            prepared = self._prepare(asked, began, done)
        except Exception as error:  # noqa: BLE001  a fault of ours is answered too
            self._finish(done, error)
            return
        if prepared is None:
            self._load(asked, done)
        else:
            self._gate.enter(prepared)

    def may_publish(self, asked: Asked) -> bool | None:
        """Say whether the caller may publish here; None when that must be looked up. The body may still be to come."""
        caller = self._callers.held(asked.authorization, now_ms=self._clock.now().wall_ms)
        if caller is None:
            return None
        try:
            check(caller, Call.PUBLISH, asked.project)
        except AngariumError:
            return False
        return True

    async def authorize(self, asked: Asked) -> None:
        """Raise what this publish would be refused with whatever its body: `Unauthorized`, `Forbidden`, `NotFound`."""
        await self._who_and_where(asked, now_ms=self._clock.now().wall_ms)

    def close(self) -> None:
        """Refuse whoever waits or still comes; what the store has is answered."""
        self._gate.close()
        for task in (*self._loading, *self._recounting):
            task.cancel()

    def figures(self) -> Mapping[str, float]:
        """Return counters and gauges, by metric name without prefix."""
        return {**self._counts, "publishes_inside": self._gate.inside, "publishes_waiting": self._gate.waiting}

    # -- the way in ---------------------------------------------------------------------------------------------------

    def _prepare(self, asked: Asked, began: Moment, done: Callable[[Answer], None]) -> _Prepared | None:
        """Check and read what is asked; None when something that this takes is not in memory."""
        caller = self._callers.held(asked.authorization, now_ms=began.wall_ms)
        served = self._projects.held(asked.project)
        if caller is None or served is None:
            return None
        check(caller, Call.PUBLISH, asked.project)
        events = _read(asked, served)
        matched = self._count_matched(asked.project, events)
        return None if matched is None else self._prepared(asked, served.project, events, matched, began, done)

    def _count_matched(self, project: str, events: tuple[Event, ...]) -> int | None:
        """Return how many pairs of these events and subscriptions will be sent; None when one must be loaded first."""
        if len(events) == 1:
            held = self._engine.held(project, events[0].tenant)
            return None if held is None else held.matched(events)
        matched = 0
        for tenant, its_events in _by_tenant(events).items():
            held = self._engine.held(project, tenant)
            if held is None:
                return None
            matched += held.matched(its_events)
        return matched

    def _prepared(
        self,
        asked: Asked,
        project: Project,
        events: tuple[Event, ...],
        matched: int,
        began: Moment,
        done: Callable[[Answer], None],
    ) -> _Prepared:
        key = _idempotency_key(asked.idempotency_key)
        digest = _digest(asked) if key else b""
        if project.settings.get("rate"):
            self._keep_to_rate(project, events, began.mono)
        publish = Publish(project.name, events, began.wall_ms, key, digest, matched)
        return _Prepared(publish, began, done, self._engine.generation)

    def _keep_to_rate(self, project: Project, events: tuple[Event, ...], now: float) -> None:
        """Count events against each tenant's rate; `RateExceeded`, and nothing is counted, when one is over it."""
        per_minute = project.settings["rate"]["per_minute"]
        tenants = _by_tenant(events)
        for tenant in tenants:
            wait_s = self._rates.wait_s(project.name, tenant, per_minute, now=now)
            if wait_s:
                raise RateExceeded(
                    f"tenant {tenant!r} has published its {per_minute} events a minute; go on in {wait_s} s",
                    retry_after_s=wait_s,
                )
        for tenant, its_events in tenants.items():
            self._rates.take(project.name, tenant, per_minute, count=len(its_events), now=now)

    # -- when something must be loaded first --------------------------------------------------------------------------

    def _load(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._loaded(asked, done))
        self._loading.add(task)
        task.add_done_callback(partial(self._go_on, done))

    async def _loaded(self, asked: Asked, done: Callable[[Answer], None]) -> _Prepared:
        async with asyncio.timeout(_LOADS_MAX_S):
            began = self._clock.now()
            served = await self._who_and_where(asked, now_ms=began.wall_ms)
            events, generation = _read(asked, served), self._engine.generation
            matched = await self._read_matched(asked.project, events)
            prepared = self._prepared(asked, served.project, events, matched, self._clock.now(), done)
            return replace(prepared, generation=generation)

    async def _read_matched(self, project: str, events: tuple[Event, ...]) -> int:
        """Return how many pairs of these events and subscriptions will be sent."""
        matched = 0
        for tenant, its_events in _by_tenant(events).items():
            subscriptions = await self._engine.subscriptions(project, tenant)
            matched += subscriptions.matched(its_events)
        return matched

    def _go_on(self, done: Callable[[Answer], None], task: asyncio.Task[_Prepared]) -> None:
        self._loading.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or isinstance(error, TimeoutError):
            self._finish(done, Busy("what this publish needs could not be read in time, nothing was accepted; repeat"))
        elif isinstance(error, Exception):
            self._finish(done, error)
        else:
            self._gate.enter(task.result())

    async def _who_and_where(self, asked: Asked, *, now_ms: int) -> Served:
        caller = await self._callers.find(asked.authorization, now_ms=now_ms)
        check(caller, Call.PUBLISH, asked.project)
        return await self._projects.find(asked.project)

    # -- the store and back -------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return self._engine.has_room

    def _hand_over(self, prepared: _Prepared) -> None:
        self._store.accept(prepared.publish).add_done_callback(partial(self._committed, prepared))

    def _committed(self, prepared: _Prepared, future: Future[Receipt]) -> None:
        """Answer a publish whose commit has ended, one way or the other."""
        self._gate.left()
        try:
            receipt = future.result()
        except asyncio.CancelledError:
            self._finish(prepared.done, StoreAway("the store is closing; repeat, with the same key", is_unknown=True))
        except Exception as error:  # noqa: BLE001  a fault of ours is answered too
            self._finish(prepared.done, error)
        else:
            if not receipt.is_replay:
                self._offer(prepared.publish.events, receipt.places)
            if receipt.registries and self._is_outdated(prepared, receipt):
                self._recount(prepared, receipt)
            else:
                self._answer(prepared, receipt)

    def _offer(self, events: tuple[Event, ...], places: tuple[Place, ...]) -> None:
        try:
            self._engine.offer(events, places)
        except Exception as error:  # noqa: BLE001  the events are on disk, where the engine finds them again
            emit(ENGINE_FAILED, part="offer", error=error)

    def _is_outdated(self, prepared: _Prepared, receipt: Receipt) -> bool:
        return self._engine.is_outdated(receipt.registries, generation=prepared.generation)

    def _recount(self, prepared: _Prepared, receipt: Receipt) -> None:
        """Answer what has been accepted once it is known for whom, as another process has changed subscriptions."""
        publish = prepared.publish
        task = asyncio.get_running_loop().create_task(self._read_matched(publish.project, publish.events))
        self._recounting.add(task)
        task.add_done_callback(partial(self._recounted, prepared, receipt))

    def _recounted(self, prepared: _Prepared, receipt: Receipt, task: asyncio.Task[int]) -> None:
        self._recounting.discard(task)
        is_known = not task.cancelled() and task.exception() is None  # Accepted it is all the same.
        self._answer(prepared, replace(receipt, matched=task.result()) if is_known else receipt)

    def _answer(self, prepared: _Prepared, receipt: Receipt) -> None:
        took_s = self._clock.now().mono - prepared.began.mono
        self.took.observe(took_s)
        id_of = self._ids.event
        ids = [id_of(place.partition, place.offset, place.accepted_ms) for place in receipt.places]
        if not receipt.is_replay:
            self._counts["events_accepted_total"] += len(ids)
        if is_said(PUBLISH_ACCEPTED):
            emit(
                PUBLISH_ACCEPTED,
                project=prepared.publish.project,
                tenant=prepared.publish.events[0].tenant,
                events=len(ids),
                matched=receipt.matched,
                is_replay=receipt.is_replay,
                took_ms=round(took_s * 1000, 3),
            )
        self._finish(prepared.done, Published(ids, receipt.matched, receipt.is_replay))

    def _refuse(self, prepared: _Prepared) -> None:
        self._finish(prepared.done, Busy("the server has as many publishes in hand as it may hold; repeat in a second"))

    def _finish(self, done: Callable[[Answer], None], answer: Answer) -> None:
        if isinstance(answer, Exception):
            self._counts["publishes_refused_total"] += 1
        else:
            self._counts["publishes_accepted_total"] += 1
        done(answer)


def _read(asked: Asked, served: Served) -> tuple[Event, ...]:
    form = form_of(asked.content_type)
    return accept(asked.body, form, project=asked.project, catalogue=served.catalogue)


def _by_tenant(events: tuple[Event, ...]) -> Mapping[str, Sequence[Event]]:
    if len(events) == 1:
        return {events[0].tenant: events}
    tenants: dict[str, list[Event]] = {}
    for event in events:
        tenants.setdefault(event.tenant, []).append(event)
    return tenants


def _idempotency_key(text: str | None) -> str:
    """Return a publish's idempotency key, "" for none; `FieldError` for what is none."""
    if text is None:
        return ""
    if not 0 < len(text) <= KEY_CHARS_MAX or not text.isascii() or not text.isprintable():
        raise FieldError("Idempotency-Key", f"expected 1 to {KEY_CHARS_MAX} visible ASCII characters")
    return text


def _digest(asked: Asked) -> bytes:
    """Return what tells whether a key is used again with another body; the content type is part of what a body is."""
    return hashlib.sha256(b"%b\0%b" % (asked.content_type.encode(), asked.body)).digest()
