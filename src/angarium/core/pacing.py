"""Space a lane's requests evenly, as its rate says; a second's worth may go at once. Moments are monotonic seconds."""

from __future__ import annotations


class Pace:
    """A rate of so many requests a minute (None: any). The generic cell rate algorithm, ITU-T I.371."""

    __slots__ = ("_burst_s", "_interval_s", "_theoretical", "per_minute")

    def __init__(self, per_minute: int | None) -> None:
        self.per_minute = per_minute
        self._theoretical = 0.0
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._burst_s = max(0.0, 1.0 - self._interval_s) if per_minute else 0.0

    def free_at(self) -> float:
        """Return the moment from which on one more may go."""
        return self._theoretical - self._burst_s

    def take(self, now: float) -> None:
        """Take note that one goes now."""
        if self.per_minute:
            self._theoretical = max(self._theoretical, now) + self._interval_s

    def changed(self, per_minute: int | None) -> Pace:
        """Return the pace at another rate, which remembers what went just now."""
        if per_minute == self.per_minute:
            return self
        other = Pace(per_minute)
        other._theoretical = self._theoretical if per_minute else 0.0
        return other
