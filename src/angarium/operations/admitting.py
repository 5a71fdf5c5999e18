"""Let publishes in as fast as they can be worked off, so that a flood of them does not take what sending needs.

API and engine share one loop. While the engine has room, whoever comes goes straight through, up to a bound per turn of
the loop; the rest wait in order. While it has none, one comes in for each that is delivered. If nothing is, because
receivers are slow, the log is the queue, and publishes still come in as long as they cost the senders nothing: more and
more every few milliseconds while the processor has time to spare, half as many when it has not. Both the waiting and
those inside are bounded, in number and in time: beyond that they are refused at once, never left hanging.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INSIDE_MAX: Final = 4_096
WAITING_MAX: Final = 4_096
PER_TURN: Final = 128
WAITS_MAX_S: Final = 5.0
_PAUSE_S: Final = 0.004
_LATE_S: Final = 0.004
_BUSY: Final = 0.6


class Gate(Generic[T]):
    """Admit what asks, now or soon, or refuse it. `admit` or `refuse` is called once for each; `left` when it is done.

    Used on the loop only.
    """

    def __init__(
        self, *, has_room: Callable[[], bool], admit: Callable[[T], None], refuse: Callable[[T], None]
    ) -> None:
        self._has_room = has_room
        self._admit = admit
        self._refuse = refuse
        self._waiting: deque[tuple[float, T]] = deque()
        self._loop = asyncio.get_running_loop()
        self._this_turn = 0
        self._allowance = 1
        self._is_pumping = False
        self._is_closed = False
        self.inside = 0

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def enter(self, one: T) -> None:
        """Admit one now if nobody waits and there is room, let it wait otherwise, or refuse it when too many do."""
        if not self._waiting and self._is_open():
            self._let_in(one)
        elif self._is_closed or len(self._waiting) >= WAITING_MAX:
            self._refuse(one)
        else:
            self._waiting.append((self._loop.time() + WAITS_MAX_S, one))
            self._keep_pumping()

    def left(self) -> None:
        """Take note that one that was admitted is done."""
        self.inside -= 1

    def close(self) -> None:
        """Refuse all who wait or still come."""
        self._is_closed = True
        while self._waiting:
            self._refuse(self._waiting.popleft()[1])

    def _is_open(self) -> bool:
        return self._this_turn < PER_TURN and self.inside < INSIDE_MAX and self._has_room() and not self._is_closed

    def _let_in(self, one: T) -> None:
        if not self._this_turn:
            self._loop.call_soon(self._begin_turn)
        self._this_turn += 1
        self.inside += 1
        self._admit(one)

    def _begin_turn(self) -> None:
        self._this_turn = 0

    def _keep_pumping(self) -> None:
        if not self._is_pumping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Let in whom there is room for, refuse who has waited too long, and come back while anybody waits."""
        while self._waiting and self._is_open():
            self._let_in(self._waiting.popleft()[1])
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            self._refuse(self._waiting.popleft()[1])
        if not self._waiting:
            self._is_pumping = False
        elif self._has_room() and self.inside < INSIDE_MAX:
            self._loop.call_soon(self._pump)
        else:
            self._loop.call_later(_PAUSE_S, self._trickle, now + _PAUSE_S, time.monotonic(), time.process_time())

    def _trickle(self, due: float, began: float, cpu_began: float) -> None:
        """Let a few in although the engine has no room: as many as there has been time for."""
        busy = (time.process_time() - cpu_began) / max(time.monotonic() - began, 1e-6)
        self._allowance = allow(self._allowance, busy=busy, late_s=self._loop.time() - due)
        for _ in range(min(self._allowance, len(self._waiting), INSIDE_MAX - self.inside)):
            self._let_in(self._waiting.popleft()[1])
        self._pump()


def allow(allowance: int, *, busy: float, late_s: float) -> int:
    """Return how many may come in next: twice as many when there was time to spare, half as many when there was none.

    `busy` is the share of one processor that this process took, `late_s` how late the loop was.
    """
    if busy > _BUSY or late_s > _LATE_S:
        return max(1, allowance // 2)
    return min(PER_TURN, allowance * 2)
