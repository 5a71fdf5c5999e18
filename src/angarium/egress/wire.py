"""Carry requests over the wire: one thread, one libcurl multi handle, one epoll.

The thread sleeps in epoll, drives the sockets that have something, and hands what has ended to `report`, a batch per
turn. libcurl's own `perform` would be a little cheaper with everything in motion (14 us a POST against 17), but it
visits every transfer each time: 400 silent receivers make it twice as dear for the others, and it stops at 1,024
descriptors.

A socket stays registered with epoll while its connection is idle, since nearly all are used again; one that then
becomes readable (the receiver closed it) is unregistered until libcurl wants it again.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import pycurl

from angarium.egress.transfer import Handle, Options, Transfer, failed, overdue
from angarium.model.wire import NoResponse, Reason, Response

if TYPE_CHECKING:
    from collections.abc import Callable

Report = list[tuple[Transfer, Response | NoResponse]]

_REST_S = 60.0
_FULL_REST_S = 0.1
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
    """Start transfers, each to its deadline, and report how they ended. One owner thread calls everything public."""

    def __init__(self, options: Options, *, max_in_flight: int, report: Callable[[Report], None]) -> None:
        self._options = options
        self._max_in_flight = max_in_flight
        self._report = report
        self._inbox: deque[Transfer] = deque()
        self._is_asleep = False
        self._is_stopping = False
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running: dict[pycurl.Curl, Handle] = {}
        self._idle: list[Handle] = []
        self._ended: Report = []
        self._interests: dict[int, int] = {}
        self._due_at: float | None = None
        self._drops_at = 0.0
        self._thread = Thread(target=self._run, name="angarium-wire", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def send(self, transfer: Transfer) -> None:
        """Hand over a transfer; `wake` must follow, once for any number of them."""
        self._inbox.append(transfer)

    def wake(self) -> None:
        """See to it that what was handed over is begun."""
        if self._is_asleep and not self._is_stopping:
            self._is_asleep = False
            os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """Ask the thread to end; what is still on the wire is reported as `reset` first."""
        self._is_stopping = True
        os.eventfd_write(self._wake_fd, 1)

    def join(self) -> None:
        """Wait for the thread's end, and let go of what it held."""
        self._thread.join()
        os.close(self._wake_fd)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._poll = select.epoll()
        self._poll.register(self._wake_fd, select.EPOLLIN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._max_in_flight)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        while not self._is_stopping:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  our own mistake must not silence every receiver
                self._abandon(Reason.INTERNAL, f"the sender failed: {error!r}")
            self._hand_over()
        self._abandon(Reason.RESET, _CLOSED)
        self._hand_over()
        self._multi.close()
        for handle in self._idle:
            handle.curl.close()
        self._poll.close()

    def _turn(self) -> None:
        """Begin what is new, sleep until something happens, do it, and gather what has ended."""
        while self._inbox and len(self._running) < self._max_in_flight:
            self._begin(self._inbox.popleft())
        if self._inbox:
            self._drop_overdue()
        for fd, events in self._sleep(self._wait_s()):
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif self._interests.get(fd):
                self._multi.socket_action(fd, _ready(events))
            else:
                self._forget(fd)
        if self._due_at is not None and self._due_at <= time.monotonic():
            self._due_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._gather()

    def _wait_s(self) -> float:
        if self._ended:
            return 0.0
        rest_s = _FULL_REST_S if self._inbox else _REST_S
        return rest_s if self._due_at is None else min(max(self._due_at - time.monotonic(), 0.0), rest_s)

    def _sleep(self, wait_s: float) -> list[tuple[int, int]]:
        if wait_s == 0.0:
            return self._poll.poll(0.0)
        self._is_asleep = True
        # Whoever came between the last look and the line above saw us awake and rang no bell.
        if (self._inbox and len(self._running) < self._max_in_flight) or self._is_stopping:
            wait_s = 0.0
        events = self._poll.poll(wait_s)
        self._is_asleep = False
        return events

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
        handle = self._idle.pop() if self._idle else Handle(self._options)
        try:
            handle.prepare(transfer)
            self._multi.add_handle(handle.curl)
        except (pycurl.error, TypeError, ValueError) as error:
            handle.curl.close()
            self._ended.append((transfer, failed(transfer, error)))
        else:
            self._running[handle.curl] = handle
            self._due_at = 0.0  # Not every pycurl tells the timer of what `add_handle` wants.

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
        self._idle.append(handle)

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
