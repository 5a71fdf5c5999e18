"""Carry requests over the wire: one libcurl multi handle and one epoll, in a loop that watches that epoll.

What libcurl waits for is registered with an epoll of its own, which the event loop watches as one descriptor: so a turn
looks at all sockets that have something, and the loop learns nothing of any of them. A thread of its own would spare
the loop libcurl's work, but each of its steps, and each header line that libcurl tells of, would have to wait for the
interpreter's lock while the loop is busy: that costs more than it spares (docs/decisions/0005).

libcurl's own `perform` would be a little cheaper with everything in motion (14 us a POST against 17), but it visits
every transfer each time: 400 silent receivers make it twice as dear for the others, and it stops at 1,024 descriptors.

A socket stays registered with epoll while its connection is idle, since nearly all are used again; one that then
becomes readable (the receiver closed it) is unregistered until libcurl wants it again.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import pycurl

from angarium.egress.transfer import Handle, Options, Transfer, failed, overdue
from angarium.model.wire import WITHHELD, NoResponse, Reason, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.egress.routes import Route

Report = list[tuple[Transfer, Response | NoResponse]]

_FULL_REST_S = 0.1
_PER_TURN = 64
"""So many transfers are begun, and so many sockets looked at, before the loop does something else."""

_EVENTS = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    pycurl.POLL_REMOVE: 0,
}
_IN: int = pycurl.CSELECT_IN
_OUT: int = pycurl.CSELECT_OUT
_CLOSED = "the sender was stopped"


class Wire:
    """Start transfers, each to its deadline, and report how they ended, a batch a turn. All happens on one loop."""

    def __init__(self, options: Options, *, max_in_flight: int, report: Callable[[Report], None]) -> None:
        self._options = options
        self._max_in_flight = max_in_flight
        self._report = report
        self._inbox: deque[Transfer] = deque()
        self._running: dict[pycurl.Curl, Handle] = {}
        self._idle: dict[Route | None, list[Handle]] = {}
        self._ended: Report = []
        self._interests: dict[int, int] = {}
        self._due_at: float | None = None
        self._rings_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._drops_at = 0.0
        self._is_called = False

    def start(self) -> None:
        """Begin to watch, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._max_in_flight)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._loop.add_reader(self._poll.fileno(), self._turn)

    def send(self, transfer: Transfer) -> None:
        """Take a transfer, to be begun in the loop's next turn together with others."""
        self._inbox.append(transfer)
        self._call()

    def stop(self) -> None:
        """End what is still on the wire, each reported as `reset`, and let go of everything."""
        self._loop.remove_reader(self._poll.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._abandon(Reason.RESET, _CLOSED)
        self._hand_over()
        self._multi.close()
        for handles in self._idle.values():
            for handle in handles:
                handle.curl.close()
        self._poll.close()

    # -- a turn --------------------------------------------------------------------------------------------------------

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Begin what is new, see to the sockets that have something, and hand over what has ended."""
        if self._poll.closed:
            return
        self._is_called = False
        try:
            self._begin_new()
            self._look()
            self._gather()
        except Exception as error:  # noqa: BLE001  our own mistake must not silence every receiver
            self._abandon(Reason.INTERNAL, f"the sender failed: {error!r}")
        self._rest()
        self._hand_over()

    def _begin_new(self) -> None:
        room = min(_PER_TURN, self._max_in_flight - len(self._running))
        for _ in range(min(room, len(self._inbox))):
            self._begin(self._inbox.popleft())
        if self._inbox and len(self._running) >= self._max_in_flight:
            self._drop_overdue()
        self._pass_time()

    def _look(self) -> None:
        for fd, events in self._poll.poll(0.0, _PER_TURN):
            if self._interests.get(fd):
                self._multi.socket_action(fd, _ready(events))
            else:
                self._forget(fd)
        self._pass_time()

    def _pass_time(self) -> None:
        if self._due_at is not None and self._due_at <= time.monotonic():
            self._due_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _rest(self) -> None:
        """See to it that there is another turn when there is something to do."""
        if self._inbox and len(self._running) < self._max_in_flight:
            self._call()
        at = self._due_at
        if self._inbox:
            at = min(self._drops_at, at or self._drops_at)
        if at is None or (self._timer is not None and self._rings_at <= at):
            return  # A timer that rings too early is cheaper than one that is set anew each time.
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_later(max(at - time.monotonic(), 0.001), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._turn()

    def _drop_overdue(self) -> None:
        """Report what has waited for room until its deadline."""
        now = time.monotonic()
        if now < self._drops_at:
            return
        self._drops_at = now + _FULL_REST_S
        for _ in range(len(self._inbox)):
            transfer = self._inbox.popleft()
            if transfer.deadline > now:
                self._inbox.append(transfer)
            else:
                self._ended.append((transfer, overdue(transfer)))

    def _begin(self, transfer: Transfer) -> None:
        if transfer.deadline <= time.monotonic():
            self._ended.append((transfer, overdue(transfer)))
            return
        if transfer.may_send is not None and not transfer.may_send():
            self._ended.append((transfer, WITHHELD))  # Not even a connection is made.
            return
        handle = self._idle_handle(transfer.route)
        try:
            handle.prepare(transfer)
            self._multi.add_handle(handle.curl)
        except (pycurl.error, TypeError, ValueError) as error:
            handle.curl.close()
            self._ended.append((transfer, failed(transfer, error)))
        else:
            self._running[handle.curl] = handle
            self._due_at = 0.0  # Not every pycurl tells the timer of what `add_handle` wants.

    def _idle_handle(self, route: Route | None) -> Handle:
        """Return a handle that has nothing to do, at best one that went this way last: it knows the way."""
        if not self._idle:
            return Handle(self._options)
        if route not in self._idle:
            route = next(iter(self._idle))
        handles = self._idle[route]
        handle = handles.pop()
        if not handles:
            del self._idle[route]
        return handle

    def _gather(self) -> None:
        left = 1
        while left:
            left, succeeded, broken = self._multi.info_read()
            for curl in succeeded:
                self._end(curl, 0, "")
            for curl, code, message in broken:
                self._end(curl, code, message)

    def _end(self, curl: pycurl.Curl, code: int, message: str) -> None:
        self._multi.remove_handle(curl)
        handle = self._running.pop(curl)
        transfer = handle.transfer
        self._ended.append((transfer, handle.result(code, message)))
        self._idle.setdefault(transfer.route, []).append(handle)

    def _hand_over(self) -> None:
        if self._ended:
            ended, self._ended = self._ended, []
            self._report(ended)

    def _abandon(self, reason: Reason, detail: str) -> None:
        """End all that is on the wire or waits for it."""
        for curl, handle in self._running.items():
            self._ended.append((handle.transfer, NoResponse(reason, detail)))
            with suppress(pycurl.error):  # It may be the very thing that failed.
                self._multi.remove_handle(curl)
                curl.close()
        self._running.clear()
        while self._inbox:
            self._ended.append((self._inbox.popleft(), NoResponse(reason, detail)))

    # -- called by libcurl ---------------------------------------------------------------------------------------------

    def _watch(self, what: int, fd: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        events = _EVENTS[what]
        if events:
            try:
                if fd in self._interests:
                    self._poll.modify(fd, events)
                else:
                    self._poll.register(fd, events)
            except FileNotFoundError:  # Another socket had this number.
                self._poll.register(fd, events)
        self._interests[fd] = events

    def _set_timer(self, wait_ms: int) -> None:
        self._due_at = None if wait_ms < 0 else time.monotonic() + wait_ms / 1000

    def _forget(self, fd: int) -> None:
        """Unregister an idle socket that has something to say: its receiver closed it, which libcurl sees by itself."""
        self._interests.pop(fd, None)
        with suppress(OSError):  # Closed meanwhile.
            self._poll.unregister(fd)


def _ready(events: int) -> int:
    """Return what epoll found in libcurl's words."""
    if events == select.EPOLLIN:
        return _IN
    is_broken = events & (select.EPOLLERR | select.EPOLLHUP)
    return (_IN if events & select.EPOLLIN or is_broken else 0) | (_OUT if events & select.EPOLLOUT or is_broken else 0)
