"""Keep a lane from hammering a receiver that is not well.

| state | requests at once | left by |
|---|---|---|
| closed | as the policy says | 5 failures in a row: open |
| open | one: a retry at its moment, else a probe after 30 s, growing to 5 min | a success: slow start |
| slow start | 1, 2, 4 … one step with each success | enough successes: closed; a failure: open |

Failures are time-outs, resets, 5xx and 429: a receiver that refuses one event is well. Moments are monotonic seconds.
"""

from __future__ import annotations

FAILURES_MAX = 5
PROBE_S_MIN = 30.0
PROBE_S_MAX = 300.0


class Breaker:
    """One lane's breaker; `scale` divides its pauses (`ANGARIUM_TIME_SCALE`)."""

    __slots__ = ("_scale", "failing_since_ms", "failures", "probe_at", "probe_s", "window")

    def __init__(self, *, scale: float = 1.0) -> None:
        self._scale = scale
        self.failures = 0
        self.failing_since_ms = 0
        self.probe_s = 0.0
        self.probe_at = 0.0
        self.window = 0  # 0: as the policy says

    @property
    def is_open(self) -> bool:
        """Say whether only one request may be on the wire."""
        return self.probe_s > 0

    @property
    def is_at_rest(self) -> bool:
        """Say whether there is nothing to remember."""
        return not self.failures and not self.failing_since_ms and not self.window

    def limit(self, max_in_flight: int) -> int:
        """Return how many requests may be on the wire at once."""
        if self.is_open:
            return 1
        return min(self.window, max_in_flight) if self.window else max_in_flight

    def forget(self) -> None:
        """Take note that somebody says that the receiver is well."""
        self.failures, self.failing_since_ms, self.probe_s, self.window = 0, 0, 0.0, 0

    def start_slowly(self) -> None:
        """Begin with one request at a time, as after a pause or a restart."""
        self.window = 1

    def well(self, max_in_flight: int) -> None:
        """Take note that the receiver accepted something."""
        if self.is_open:
            self.window = 1
        elif self.window:
            self.window = 0 if self.window * 2 >= max_in_flight else self.window * 2
        self.failures, self.failing_since_ms, self.probe_s = 0, 0, 0.0

    def refused(self, now_ms: int) -> None:
        """Take note that the receiver is there, but did not want this one."""
        self.failing_since_ms = self.failing_since_ms or now_ms
        if self.is_open:
            self.failures, self.probe_s, self.window = 0, 0.0, 1

    def sick(self, now_mono: float, now_ms: int) -> bool:
        """Take note of a failure; return whether the breaker has opened just now."""
        self.failures += 1
        self.failing_since_ms = self.failing_since_ms or now_ms
        was_open = self.is_open
        if was_open or self.window or self.failures >= FAILURES_MAX:
            # What was on the wire when it opened, and retries, say no more than was known: only a probe's failure does.
            was_probe = was_open and now_mono >= self.probe_at
            self.probe_s = min(self.probe_s * 2, PROBE_S_MAX) if was_probe else self.probe_s or PROBE_S_MIN
            self.probe_at = now_mono + self.probe_s / self._scale
            self.window = 0
        return self.is_open and not was_open

    def put_off(self, now_mono: float) -> None:
        """Take note that there was nothing to probe with; the next look is a whole pause away."""
        if self.is_open:
            self.probe_at = now_mono + self.probe_s / self._scale

    def restore(self, failures: int, failing_since_ms: int, probe_s: float, now_mono: float) -> None:
        """Take up where a lane's row says that it stood."""
        self.failures, self.failing_since_ms, self.probe_s = failures, failing_since_ms, probe_s
        self.probe_at = now_mono + probe_s / self._scale
        self.window = 0 if probe_s else 1
