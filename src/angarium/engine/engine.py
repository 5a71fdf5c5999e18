"""Put the engine together: log, lanes, settler, jobs and janitor, behind what operations may ask of it."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from angarium.engine.catchup import CatchUp
from angarium.engine.changing import Changes
from angarium.engine.contract import LaneView
from angarium.engine.disabling import disable
from angarium.engine.janitor import Janitor
from angarium.engine.jobs import Jobs
from angarium.engine.keeping import Keeper
from angarium.engine.lanes import Lanes
from angarium.engine.poster import Poster
from angarium.engine.reader import Reader
from angarium.engine.recovery import Recovered
from angarium.engine.registry import Registry
from angarium.engine.ring import Ring
from angarium.engine.settler import Settler
from angarium.engine.share import Share
from angarium.engine.sleeping import Dormitory
from angarium.engine.supervisor import Supervisor
from angarium.engine.tail import Tail
from angarium.errors import AngariumError
from angarium.model.subscription import Owed
from angarium.store.owning import SoleOwner
from angarium.telemetry import ENGINE_FAILED, ENGINE_STARTED, ENGINE_STOPPED, emit

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from angarium.clock import Clock
    from angarium.egress.contract import Sender
    from angarium.engine.registry import TenantSubscriptions
    from angarium.model.delivery import Attempt, Open, Settled
    from angarium.model.event import Entry, Event, Place
    from angarium.model.ids import Ids
    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription
    from angarium.settings import Settings
    from angarium.store.contract import Settlement, Store
    from angarium.vault import Vault

    Watcher = Callable[[Sequence[Open], Sequence[Settled]], None]

_MIB = 1024 * 1024


class LogEngine:
    """The engine of one process, for the partitions that it owns: all of an embedded store, a share of any other."""

    def __init__(  # noqa: PLR0913  the one place where its parts meet
        self,
        *,
        store: Store,
        sender: Sender,
        clock: Clock,
        ids: Ids,
        vault: Vault,
        settings: Settings,
        dice: Random | None = None,
    ) -> None:
        self._store, self._clock = store, clock
        is_shared = not isinstance(store.owner, SoleOwner)
        may_send = store.owner.may_send if is_shared else None
        self._registry, self._catchup = Registry(store), CatchUp(store)
        self._ring = Ring(events_max=settings.events_in_memory, bytes_max=settings.megabytes_in_memory * _MIB)
        self._settler = Settler(store, watermarks=self._watermarks, flushed=self._flushed, lost=self._drop_lost)
        self._tail = Tail(
            store,
            self._registry,
            self._ring,
            deliver=self._deliver,
            marked=self._marked,
            advanced=self._settler.touch,
            has_room=self._has_room,
        )
        poster = Poster(
            store=store,
            sender=sender,
            settler=self._settler,
            clock=clock,
            ids=ids,
            dice=dice or Random(),  # noqa: S311  jitter, no secret
            may_send=may_send,
        )
        self._lanes = self._make_lanes(settings, vault, poster, may_send)
        self._reader = self._lanes.reader = self._make_reader()
        self._dormitory = self._lanes.dormitory = self._make_dormitory()
        does_chores = self._does_chores if is_shared else _always
        self._keeper = Keeper(store, is_ours=does_chores)
        self._jobs = Jobs(
            store=store,
            clock=clock,
            registry=self._registry,
            dispatch=self.dispatch,
            folded=self._keeper.catch_up,
            serves=self._serves if is_shared else None,
        )
        self._janitor = Janitor(
            store=store, clock=clock, settings=settings, expire=self._lanes.expire_all, is_ours=does_chores
        )
        self._share = self._make_share()
        self._changes = self._make_changes()
        self._supervisor = Supervisor(store.owner, self._share, clock, moved=self._moved) if is_shared else None
        self._watchers: list[Watcher] = []
        self._waiting: dict[int, list[Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = self._is_closed = False

    def _make_lanes(
        self, settings: Settings, vault: Vault, poster: Poster, may_send: Callable[[], bool] | None
    ) -> Lanes:
        return Lanes(
            settings=settings,
            clock=self._clock,
            vault=vault,
            ring=self._ring,
            settler=self._settler,
            poster=poster,
            position=self._tail.position,
            room=self._tail.resume,
            give_up=self._give_up,
            may_send=may_send,
        )

    def _make_reader(self) -> Reader:
        return Reader(
            clock=self._clock,
            registry=self._registry,
            catchup=self._catchup,
            ring=self._ring,
            settler=self._settler,
            position=self._tail.position,
            ready=self._lanes.make_ready,
            held_max=self._lanes.held_max,
        )

    def _make_dormitory(self) -> Dormitory:
        return Dormitory(
            store=self._store,
            clock=self._clock,
            registry=self._registry,
            settler=self._settler,
            make=self._lanes.make,
            ready=self._lanes.make_ready,
        )

    def _make_share(self) -> Share:
        return Share(
            store=self._store,
            clock=self._clock,
            registry=self._registry,
            catchup=self._catchup,
            ring=self._ring,
            settler=self._settler,
            tail=self._tail,
            lanes=self._lanes,
            late=self._late,
        )

    def _make_changes(self) -> Changes:
        return Changes(
            store=self._store,
            clock=self._clock,
            registry=self._registry,
            settler=self._settler,
            lanes=self._lanes,
            share=self._share,
            position=self._tail.position,
            spawn=self._spawn,
        )

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Join those who share the partitions, recover what is owned from the store, and begin to deliver."""
        started = self._clock.now()
        self._store.listen(self._woken)
        if self._supervisor is None:
            found = await self._take_up_all()
            self._begin()
        else:
            found = Recovered({}, await self._store.heads())
            self._tail.learn(found.heads)
            self._store.listen_registry(self._changes.raised)
            self._store.listen_changes(self._projects_changed)
            self._begin()
            await self._supervisor.open()
        await self._jobs.open()
        self._is_open = True
        took_ms = int((self._clock.now().mono - started.mono) * 1000)
        entries = sum(found.heads[each] - position for each, position in found.positions.items() if each in found.heads)
        emit(ENGINE_STARTED, entries=entries, opens=found.opens, behind=len(found.behind), took_ms=took_ms)

    async def _take_up_all(self) -> Recovered:
        """Take up all partitions, of a store that has no other owner."""
        owner = self._store.owner
        await owner.join()
        await owner.balance()
        return await self._share.take_up(owner.owned)

    def _begin(self) -> None:
        self._tail.open()
        self._lanes.open()
        self._janitor.open()
        self._keeper.open()

    async def close(self, *, within_s: float) -> None:
        """Seal no more, let what is on the wire end, settle, and stop; others take over what they can at once."""
        started = self._clock.now()
        self._is_open, self._is_closed = False, True
        await self._keeper.close()
        await self._janitor.close()
        await self._jobs.close()
        if self._supervisor is not None:
            await self._supervisor.close(within_s=within_s)
            within_s = 0.0
        await self._tail.close()
        await self._reader.close()
        await self._lanes.close(within_s=within_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        on_wire = self._lanes.in_flight
        try:
            await asyncio.wait_for(self._settler.settle_all(), max(1.0, within_s))
        except TimeoutError:
            emit(ENGINE_FAILED, part="settler", error="the store did not take the last settlements")
        emit(ENGINE_STOPPED, on_wire=on_wire, took_ms=int((self._clock.now().mono - started.mono) * 1000))

    # -- the hot path -----------------------------------------------------------------------------------------------

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        """Return a tenant's subscriptions if they are in memory."""
        return self._registry.held(project, tenant)

    async def subscriptions(self, project: str, tenant: str) -> TenantSubscriptions:
        """Return a tenant's subscriptions, loaded when they are not in memory."""
        return await self._registry.load(project, tenant)

    generation = 0
    """Whoever changes subscriptions says so here: what was counted stays right."""

    def is_outdated(self, registries: Mapping[int, int], *, generation: int) -> bool:  # noqa: ARG002  as is said above
        """Say that nobody else changes subscriptions."""
        return False

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Hand over what has just been committed."""
        self._tail.offer(events, places)
        self._settler.touch()

    @property
    def has_room(self) -> bool:
        """Say whether publishes should still be admitted in this turn of the loop."""
        return self._ring.has_ease and self._settler.has_room

    # -- changes ----------------------------------------------------------------------------------------------------

    async def changed(self, subscription: Subscription) -> None:
        """Take note that a subscription was written or removed."""
        await self._changes.changed(subscription)

    def forget_project(self, project: str) -> None:
        """Take note that a project was replaced or deleted."""
        self._changes.forget_project(project)

    async def dispatch(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Have a test or a redelivery sent now, outside its lane's order."""
        return await self._changes.dispatch(open_, attempt)

    def start(self, job: Job) -> None:
        """Run a job that the store already holds as running."""
        self._jobs.start(job)

    def stop(self, job: int) -> None:
        """Stop running a job."""
        self._jobs.stop(job)

    async def folded(self) -> None:
        """Wait until all that is committed by now has been folded into the current state of its objects."""
        await self._keeper.catch_up()

    def serves(self, partition: int) -> bool:
        """Say whether this process has the lanes of a partition."""
        return partition in self._share.served

    # -- views ------------------------------------------------------------------------------------------------------

    async def lane(self, subscription: Subscription) -> LaneView:
        """Return how a subscription's lane is doing."""
        sleeper = self._dormitory.asleep.get(subscription.number)
        if sleeper is not None:
            return LaneView(sleeper.backlog, sleeper.failing_since_ms, is_behind=True)
        courier = self._lanes.couriers.get(subscription.number)
        if courier is None:
            return LaneView()
        return LaneView(courier.lane.backlog, courier.lane.breaker.failing_since_ms, courier.lane.is_behind)

    async def lane_failing(self, project: str) -> Sequence[int]:  # noqa: ARG002  few fail, of whatever project
        """Return the numbers of the subscriptions whose lanes are failing."""
        return self._failing()

    def _failing(self) -> Sequence[int]:
        awake, asleep = self._lanes.couriers, self._dormitory.asleep
        failing = [number for number, courier in awake.items() if courier.lane.breaker.failing_since_ms]
        return [*failing, *(number for number, sleeper in asleep.items() if sleeper.failing_since_ms)]

    async def moved(self, partition: int, *, beyond: int, within_s: float) -> bool:
        """Wait until a partition's committed head is above an offset."""
        ends_at = self._clock.now().mono + within_s
        while self._tail.heads.get(partition, 0) <= beyond:
            left = ends_at - self._clock.now().mono
            if left <= 0:
                return False
            future: Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(partition, []).append(future)
            await asyncio.wait([future], timeout=left)
            if not future.done():
                self._waiting[partition].remove(future)
        return True

    def watch(self, changed: Watcher, *, project: str = "") -> Callable[[], None]:  # noqa: ARG002  all are told of
        """Call `changed` after each flush; return what ends that."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def figures(self) -> Mapping[str, float]:
        """Return counters and gauges, by metric name without prefix."""
        lanes, asleep = self._lanes.couriers.values(), self._dormitory.asleep.values()
        return {
            "attempts_total": self._lanes.attempts,
            "deliveries_delivered_total": self._lanes.delivered,
            "deliveries_exhausted_total": self._lanes.exhausted,
            "deliveries_settled_total": self._settler.rows,
            "requests_in_flight": self._lanes.in_flight,
            "events_unsayable_total": self._registry.tally.unsayable,
            "lanes": len(lanes) + len(asleep),
            "lanes_asleep": len(asleep),
            "lanes_behind": sum(courier.lane.is_behind for courier in lanes) + len(asleep),
            "lanes_failing": len(self._failing()),
            "backlog_events": sum(each.lane.backlog for each in lanes) + sum(each.backlog for each in asleep),
            "ring_events": self._ring.events,
            "ring_bytes": self._ring.bytes,
            "entries_folded_total": self._keeper.folded,
            "log_entries": sum(self._tail.heads.values()),
            "partitions": len(self._share.served),
            "is_running": float(self._is_open),
            "is_store_away": float(self._settler.is_away),
        }

    # -- between the parts ------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return self._ring.has_room and self._settler.has_room

    def _deliver(self, entry: Entry, tenant: TenantSubscriptions, numbers: Sequence[int]) -> None:
        self._lanes.deliver(entry, tenant, numbers)

    def _marked(self, entry: Entry) -> None:
        version = entry.version
        if version is not None and version.owed is not Owed.PUSH:
            self._lanes.close_lane(entry)

    def _woken(self, heads: Mapping[int, int]) -> None:
        # What was committed is offered by its publisher in this very turn of the loop; only then is it looked for.
        asyncio.get_running_loop().call_soon(self._learn, heads)

    def _learn(self, heads: Mapping[int, int]) -> None:
        self._tail.learn(heads)
        self._keeper.touch()
        for partition in heads:
            for future in self._waiting.pop(partition, ()):
                if not future.done():
                    future.set_result(None)

    def _watermarks(self) -> Mapping[int, int]:
        """Return the watermarks that have moved since they were last asked for."""
        moved, self._ring.moved = self._ring.moved, set()
        marks = {partition: self._ring.watermark(partition, self._tail.position(partition)) for partition in moved}
        self._lanes.forget_skips(marks)
        return {partition: mark for partition, mark in marks.items() if self._moves(partition, mark)}

    def _moves(self, partition: int, mark: int) -> bool:
        written = self._share.written
        if written.get(partition, 0) == mark:
            return False
        written[partition] = mark
        return True

    def _flushed(self, written: Settlement) -> None:
        self._tail.resume()
        self._lanes.pump()
        self._changes.flushed(written.closed)
        self._jobs.flushed(written.opened, written.settled)
        for watcher in list(self._watchers):
            watcher(written.opened, written.settled)

    def _does_chores(self) -> bool:
        """Say whether this process does what one does for all: whoever serves the first partition."""
        return self._serves(0)

    def _moved(self) -> None:
        self._jobs.look()
        self._keeper.touch()

    def _serves(self, partition: int) -> bool:
        return partition in self._share.served

    def _late(self, partitions: Collection[int]) -> None:
        self._changes.late(partitions)

    def _projects_changed(self) -> None:
        if not self._is_closed:
            self._spawn(self._changes.find_projects)

    def _drop_lost(self) -> None:
        """Drop what is held of partitions that the store takes nothing of any more."""
        self._share.drop(self._share.held - self._store.owner.owned)

    def _give_up(self, subscription: Subscription, reason: str) -> None:
        self._spawn(partial(self._disable, subscription, reason))

    async def _disable(self, subscription: Subscription, reason: str) -> None:
        disabled = await disable(self._store, self._clock, subscription.number, reason)
        if disabled is not None:
            await self.changed(disabled)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except AngariumError as error:
            emit(ENGINE_FAILED, part="changes", error=error)


def _always() -> bool:
    return True
