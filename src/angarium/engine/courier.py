"""Hold what the engine knows of one lane besides its state: its route, and what it is waiting for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core.lane import Lane
from angarium.model.delivery import Origin, State

if TYPE_CHECKING:
    from angarium.core.effects import Delivery
    from angarium.engine.routes import Route

SLOW_S = 1.0


class Courier:
    """One lane with its route."""

    __slots__ = (
        "ends_as",
        "is_counted",
        "is_gone",
        "is_reading",
        "is_ready",
        "is_resting",
        "is_stopped",
        "is_swept",
        "lane",
        "route",
        "took_s",
        "wakes_at",
    )

    def __init__(self, route: Route, *, scale: float) -> None:
        subscription = route.subscription
        self.route = route
        self.lane = Lane(subscription.number, subscription.partition, route.policy, scale=scale, merges=route.merges)
        self.lane.resumed_ms = subscription.resumed_ms
        self.is_ready = False  # it stands in the row of those who may have something to send
        self.is_reading = False  # its lane's log is being read on
        self.is_counted = True  # what waits for it is as its row says
        self.is_stopped = False  # it was disabled or deleted (its marker will close it), rests, or is gone
        self.is_resting = False  # its partition is being taken up or handed over: nothing is sealed or sent
        self.is_gone = False  # its partition is not ours any more: whatever comes of it here means nothing
        self.wakes_at: float | None = None
        self.took_s = 0.0
        self.ends_as = State.CANCELLED  # what becomes of what it still held, once its lane is closed
        self.is_swept = False  # it held nothing when lanes were last swept

    @property
    def number(self) -> int:
        """Return its subscription's number."""
        return self.lane.number

    @property
    def is_slow(self) -> bool:
        """Say whether its receiver takes long to answer."""
        return self.took_s > SLOW_S

    def may_send(self, delivery: Delivery) -> bool:
        """Say whether a delivery that was on its way may still go: a pause holds back all but tests."""
        return not self.is_stopped and (not self.lane.is_paused or delivery.origin is Origin.TEST)

    def go(self) -> None:
        """Take no further part: its lane is others', or will be made anew."""
        self.is_gone = self.is_stopped = True
        self.is_ready = True  # So it never stands in the row again.
        self.lane.effects.clear()
        self.lane.is_closed = True  # So it reads no more.

    def took(self, seconds: float) -> None:
        """Take note of how long an attempt took; the last few count."""
        self.took_s += (seconds - self.took_s) / 4
