"""Drive the lanes: hand them events, let them send in turn while there is room, and carry out their effects.

Lanes that may have something to send stand in a row; each sends one delivery and goes to its end, so that none waits
longer than one turn for another. Receivers that take long may fill most of the wire, never all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, assert_never

from angarium.core.deciding import Delivered
from angarium.core.effects import Expire, FallBehind, Free, GiveUp, Record, Settle, Write
from angarium.core.sealing import size_of
from angarium.engine.alarm import Alarm
from angarium.engine.courier import Courier
from angarium.engine.routes import Route
from angarium.engine.sleeping import Sleeper
from angarium.model.delivery import Key, Settled, State
from angarium.model.subscription import Owed, Status
from angarium.telemetry import LANE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from angarium.clock import Clock, Moment
    from angarium.core.effects import Delivery, Effect, Fact
    from angarium.core.lane import Lane
    from angarium.engine.poster import Poster
    from angarium.engine.reader import Reader
    from angarium.engine.registry import TenantSubscriptions
    from angarium.engine.ring import Ring
    from angarium.engine.settler import Settler
    from angarium.engine.skipping import Skips
    from angarium.engine.sleeping import Dormitory
    from angarium.model.event import Entry
    from angarium.model.registry import Project
    from angarium.model.subscription import Subscription
    from angarium.settings import Settings
    from angarium.vault import Vault

SLOW_SHARE = 0.75
"""The share of all requests on the wire that slow receivers may take."""

SWEEP_S = 10.0
_PAUSE_S = 0.05


class Lanes:
    """All lanes of this process, and their turns on the wire.

    `position` tells how far the tail has come in a partition; `room` is called when there may be room for it again;
    `give_up` is to disable a subscription.
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
    ) -> None:
        self._settings, self._clock, self._vault = settings, clock, vault
        self._ring, self._settler, self._poster = ring, settler, poster
        self._position, self._room, self._give_up = position, room, give_up
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
            courier.lane.leave(self._clock.now())
            self._carry_out(courier)
            if courier.lane.is_behind:
                self._settler.lane(courier.lane)

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

    def forget_skips(self, marks: Mapping[int, int]) -> None:
        """Forget what an earlier process had settled, once these watermarks have passed all of it."""
        for partition, mark in marks.items():
            if partition in self.skips and mark >= self.skips[partition].until:
                del self.skips[partition]

    def _count(self, courier: Courier, entry: Entry) -> None:
        """Let a lane that is behind count an entry."""
        lane = courier.lane
        lane.count(entry.offset)
        courier.is_counted = False
        if courier.wakes_at is None and not (courier.is_ready or courier.is_reading or lane.is_paused):
            self.make_ready(courier)

    def make(self, subscription: Subscription, project: Project | None, offset: int) -> Courier:
        """Make the lane of a subscription, before the entry at an offset is handed to it."""
        courier = Courier(self.route(subscription, project), scale=self._settings.time_scale)
        self.couriers[subscription.number] = courier
        if subscription.status is not Status.ACTIVE or not subscription.is_served:
            courier.lane.fall_behind(offset - 1, skipped=self._skipped(courier.lane))
            courier.lane.pause(offset - 1)
            courier.is_stopped = not subscription.is_served
            self._settler.lane(courier.lane)
        return courier

    def route(self, subscription: Subscription, project: Project | None) -> Route:
        """Return the route of a subscription as it stands now."""
        return Route(subscription, project, self._vault, time_scale=self._settings.time_scale)

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
        ended: Callable[[Fact, Moment], None],
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
        self, courier: Courier, delivery: Delivery, ended: Callable[[Fact, Moment], None], *, is_slow: bool
    ) -> None:
        if self._is_stopping or not courier.may_send(delivery):
            self._withdrawn(courier, delivery, is_slow=is_slow)
        else:
            self._post(courier, delivery, self._clock.now(), ended, is_slow=is_slow)

    def _withdrawn(self, courier: Courier, delivery: Delivery, *, is_slow: bool) -> None:
        """Take back what did not go after all."""
        self._leaves_wire(is_slow=is_slow)
        courier.lane.put_back(delivery, self._clock.now())
        if courier.lane.is_closed:
            self._close(courier)
        self.pump()

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

    def _ended(self, courier: Courier, delivery: Delivery, is_slow: bool, fact: Fact, now: Moment) -> None:  # noqa: FBT001  bound by partial
        self._leaves_wire(is_slow=is_slow)
        self.attempts += 1
        self.delivered += isinstance(fact.verdict, Delivered)
        courier.took(fact.took_ms / 1000)
        courier.lane.end(delivery, fact, now)
        self._carry_out(courier)
        if courier.lane.has_next:
            self.make_ready(courier)
        else:
            self.pump()

    def _carry_out(self, courier: Courier) -> None:
        """Carry out a lane's effects, in order."""
        lane = courier.lane
        effects, lane.effects = lane.effects, []
        for effect in effects:
            self._carry_out_one(courier, effect)
        if lane.is_behind and not lane.is_closed:
            self._settler.lane(lane)

    def _carry_out_one(self, courier: Courier, effect: Effect) -> None:
        match effect:
            case Settle(settled, closes, frees):
                self._settler.settle(settled, closes=closes)
                self.exhausted += settled.state is State.EXHAUSTED
                if frees:
                    self._free(courier, (settled.key.last_offset, *settled.members))
            case Write(row, frees):
                self._settler.open(row)
                if frees:
                    self._free(courier, (row.key.last_offset, *row.members))
            case Free(offsets):
                self._free(courier, offsets)
            case Record(attempt):
                self._settler.attempt(attempt)
            case FallBehind():
                self.fall_behind(courier)
                self._tell_failing(courier)
            case Expire(before_ms):
                self._expire(courier, before_ms)
            case GiveUp(reason):
                courier.is_stopped = True
                self._give_up(courier.route.subscription, reason)
            case _:
                assert_never(effect)

    def _free(self, courier: Courier, offsets: Iterable[int]) -> None:
        """Owe these offsets no more; a lane that is behind keeps account of its own."""
        if courier.lane.is_behind:
            return
        partition = courier.lane.partition
        for offset in offsets:
            self._ring.release(partition, offset)
        self._room()

    # -- lanes change -----------------------------------------------------------------------------------------------

    def fall_behind(self, courier: Courier) -> None:
        """Let a lane drop what is not sealed and read it again from the log."""
        lane = courier.lane
        if not lane.is_behind:
            for offset in lane.progress.unresolved:
                self._ring.release(lane.partition, offset)
            self._room()
        lane.fall_behind(self._position(lane.partition), skipped=self._skipped(lane))
        self._settler.lane(lane)

    def _skipped(self, lane: Lane) -> Iterable[int]:
        skips = self.skips.get(lane.partition)
        return skips.of(lane.number) if skips is not None and not lane.is_behind else ()

    def _expire(self, courier: Courier, before_ms: int) -> None:
        """Exhaust what has waited for longer than its lifetime; what is on the wire gets a row and stays."""
        if courier.is_reading or courier.lane.is_closed:
            return
        self.fall_behind(courier)
        courier.lane.leave(self._clock.now())
        self._carry_out(courier)
        self.reader.expire(courier, before_ms, State.EXHAUSTED)

    def expire_all(self, before_ms: int) -> None:
        """Expire, in lanes that are behind, what was accepted before a moment: the log keeps it no longer."""
        for courier in self.couriers.values():
            if courier.lane.is_behind and not courier.is_reading:
                self.reader.expire(courier, before_ms, State.EXPIRED)
        for sleeper in self.dormitory.asleep.values():
            if sleeper.row().failing_since_ms < before_ms:
                self.dormitory.wake(sleeper)  # It is looked at the next time.

    def close_lane(self, marker: Entry) -> None:
        """End a lane at the marker from which on it is owed nothing."""
        version = marker.version
        assert version is not None, "a marker carries a version"
        state = State.EXHAUSTED if version.owed is Owed.FEED else State.CANCELLED
        sleeper = self.dormitory.asleep.get(version.subscription)
        courier = self.couriers.get(version.subscription)
        # It may be read once more, after a restart, while the lane is of what came afterwards.
        if sleeper is not None and sleeper.row().cursor < marker.offset:
            self._alarm.forget(sleeper)
            self.dormitory.end(sleeper, state, last_offset=marker.offset, last_ms=marker.accepted_ms)
        elif courier is not None and not courier.lane.is_past(marker.offset):
            self.end_lane(courier, state, last_offset=marker.offset, last_ms=marker.accepted_ms)

    def end_lane(self, courier: Courier, state: State, *, last_offset: int, last_ms: int) -> None:
        """Settle all that a lane still owes: what waits in the log as one range, up to an offset."""
        lane, now = courier.lane, self._clock.now()
        self.couriers.pop(lane.number, None)
        courier.is_stopped, courier.ends_as = True, state
        self.fall_behind(courier)
        reason = self._close(courier)
        if lane.waiting:
            key = Key(lane.partition, last_offset, lane.number, last_ms)
            first = lane.progress.read_to + 1
            self._settler.settle(
                Settled(key, state, now.wall_ms, first_offset=first, count=lane.waiting, reason=reason), closes=False
            )
        self._settler.lane_gone(lane.partition, lane.number)

    def _close(self, courier: Courier) -> str:
        """Settle what is not on the wire, and write what is: should this process end first, the next one settles it."""
        lane, now = courier.lane, self._clock.now()
        reason = courier.route.subscription.reason or "disabled"
        lane.leave(now)
        lane.close(courier.ends_as, reason, self._position(lane.partition), now)
        self._carry_out(courier)
        return reason

    def stop(self, courier: Courier) -> None:
        """Send nothing any more; what it holds would take the room that the tail needs to come to its marker."""
        courier.is_stopped = True
        self.fall_behind(courier)

    def change(self, courier: Courier, subscription: Subscription, project: Project | None) -> None:
        """Serve a lane on its subscription's new terms, from this moment on."""
        lane, now = courier.lane, self._clock.now()
        courier.route = self.route(subscription, project)
        courier.is_stopped = False
        lane.change(courier.route.policy, merges=courier.route.merges)
        if subscription.status is Status.PAUSED and not lane.is_paused:
            self.fall_behind(courier)
            lane.pause(self._position(lane.partition))
        elif subscription.status is Status.ACTIVE and lane.is_paused:
            lane.resume(now)
        self.make_ready(courier)

    def _tell_failing(self, courier: Courier) -> None:
        subscription, breaker = courier.route.subscription, courier.lane.breaker
        emit(
            LANE_FAILED,
            subscription=subscription.id,
            project=subscription.project,
            tenant=subscription.tenant,
            failures=breaker.failures,
        )

    def _sweep(self) -> None:
        """Forget lanes that hold nothing, note what waits for those that are behind, and let sleep who can."""
        idle = [courier for courier in self.couriers.values() if courier.lane.is_idle and not courier.is_ready]
        for courier in idle:
            if courier.is_swept:
                self._alarm.forget(courier)
                del self.couriers[courier.lane.number]
            courier.is_swept = True
        for courier in self.couriers.values():
            if courier.lane.is_behind and not courier.is_counted:
                courier.is_counted = True
                self._settler.lane(courier.lane, is_urgent=False)
        self.dormitory.note()
        for courier in self.dormitory.put(self.couriers.values(), self._alarm, self._clock.now()):
            del self.couriers[courier.lane.number]
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
