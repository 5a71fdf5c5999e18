"""Serve lanes on new terms: changes here are told, those elsewhere read, and what is asked for is sent.

Whoever changes a subscription raises its partition's registry counter, and so does whoever asks for a test or a
redelivery. The partition's owner, told of it, reads again what it holds of its tenants, and looks for open deliveries
that no lane knows. A lane whose subscription cannot be read in time sends nothing until it can.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from angarium.engine.opened import wait_s
from angarium.errors import StoreAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from angarium.clock import Clock
    from angarium.engine.courier import Courier
    from angarium.engine.lanes import Lanes
    from angarium.engine.registry import Registry, TenantSubscriptions
    from angarium.engine.settler import Settler
    from angarium.engine.share import Share
    from angarium.engine.sleeping import Sleeper
    from angarium.model.delivery import Attempt, Key, Open
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Store

    Owner = tuple[str, str]

PATIENCE_S = 0.25
"""So long a lane goes on as it was while its changed subscription is read."""

_AWAY_S = 0.5


class Changes:
    """What changes for lanes of the partitions that are served here; `spawn` runs work beside everything else."""

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        settler: Settler,
        lanes: Lanes,
        share: Share,
        position: Callable[[int], int],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._store, self._clock, self._registry, self._settler = store, clock, registry, settler
        self._lanes, self._share, self._position, self._spawn = lanes, share, position, spawn
        self._raised: set[int] = set()  # partitions to be read again
        self._is_reading = False
        self._held: set[Courier] = set()  # lanes that send nothing until they have been read again
        self._settled: set[Key] = set()  # while open deliveries are read
        self._dispatching: set[Key] = set()

    # -- changed here -----------------------------------------------------------------------------------------------

    async def changed(self, subscription: Subscription) -> None:
        """Take note that a subscription was written or removed; no request starts on its old terms after this."""
        courier = self._lanes.couriers.get(subscription.number)
        if courier is not None:
            courier.is_stopped = True  # until it is known what it has become
        self._registry.forget(subscription.project, subscription.tenant)
        if not self._share.touch((subscription.partition,)):
            return
        try:
            await self._serve(subscription)
        except StoreAway:
            self._spawn(partial(self._serve_later, subscription))

    async def _serve(self, subscription: Subscription) -> None:
        """Serve a subscription's lane as the store says that it stands now, or not at all any more."""
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        now = tenant.subscriptions.get(subscription.number)
        if now is not None and now.is_served:
            courier = await self._awake(subscription.number)
            if courier is not None and not courier.is_gone:
                self._lanes.change(courier, now, tenant.project)
        elif (courier := self._lanes.couriers.get(subscription.number)) is not None:
            self._lanes.stop(courier)

    async def _serve_later(self, subscription: Subscription) -> None:
        while True:
            await asyncio.sleep(_AWAY_S)
            with suppress(StoreAway):
                return await self._serve(subscription)

    def forget_project(self, project: str) -> None:
        """Take note that a project was replaced or deleted."""
        self._registry.forget_project(project)
        couriers = self._lanes.couriers.values()
        mine = [each.route.subscription for each in couriers if each.route.subscription.project == project]
        self._spawn(partial(self._change_all, mine))

    async def _change_all(self, changed: Sequence[Subscription]) -> None:
        for subscription in changed:
            await self.changed(subscription)

    async def find_projects(self) -> None:
        """Find which projects others have changed, and serve their lanes accordingly."""
        for project in await self._registry.outdated():
            self.forget_project(project)

    # -- changed elsewhere ------------------------------------------------------------------------------------------

    def raised(self, partitions: Collection[int]) -> None:
        """Take note that something of these partitions was changed, here or elsewhere."""
        served = self._share.touch(partitions)
        for partition in partitions:
            if partition not in served:
                self._registry.forget_partition(partition)
        self._raised |= served
        if self._raised and not self._is_reading:
            self._is_reading = True
            self._spawn(self._read_raised)
        elif served:  # They wait for their turn, which may be long in coming.
            asyncio.get_running_loop().call_later(PATIENCE_S, self._hold_unread, served)

    def late(self, partitions: Collection[int]) -> None:
        """Take note of what was changed some time ago: nothing of these partitions is sent until it has been read."""
        self.raised(partitions)
        self._hold_unread(partitions)

    def _hold_unread(self, partitions: Collection[int]) -> None:
        self._hold(self._awakes(self._raised.intersection(partitions)))

    async def _read_raised(self) -> None:
        try:
            while self._raised:
                partitions, self._raised = self._raised, set()
                await self._read_again(partitions)
                await self._adopt_unknown(partitions)
        finally:
            self._is_reading = False
        self._held.clear()

    async def _read_again(self, partitions: Collection[int]) -> None:
        """Read what the tenants of lanes in these partitions want, and serve whoever has changed."""
        for partition in partitions:
            self._registry.forget_partition(partition)
        awake = {(each.route.subscription.project, each.route.subscription.tenant) for each in self._awakes(partitions)}
        asleep = {(each.project, each.tenant) for each in self._lanes.dormitory.of(partitions)}
        await asyncio.gather(*(self._read_tenant(owner, partitions) for owner in awake | asleep))

    async def _read_tenant(self, owner: Owner, partitions: Collection[int]) -> None:
        timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._hold_tenant, owner, partitions)
        try:
            tenant = await self._load(owner)
        finally:
            timer.cancel()
        for courier in self._awakes(partitions):
            if _owner_of(courier) == owner:
                self._renew(courier, tenant)
        for sleeper in self._lanes.dormitory.of(partitions):
            if (sleeper.project, sleeper.tenant) == owner:
                await self._rouse(sleeper, tenant)

    def _hold_tenant(self, owner: Owner, partitions: Collection[int]) -> None:
        self._hold([each for each in self._awakes(partitions) if _owner_of(each) == owner])

    def _hold(self, couriers: Sequence[Courier]) -> None:
        """Let lanes send nothing that may have been paused, or worse, until it is known."""
        for courier in couriers:
            if not courier.is_stopped:
                courier.is_stopped = True
                self._held.add(courier)

    async def _load(self, owner: Owner) -> TenantSubscriptions:
        while True:
            try:
                return await self._registry.load(*owner)
            except StoreAway:
                await asyncio.sleep(_AWAY_S)

    def _renew(self, courier: Courier, tenant: TenantSubscriptions) -> None:
        is_held = courier in self._held
        self._held.discard(courier)
        before, now = courier.route.subscription, tenant.subscriptions.get(courier.number)
        if now is None or not now.is_served:
            self._lanes.stop(courier)
        elif is_held or now.revision != before.revision:
            self._lanes.change(courier, now, tenant.project)

    async def _rouse(self, sleeper: Sleeper, tenant: TenantSubscriptions) -> None:
        """Wake a lane whose subscription has changed, unless it is sent nothing any more: its marker ends it."""
        now = tenant.subscriptions.get(sleeper.number)
        if now is not None and now.is_served and now.revision != sleeper.revision:
            courier = await self._awake(sleeper.number)
            if courier is not None and not courier.is_gone:
                self._lanes.change(courier, now, tenant.project)

    def _awakes(self, partitions: Collection[int]) -> list[Courier]:
        return [each for each in self._lanes.couriers.values() if each.lane.partition in partitions]

    async def _adopt_unknown(self, partitions: Collection[int]) -> None:
        """Send what was asked for elsewhere: open tests and redeliveries that no lane knows."""
        self._settled.clear()
        for row in await self._asked_for(partitions):
            courier = self._lanes.couriers.get(row.key.subscription)
            is_known = courier is not None and row.key in courier.lane.opened.deliveries
            if not is_known and row.key not in self._dispatching:
                await self._adopt(row, self._is_over)

    def _is_over(self, key: Key) -> bool:
        """Say whether a delivery was settled after its row may have been read as open."""
        return key in self._settled or self._settler.is_closing(key)

    async def _asked_for(self, partitions: Collection[int]) -> Sequence[Open]:
        while True:
            try:
                return await self._store.asked_for(partitions)
            except StoreAway:
                await asyncio.sleep(_AWAY_S)

    def flushed(self, closed: Collection[Key]) -> None:
        """Take note of what was settled: it may have been read as open before."""
        if self._is_reading:
            self._settled.update(closed)

    # -- asked for --------------------------------------------------------------------------------------------------

    async def dispatch(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Have a test or a redelivery sent now, outside its lane's order; False when it is open already."""
        self._dispatching.add(open_.key)
        try:
            if not await self._store.reopen(open_, attempt):
                return False
            await self._adopt(open_)
        finally:
            self._dispatching.discard(open_.key)
        return True

    async def _adopt(self, row: Open, is_over: Callable[[Key], bool] = lambda _: False) -> None:
        """Have a test's or redelivery's row sent by its lane, if that is served here and does not know it."""
        number, served = row.key.subscription, self._share.served
        subscription = await self._store.subscription(number) if row.key.partition in served else None
        if row.key.partition not in served:
            return  # Its owner finds it.
        if subscription is None:
            self._settler.erase(row.key)
            return
        tenant = await self._registry.load(subscription.project, subscription.tenant)
        courier = await self._awake(number)
        if row.key.partition not in served or is_over(row.key):
            return
        if courier is None or courier.is_gone:
            courier = self._lanes.make(subscription, tenant.project, self._position(subscription.partition) + 1)
        if row.key not in courier.lane.opened.deliveries:
            now = self._clock.now()
            courier.lane.adopt(row, (), now, wait_s=wait_s(row, courier.route.policy, now))
        self._lanes.make_ready(courier)

    async def _awake(self, number: int) -> Courier | None:
        """Return a subscription's lane, woken when it sleeps; None when it has none."""
        dormitory = self._lanes.dormitory
        sleeper = dormitory.asleep.get(number)
        return await dormitory.wake(sleeper) if sleeper else self._lanes.couriers.get(number)


def _owner_of(courier: Courier) -> Owner:
    subscription = courier.route.subscription
    return subscription.project, subscription.tenant
