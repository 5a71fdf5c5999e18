"""Change lanes: make them, carry out what they want done, let them fall behind, end them, serve them on new terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, assert_never

from angarium.core.effects import Expire, FallBehind, Free, GiveUp, Record, Settle, Write
from angarium.engine.courier import Courier
from angarium.engine.routes import Route
from angarium.model.delivery import Key, Settled, State
from angarium.model.subscription import Owed, Status
from angarium.telemetry import LANE_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from angarium.clock import Clock
    from angarium.core.effects import Effect
    from angarium.core.lane import Lane
    from angarium.engine.alarm import Alarm
    from angarium.engine.reader import Reader
    from angarium.engine.ring import Ring
    from angarium.engine.settler import Settler
    from angarium.engine.skipping import Skips
    from angarium.engine.sleeping import Dormitory
    from angarium.model.event import Entry
    from angarium.model.registry import Project
    from angarium.model.subscription import Subscription
    from angarium.settings import Settings
    from angarium.vault import Vault


class Laning(ABC):
    """What becomes of lanes. Whoever is this, too, gives them their turns on the wire (`make_ready`)."""

    _settings: Settings
    _clock: Clock
    _vault: Vault
    _ring: Ring
    _settler: Settler
    _alarm: Alarm
    _position: Callable[[int], int]
    _room: Callable[[], None]
    _give_up: Callable[[Subscription, str], None]
    couriers: dict[int, Courier]
    skips: dict[int, Skips]
    ending: set[Courier]
    resting: set[int]
    dormitory: Dormitory
    reader: Reader
    exhausted: int

    @abstractmethod
    def make_ready(self, courier: Courier) -> None:
        """Let a lane have its turn soon."""

    def make(self, subscription: Subscription, project: Project | None, offset: int) -> Courier:
        """Make the lane of a subscription, before the entry at an offset is handed to it."""
        courier = Courier(self.route(subscription, project), scale=self._settings.time_scale)
        self.couriers[subscription.number] = courier
        courier.is_stopped = courier.is_resting = subscription.partition in self.resting
        if subscription.status is not Status.ACTIVE or not subscription.is_served:
            courier.lane.fall_behind(offset - 1, skipped=self._skipped(courier.lane))
            courier.lane.pause(offset - 1)
            courier.is_stopped = courier.is_resting or not subscription.is_served
            self._settler.lane(courier.lane)
        return courier

    def route(self, subscription: Subscription, project: Project | None) -> Route:
        """Return the route of a subscription as it stands now."""
        return Route(subscription, project, self._vault, time_scale=self._settings.time_scale)

    # -- effects -------------------------------------------------------------------------------------------------------

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
        if lane.in_flight:
            self.ending.add(courier)
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
        courier.is_stopped = courier.is_resting
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

    def forget_skips(self, marks: Mapping[int, int]) -> None:
        """Forget what an earlier process had settled, once these watermarks have passed all of it."""
        for partition, mark in marks.items():
            if partition in self.skips and mark >= self.skips[partition].until:
                del self.skips[partition]
