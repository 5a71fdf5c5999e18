"""Drive the lanes: hand them events, let them send in turn while there is room, and carry out their effects.

Lanes that may have something to send stand in a row; each sends one delivery and goes to its end, so that none waits
longer than one turn for another. Receivers that take long may fill most of the wire, never all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from angarium.core.deciding import Delivered
from angarium.core.sealing import size_of
from angarium.engine.alarm import Alarm
from angarium.engine.courier import Courier
from angarium.engine.laning import Laning
from angarium.engine.sleeping import Sleeper

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from angarium.clock import Clock, Moment
    from angarium.core.effects import Delivery, Fact
    from angarium.engine.poster import Poster
    from angarium.engine.reader import Reader
    from angarium.engine.registry import TenantSubscriptions
    from angarium.engine.ring import Ring
    from angarium.engine.settler import Settler
    from angarium.engine.skipping import Skips
    from angarium.engine.sleeping import Dormitory
    from angarium.model.event import Entry
    from angarium.model.subscription import Subscription
    from angarium.settings import Settings
    from angarium.vault import Vault

SLOW_SHARE = 0.75
"""The share of all requests on the wire that slow receivers may take."""

SWEEP_S = 10.0
_HELD_S = 0.1


class Lanes(Laning):
    """All lanes of this process, and their turns on the wire.

    `position` tells how far the tail has come in a partition; `room` is called when there may be room for it again;
    `give_up` is to disable a subscription. `may_send`, where there is one, says whether requests may start at all.
    """

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        *,
        settings: Settings,
        clock: Clock,
        vault: Vault,
        ring: Ring,
        settler: Settler,
        poster: Poster,
        position: Callable[[int], int],
        room: Callable[[], None],
        give_up: Callable[[Subscription, str], None],
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self._settings, self._clock, self._vault = settings, clock, vault
        self._ring, self._settler, self._poster = ring, settler, poster
        self._position, self._room, self._give_up = position, room, give_up
        self._may_send = may_send
        self.held_max = max(64, settings.events_in_memory // 8)
        self._slow_max = max(1, int(settings.max_in_flight * SLOW_SHARE))
        self._ready: deque[Courier] = deque()
        self._alarm = Alarm(clock, self._rung)
        self._is_pumping = False
        self._is_stopping = False
        self._sweeping: asyncio.TimerHandle | None = None
        self._slow_in_flight = 0
        self._drained: asyncio.Event | None = None
        self.couriers: dict[int, Courier] = {}
        self.dormitory: Dormitory
        self.skips: dict[int, Skips] = {}
        self.ending: set[Courier] = set()
        self.resting: set[int] = set()
        self.reader: Reader
        self.in_flight = 0
        self.attempts = 0
        self.delivered = 0
        self.exhausted = 0

    def open(self) -> None:
        """Begin to send."""
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        for courier in self.couriers.values():
            self.make_ready(courier)

    async def close(self, *, within_s: float) -> None:
        """Seal no more, wait for what is on the wire, and write the rest as open."""
        self._is_stopping = True
        self._alarm.cancel()
        await self.dormitory.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self.in_flight:
            self._drained = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), within_s)
        await self._poster.close()
        for courier in self.couriers.values():
            self.leave(courier)

    # -- partitions come and go ---------------------------------------------------------------------------------------

    def of(self, partitions: Collection[int]) -> list[Courier]:
        """Return the lanes of some partitions that are awake, ended ones that still have something on the wire too."""
        return [each for each in (*self.couriers.values(), *self.ending) if each.lane.partition in partitions]

    def resume(self, partitions: Collection[int]) -> None:
        """Let the lanes of these partitions, which have been filled, send."""
        self.resting.difference_update(partitions)
        for courier in self.of(partitions):
            courier.is_resting, courier.is_stopped = False, not courier.route.subscription.is_served
            self.make_ready(courier)

    def hold(self, partitions: Collection[int]) -> None:
        """Seal and send nothing of these partitions any more: they are about to be handed over."""
        self.resting.update(partitions)
        for courier in self.of(partitions):
            courier.is_stopped = courier.is_resting = True
        self.dormitory.hold(partitions, self._alarm)

    def leave(self, courier: Courier, *, due_ms: int = 0) -> None:
        """Write all that a new owner of a lane must know; what is on the wire is sent again when it is due."""
        courier.lane.leave(self._clock.now(), due_ms=due_ms)
        self._carry_out(courier)
        if courier.lane.is_behind and not courier.lane.is_closed:
            self._settler.lane(courier.lane)

    def drop(self, partitions: Collection[int]) -> None:
        """Forget all that is held of these partitions, and whatever becomes of what is on the wire."""
        for courier in self.of(partitions):
            self._alarm.forget(courier)
            self.couriers.pop(courier.number, None)
            self.ending.discard(courier)
            courier.go()
        self._ready = deque([courier for courier in self._ready if not courier.is_gone])
        for partition in partitions:
            self.skips.pop(partition, None)
        self.resting.difference_update(partitions)
        self.dormitory.drop(partitions, self._alarm)

    # -- events come ------------------------------------------------------------------------------------------------

    def deliver(self, entry: Entry, tenant: TenantSubscriptions, numbers: Sequence[int]) -> None:
        """Hand an entry to the lanes of these subscriptions."""
        now = self._clock.now()
        skips, live = self.skips.get(entry.partition), []
        for number in numbers:
            courier = self.couriers.get(number) or self._awake(number, entry, tenant, now)
            if courier is None:
                continue
            if skips is not None and skips.holds(number, entry.offset):
                courier.lane.pass_over(entry.offset)
            elif courier.lane.is_behind:
                self._count(courier, entry)
            else:
                live.append(courier)
        if not live:
            return
        self._ring.owe(entry.partition, entry.offset, len(live), size_of(entry))
        for courier in live:
            lane = courier.lane
            lane.arrive(entry, now)
            if len(lane.progress.unresolved) > self.held_max:
                self.fall_behind(courier)
            if not courier.is_ready:
                self.make_ready(courier)

    def _awake(self, number: int, entry: Entry, tenant: TenantSubscriptions, now: Moment) -> Courier | None:
        """Return a lane that was not there; None when it sleeps, and counts the entry in its sleep."""
        sleeper = self.dormitory.asleep.get(number)
        if sleeper is None:
            return self.make(tenant.subscriptions[number], tenant.project, entry.offset)
        self.dormitory.count(sleeper, entry.offset, self._alarm, now)
        return None

    def _count(self, courier: Courier, entry: Entry) -> None:
        """Let a lane that is behind count an entry."""
        lane = courier.lane
        lane.count(entry.offset)
        courier.is_counted = False
        if courier.wakes_at is None and not (courier.is_ready or courier.is_reading or lane.is_paused):
            self.make_ready(courier)

    # -- deliveries go ----------------------------------------------------------------------------------------------

    def make_ready(self, courier: Courier) -> None:
        """Let a lane stand in the row of those that may have something to send."""
        if not courier.is_ready:
            courier.is_ready = True
            self._ready.append(courier)
        self.pump()

    def pump(self) -> None:
        """Let those in the row have their turns soon."""
        if self._ready and not self._is_pumping:
            self._is_pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        if self._may_send is not None and not self._may_send():
            asyncio.get_running_loop().call_later(_HELD_S, self._pump)
            return
        self._is_pumping = False
        if self._is_stopping:
            return
        now, ready, slow = self._clock.now(), self._ready, []
        # What was answered but is not settled yet would be sent again after a crash, as what is on the wire would.
        while ready and self.in_flight + self._settler.unsettled < self._settings.max_in_flight:
            courier = ready.popleft()
            if courier.is_slow and self._slow_in_flight >= self._slow_max:
                slow.append(courier)
            elif self._sends(courier, now):
                ready.append(courier)
            else:
                courier.is_ready = False
        ready.extend(slow)

    def _sends(self, courier: Courier, now: Moment) -> bool:
        """Send a lane's next delivery; return whether to ask it again in this turn."""
        lane = courier.lane
        delivery = None if courier.is_stopped else lane.take(now)
        if lane.effects:
            self._carry_out(courier)
        if delivery is None:
            if lane.is_full and not lane.is_behind:
                self.fall_behind(courier)
            self._rest(courier, now)
            return False
        self._send(courier, delivery, now)
        return lane.has_next

    def _send(self, courier: Courier, delivery: Delivery, now: Moment) -> None:
        self.in_flight += 1
        self._slow_in_flight += (is_slow := courier.is_slow)
        ended = partial(self._ended, courier, delivery, is_slow)
        if delivery.is_batch and (delivery.entries is not None or delivery.is_merged):
            delivery.is_merged = False
            # Its row, which says what is in it, must be there before anybody receives it.
            self._settler.after(partial(self._send_written, courier, delivery, ended, is_slow=is_slow))
        else:
            self._post(courier, delivery, now, ended, is_slow=is_slow)

    def _post(
        self,
        courier: Courier,
        delivery: Delivery,
        now: Moment,
        ended: Callable[[Fact | None, Moment], None],
        *,
        is_slow: bool,
    ) -> None:
        route, entries = courier.route, delivery.entries
        if entries is None or (route.is_fat and route.lacking(delivery, entries)):
            withdrawn = partial(self._withdrawn, courier, delivery, is_slow=is_slow)
            self._poster.post_again(courier, delivery, ended, withdrawn)
        else:
            self._poster.post(route, delivery, now, ended)

    def _send_written(
        self, courier: Courier, delivery: Delivery, ended: Callable[[Fact | None, Moment], None], *, is_slow: bool
    ) -> None:
        if self._is_stopping or not courier.may_send(delivery):
            self._withdrawn(courier, delivery, is_slow=is_slow)
        else:
            self._post(courier, delivery, self._clock.now(), ended, is_slow=is_slow)

    def _withdrawn(self, courier: Courier, delivery: Delivery, *, is_slow: bool) -> None:
        """Take back what did not go after all."""
        self._leaves_wire(is_slow=is_slow)
        if courier.is_gone:
            return
        courier.lane.put_back(delivery, self._clock.now())
        if courier.lane.is_closed:
            self._close(courier)
        self.make_ready(courier)

    def _leaves_wire(self, *, is_slow: bool) -> None:
        self.in_flight -= 1
        self._slow_in_flight -= is_slow
        if self._drained is not None and not self.in_flight:
            self._drained.set()

    def _rest(self, courier: Courier, now: Moment) -> None:
        """See to it that a lane is asked again when it may have something."""
        lane = courier.lane
        if courier.is_stopped:
            return
        if lane.is_behind and not courier.is_reading and lane.reads(now):
            self.reader.read(courier)
            return
        at = lane.wakes_at(now)
        if at is not None and not (courier.is_reading and at <= now.mono):
            self._alarm.set(courier, max(at, now.mono + 0.001))

    def _rung(self, due: Sequence[Courier | Sleeper]) -> None:
        for one in due:
            if isinstance(one, Courier):
                self.make_ready(one)
            else:
                self.dormitory.wake(one)

    # -- attempts end -----------------------------------------------------------------------------------------------

    def _ended(self, courier: Courier, delivery: Delivery, is_slow: bool, fact: Fact | None, now: Moment) -> None:  # noqa: FBT001  bound by partial
        if fact is None:
            self._withdrawn(courier, delivery, is_slow=is_slow)
            return
        self._leaves_wire(is_slow=is_slow)
        self.attempts += 1
        if courier.is_gone:
            self.pump()  # Others have its lane: they know nothing of this attempt, and make another.
            return
        self.delivered += isinstance(fact.verdict, Delivered)
        courier.took(fact.took_ms / 1000)
        courier.lane.end(delivery, fact, now)
        self._carry_out(courier)
        if courier.lane.has_next:
            self.make_ready(courier)
        else:
            self.pump()

    def _sweep(self) -> None:
        """Forget lanes that hold nothing, note what waits for those that are behind, and let sleep who can."""
        idle = [courier for courier in self.couriers.values() if courier.lane.is_idle and not courier.is_ready]
        for courier in idle:
            if courier.is_swept:
                self._alarm.forget(courier)
                del self.couriers[courier.lane.number]
            courier.is_swept = True
        self.ending = {courier for courier in self.ending if courier.lane.in_flight}
        for courier in self.couriers.values():
            if courier.lane.is_behind and not courier.is_counted:
                courier.is_counted = True
                self._settler.lane(courier.lane, is_urgent=False)
        self.dormitory.note()
        for courier in self.dormitory.put(self.couriers.values(), self._alarm, self._clock.now()):
            del self.couriers[courier.lane.number]
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
