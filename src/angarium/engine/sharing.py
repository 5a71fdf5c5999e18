"""Be the engine of a process among several that share a store: what is owned here is asked here, the rest of the store.

An API process owns nothing and asks the store only. A worker, or a process that is both, has an engine of its own for
its share of the partitions; whatever concerns another's share is written where its owner looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from angarium.core.partitioning import partition_of
from angarium.engine.heads import Heads
from angarium.engine.registry import Registry
from angarium.engine.standing import Standing
from angarium.engine.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from angarium.engine.contract import Engine, LaneView
    from angarium.engine.registry import TenantSubscriptions
    from angarium.model.delivery import Attempt, Open, Settled
    from angarium.model.event import Event, Place
    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

    Watcher = Callable[[Sequence[Open], Sequence[Settled]], None]

_FOLD_MAX: Final = 2000


class SharedEngine:
    """The engine of one process among several; `local` delivers its share, None in a process that only answers."""

    def __init__(self, store: Store, *, local: Engine | None = None) -> None:
        self._store, self._local = store, local
        self._registry, self._heads = Registry(store), Heads()
        self._standing = Standing(store, self._registry, self._heads)
        self._watching = Watching(store)
        self._known: dict[int, int] = {}  # The registry counters that memory is known to be as new as.
        self.generation = 0
        self._is_open = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to learn what others do, and to deliver what is owned here."""
        self._store.listen(self._heads.learn)
        self._store.listen_registry(self._raised)
        self._known = dict(await self._store.registry())  # Before anything is in memory.
        self._heads.learn(await self._store.heads())
        self._watching.open()
        if self._local is not None:
            self._local.watch(self._watching.flushed, project="")
            await self._local.open()
        self._is_open = True

    async def close(self, *, within_s: float) -> None:
        """Stop."""
        self._is_open = False
        await self._watching.close()
        if self._local is not None:
            await self._local.close(within_s=within_s)

    # -- the hot path -----------------------------------------------------------------------------------------------

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        """Return a tenant's subscriptions if they are in memory."""
        return self._registry.held(project, tenant)

    async def subscriptions(self, project: str, tenant: str) -> TenantSubscriptions:
        """Return a tenant's subscriptions, loaded when they are not in memory."""
        return await self._registry.load(project, tenant)

    def is_outdated(self, registries: Mapping[int, int], *, generation: int) -> bool:
        """Say whether subscriptions have changed since a generation of what is in memory."""
        newer = {partition: count for partition, count in registries.items() if count > self._known.get(partition, 0)}
        if newer:
            self._raised(newer)
            self._known |= newer
        return generation != self.generation

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Hand over what has just been committed; what is owned elsewhere is read there."""
        if self._local is not None:
            self._local.offer(events, places)

    @property
    def has_room(self) -> bool:
        """Say whether publishes should still be admitted in this turn of the loop."""
        return self._local is None or self._local.has_room

    # -- changes ----------------------------------------------------------------------------------------------------

    async def changed(self, subscription: Subscription) -> None:
        """Take note that a subscription was written or removed; another owner reads of it in the store."""
        self._registry.forget(subscription.project, subscription.tenant)
        self.generation += 1
        local = self._owner_of(subscription.partition)
        if local is not None:
            await local.changed(subscription)

    def forget_project(self, project: str) -> None:
        """Take note that a project was replaced or deleted."""
        self._registry.forget_project(project)
        if self._local is not None:
            self._local.forget_project(project)

    async def dispatch(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Have a test or a redelivery sent now, here or by whoever owns its partition."""
        local = self._owner_of(open_.key.partition)
        if local is not None:
            return await local.dispatch(open_, attempt)
        return await self._store.reopen(open_, attempt)

    def start(self, job: Job) -> None:
        """Run a job if it is to be run here; others look for theirs."""
        local = self._owner_of(partition_of(job.project, job.tenant))
        if local is not None:
            local.start(job)

    def stop(self, job: int) -> None:
        """Stop running a job; whoever else runs it sees its state."""
        if self._local is not None:
            self._local.stop(job)

    async def folded(self) -> None:
        """Wait until all that is committed by now has been folded into the current state of its objects."""
        if self._local is not None:
            await self._local.folded()
            return
        while await self._store.fold_objects(limit=_FOLD_MAX) >= _FOLD_MAX:
            pass

    def serves(self, partition: int) -> bool:
        """Say whether this process has the lanes of a partition."""
        return self._local is not None and self._local.serves(partition)

    # -- views ------------------------------------------------------------------------------------------------------

    async def lane(self, subscription: Subscription) -> LaneView:
        """Return how a subscription's lane is doing."""
        if self._local is not None and self._local.serves(subscription.partition):
            return await self._local.lane(subscription)
        return await self._standing.lane(subscription)

    async def lane_failing(self, project: str) -> Sequence[int]:
        """Return the numbers of the subscriptions whose lanes are failing, or were when it was last written."""
        local = await self._local.lane_failing(project) if self._local is not None else ()
        return [*{*local, *await self._store.failing(project)}]

    async def moved(self, partition: int, *, beyond: int, within_s: float) -> bool:
        """Wait until a partition's committed head is above an offset; False when the time is up first."""
        return await self._heads.moved(partition, beyond=beyond, within_s=within_s)

    def watch(self, changed: Watcher, *, project: str) -> Callable[[], None]:
        """Call `changed` after each flush; return what ends that."""
        return self._watching.watch(changed, project=project)

    def figures(self) -> Mapping[str, float]:
        """Return counters and gauges, by metric name without prefix."""
        if self._local is not None:
            return self._local.figures()
        return {"is_running": float(self._is_open)}

    # -- between processes ------------------------------------------------------------------------------------------

    def _owner_of(self, partition: int) -> Engine | None:
        """Return the engine of this process when a partition is its."""
        return self._local if partition in self._store.owner.owned else None

    def _raised(self, partitions: Collection[int]) -> None:
        self.generation += 1
        for partition in partitions:
            self._registry.forget_partition(partition)
