"""Make one request of libcurl: its options, what is checked while it runs, and what came of it."""

from __future__ import annotations

import socket
import time
from collections import deque
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import pycurl

from angarium import __version__
from angarium.egress.answers import BODY_MAX, has_status, no_response, phases, response
from angarium.model.wire import WITHHELD, NoResponse, Phases, Reason, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.egress.routes import Route

_LINES_MAX = 256  # Of an answer's head; earlier ones are dropped. libcurl itself ends a head of more than 300 KiB.
_LARGE = 16 * 1024
_KEEP_GOING = 0
_ABORT = 1
_NO_SOCKET: int = pycurl.SOCKET_BAD
_EMPTY_LINES = (b"\r\n", b"\n")
_METHODS = frozenset({"POST", "PUT", "GET", "OPTIONS"})


class Transfer:
    """One request on its way: by which route, until when (monotonic seconds), whom to ask, and whom to tell."""

    __slots__ = ("begun_at", "deadline", "dns_us", "done", "may_send", "request", "route")

    def __init__(
        self,
        request: Request,
        begun_at: float,
        deadline: float,
        done: Callable[[Response | NoResponse], None],
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self.request = request
        self.begun_at = begun_at
        self.deadline = deadline
        self.done = done
        self.may_send = may_send
        self.dns_us = 0
        self.route: Route | None = None


class Options(NamedTuple):
    """What all transfers have in common."""

    ca_file: str | None


class Handle:
    """A libcurl easy handle, used for one transfer after the other."""

    def __init__(self, options: Options) -> None:
        self.curl = pycurl.Curl()
        self.transfer: Transfer
        self._route: Route | None = None
        self._method = ""
        self._lines: deque[bytes] = deque(maxlen=_LINES_MAX)
        self._chunks: list[bytes] = []
        self._body_size = 0
        self._is_sent = False
        self._is_withheld = False
        self._refused: NoResponse | None = None
        self._configure(options)

    def _configure(self, options: Options) -> None:
        setopt = self.curl.setopt
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROXY, "")  # None, whatever the environment says.
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        setopt(pycurl.HTTP09_ALLOWED, 0)
        setopt(pycurl.USERAGENT, f"Angarium/{__version__}")  # Unless the request names another.
        setopt(pycurl.HTTP_CONTENT_DECODING, 0)
        setopt(pycurl.FOLLOWLOCATION, 0)
        setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        setopt(pycurl.PATH_AS_IS, 1)
        setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)  # Or newer.
        setopt(pycurl.SSL_VERIFYPEER, 1)
        setopt(pycurl.SSL_VERIFYHOST, 2)
        # Longer than any transfer, so that what was pinned is never asked of a resolver.
        setopt(pycurl.DNS_CACHE_TIMEOUT, 3600)
        setopt(pycurl.HEADERFUNCTION, self._lines.append)
        setopt(pycurl.WRITEFUNCTION, self._take)
        setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        setopt(pycurl.PREREQFUNCTION, self._before_request)
        if options.ca_file is not None:
            setopt(pycurl.CAINFO, options.ca_file)

    # -- before --------------------------------------------------------------------------------------------------------

    def prepare(self, transfer: Transfer) -> None:
        """Set what this request has of its own; `ValueError` for one that cannot be sent."""
        request, route = transfer.request, transfer.route
        assert route is not None
        self.transfer = transfer
        self._lines.clear()
        self._chunks.clear()
        self._body_size = 0
        self._is_sent = self._is_withheld = False
        self._refused = None
        setopt = self.curl.setopt
        if route is not self._route:
            self._route = route
            setopt(pycurl.URL, route.url)
            setopt(pycurl.CONNECT_TO, route.connect_to)
            setopt(pycurl.RESOLVE, route.resolve)
        self._set_method(request)
        setopt(pycurl.HTTPHEADER, _lines(request))
        # The deadline is one for all phases.
        setopt(pycurl.TIMEOUT_MS, max(int((transfer.deadline - time.monotonic()) * 1000), 1))

    def _set_method(self, request: Request) -> None:
        setopt = self.curl.setopt
        method = request.method
        if method != self._method:
            if method not in _METHODS:
                raise ValueError(f"method {method!r} is not sent by us")
            setopt(pycurl.HTTPGET, 1)
            self._method = method
            if method == "POST":
                self.curl.unsetopt(pycurl.CUSTOMREQUEST)
            else:
                setopt(pycurl.CUSTOMREQUEST, method)
        if method == "POST" or request.body:
            setopt(pycurl.POSTFIELDS, request.body)
        else:
            setopt(pycurl.HTTPGET, 1)

    # -- called by libcurl ---------------------------------------------------------------------------------------------

    def _open_socket(self, _purpose: int, peer: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        """Open the socket for an address, having judged that very address."""
        family, kind, protocol, address = peer
        assert self._route is not None
        try:
            rule = self._route.way.judge(ip_address(address[0]))
            if rule is None:
                return _Lent(family, kind, protocol)
            self._refused = NoResponse(Reason.BLOCKED, f"{address[0]} is denied: {rule}")
        except (OSError, ValueError) as error:  # Out of descriptors, above all.
            self._refused = NoResponse(Reason.INTERNAL, f"no socket for {address[0]}: {error}")
        return _NO_SOCKET

    def _before_request(self, peer: str, _own: str, _peer_port: int, _own_port: int) -> int:
        """Let the request go out once, only to an address that was vetted, and only while it may."""
        assert self._route is not None
        if self._is_sent or not self._route.leads_to(peer):
            return _ABORT
        may_send = self.transfer.may_send
        if may_send is not None and not may_send():
            self._is_withheld = True
            return _ABORT
        self._is_sent = True
        return _KEEP_GOING

    def _take(self, chunk: bytes) -> int | None:
        self._chunks.append(chunk)
        self._body_size += len(chunk)
        return 0 if self._body_size > BODY_MAX else None

    # -- after ---------------------------------------------------------------------------------------------------------

    def result(self, code: int, message: str) -> Response | NoResponse:
        """Return what came of the transfer, by libcurl's code and words for how it ended."""
        took = phases(self.curl, dns_us=self.transfer.dns_us)
        if len(self.transfer.request.body) > _LARGE:
            self.curl.setopt(pycurl.POSTFIELDS, b"")  # An idle handle keeps nothing alive.
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        is_head_whole = self._body_size > 0 or self._has_whole_head()
        if not code and is_head_whole:
            return response(status, self._lines, self._chunks, took)
        if self._refused is not None:
            return NoResponse(self._refused.reason, self._refused.detail, took)
        if code == pycurl.E_ABORTED_BY_CALLBACK:
            return self._aborted(took)
        if has_status(code, status=status, is_head_whole=is_head_whole, message=message):
            return response(status, self._lines, self._chunks, took)
        return no_response(code, message, took)

    def _has_whole_head(self) -> bool:
        """Say whether an empty line follows the last status line. libcurl takes the connection's end for one."""
        for line in reversed(self._lines):
            if line in _EMPTY_LINES:
                return True
            if line.startswith(b"HTTP/"):
                return False
        return False

    def _aborted(self, took: Phases) -> NoResponse:
        if self._is_withheld:
            return WITHHELD
        # A kept connection ended without an answer, and libcurl would have sent the request again on a new one. The
        # receiver may have taken the first, so whether and when to repeat it is the retry schedule's.
        if self._is_sent:
            return NoResponse(Reason.RESET, "the receiver closed the kept connection without an answer", took)
        return NoResponse(Reason.BLOCKED, "connected to an address that was not vetted", took)


class _Lent(socket.socket):
    """A socket that pycurl duplicates; ours is closed as soon as it has let go of it."""

    def __del__(self) -> None:
        self.close()


def failed(transfer: Transfer, error: Exception) -> NoResponse:
    """Say that a request could not even be begun."""
    return NoResponse(Reason.INTERNAL, f"the request cannot be sent: {error}", Phases(dns_us=transfer.dns_us))


def overdue(transfer: Transfer) -> NoResponse:
    """Say that a request was not even begun in time."""
    waited_us = int((time.monotonic() - transfer.begun_at) * 1e6)
    took = Phases(dns_us=transfer.dns_us, total_us=waited_us)
    return NoResponse(Reason.TIMEOUT, "too many requests were on the wire until the deadline", took)


def _lines(request: Request) -> list[str] | list[bytes]:
    """Return the request's header lines; `ValueError` where one would become two."""
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
    for name, _ in request.headers:
        if name == "content-type":
            break
    else:
        lines.append("content-type:")  # Else libcurl calls it a form.
    lines.append("expect:")  # Never wait for a 100.
    text = "\n".join(lines)
    if text.count("\n") >= len(lines) or "\r" in text or "\0" in text:
        raise ValueError("a header holds a line break")
    return lines if text.isascii() else [line.encode("latin-1") for line in lines]
