"""Read the clocks: the wall's for what is stored and signed, a monotonic one for every wait in memory."""

from __future__ import annotations

import time
from typing import Protocol

from msgspec import Struct


class Moment(Struct, frozen=True, gc=False):
    """One moment on both clocks: monotonic seconds for waits, wall-clock milliseconds for records and lifetimes."""

    mono: float
    wall_ms: int


class Clock(Protocol):
    """Tell what time it is."""

    def now(self) -> Moment:
        """Return the present moment."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Moment:
        """Return the present moment."""
        return Moment(time.monotonic(), time.time_ns() // 1_000_000)
