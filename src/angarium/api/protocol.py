"""Answer publishes straight from the commit, on a small subclass of uvicorn's HTTP protocol.

A task, a scope and two ASGI messages per request cost more than the publish itself. So `POST /v1/projects/{p}/events`
is taken here as soon as its headers are read, its body is collected, and the answer is written by the store's callback.
Whatever is not plain falls through to the ASGI application, where `publishing.PublishRoute` answers the same bytes:
other methods and paths, HTTP/1.0, chunked bodies, `Expect`, large bodies of callers who are not known to be publishers.

To uvicorn a hot request is one more cycle: it stands in `cycle` while its body is read and in `pipeline` while it waits
behind others of its connection, so answers leave in the order of the requests, whichever way they were made.

A connection has no timer of its own. `Front.sweep`, called every second or so, ends those that take too long to say
what they want, that say nothing, or that do not read what they asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from angarium.api.problems import as_reply
from angarium.api.publishing import BODY_MAX, asked_of, note, reply_to, told
from angarium.operations.publish import Published

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Mapping

    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from angarium.api.front import Front
    from angarium.operations.publish import Answer

HEAD_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 128
HEAD_TAKES_MAX_S: Final = 10.0
BODY_TAKES_MAX_S: Final = 120.0
IDLE_MAX_S: Final = 75.0
UNREAD_MAX_S: Final = 60.0
LINGERS_MAX_S: Final = 2.0
_SMALL: Final = 8 * 1024  # As many of these as there may be connections fit into what all bodies may take.
_POST: Final = b"POST"
_ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\n"

_PATH = re.compile(rb"/v1/projects/([A-Za-z0-9._~-]+)/events")
_NEVER_HOT = frozenset({b"expect", b"upgrade", b"transfer-encoding"})


class _Signal:
    """Stand where uvicorn's cycles have an event that a task waits on."""

    def set(self) -> None:
        """Wake nobody."""


class PublishCycle:
    """One publish on its way through a connection. What uvicorn asks of a cycle is called as uvicorn calls it.

    With `ready`, the whole answer, nothing is published: that is how a refusal waits for its turn.
    """

    __slots__ = (
        "disconnected",
        "headers",
        "held",
        "is_next",
        "is_whole",
        "keep_alive",
        "parts",
        "project",
        "protocol",
        "ready",
        "request_id",
        "response_complete",
    )
    message_event = _Signal()

    def __init__(
        self, protocol: PublishProtocol, project: str, headers: Mapping[bytes, bytes], *, keep_alive: bool
    ) -> None:
        self.protocol = protocol
        self.project = project
        self.headers = headers
        self.request_id = protocol.front.request_id(headers.get(b"x-request-id"))
        self.keep_alive = keep_alive
        self.ready = b""
        self.parts: list[bytes] = []
        self.held = 0
        self.is_next = False
        self.is_whole = False
        self.response_complete = False
        self.disconnected = False

    def begin(self) -> None:
        """Publish; the answer comes to `answered`."""
        if self.disconnected:
            return
        if self.ready:
            self._write(self.ready)
            return
        parts = self.parts
        asked = asked_of(self.project, self.headers, parts[0] if len(parts) == 1 else b"".join(parts))
        self.protocol.front.publish(asked, self.answered)

    def answered(self, answer: Answer) -> None:
        """Write the answer, if somebody is there to read it."""
        self.release()
        if isinstance(answer, Exception):
            note(answer, project=self.project, request_id=self.request_id.decode("ascii"))
        if not self.disconnected:
            self._write(self._written(answer))

    def release(self) -> None:
        """Take note that its body is not held any more."""
        if self.held:
            self.protocol.front.bodies.release(self.held)
            self.held = 0

    def _written(self, answer: Answer) -> bytes:
        before, after = self.protocol.lines_around(self)
        if isinstance(answer, Published) and not answer.is_replay:  # The same as below, without its detours.
            body = told(answer)
            length = len(body)
            return b"%b%bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b" % (
                _ACCEPTED,
                before,
                length,
                after,
                body,
            )
        return reply_to(answer).written(before, after)

    def _write(self, whole: bytes) -> None:
        self.response_complete = True
        protocol = self.protocol
        protocol.transport.write(whole)
        if not self.keep_alive:
            protocol.end()
        protocol.on_response_complete()


class PublishProtocol(HttpToolsProtocol):
    """One connection. `front` is set by `protocol_of`."""

    front: Front
    cycle: RequestResponseCycle | PublishCycle | None  # type: ignore[assignment]  # uvicorn knows its own only
    pipeline: deque[tuple[RequestResponseCycle | PublishCycle, ASGI3Application]]  # type: ignore[assignment]  # the same

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._now = self.loop.time
        self._silent_since = self._now()
        self._reading_since: float | None = None
        self._unread_since: float | None = None
        self._ends_since: float | None = None
        self._head_bytes = 0
        self._is_in_head = True
        self._is_deaf = False

    # -- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take a connection, unless there are as many as there may be."""
        connections = self.front.connections
        super().connection_made(transport)
        connections.add(self)
        if len(connections) > self.front.connections_max:
            self._refuse(503, "the server has as many connections as it may hold")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what the connection held; a publish that the store has is accepted all the same."""
        self.front.connections.discard(self)
        for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(cycle, PublishCycle):
                cycle.disconnected = True
                cycle.release()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn never keeps a half-closed connection
        """Answer the publish that was asked for before the other side closed its half, and close then.

        A reader of a stream who goes away looks the same, so only publishes wait.
        """
        cycle = self.cycle
        if not isinstance(cycle, PublishCycle) or cycle.response_complete or not cycle.is_whole:
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Read on, within the limits of a head."""
        if self._is_deaf:
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            return  # Nothing is spoken here but HTTP/1.1: what was asked is answered as if no upgrade were offered.
        except HttpParserError as error:
            self._refuse(400, f"this is no HTTP/1.1 that the server understands: {error}")
        if self._is_in_head and self._head_bytes > HEAD_MAX:
            self._refuse(431, f"the request's head is over {HEAD_MAX // 1024} KiB")

    def pause_writing(self) -> None:
        """Read no further requests of somebody who does not read the answers."""
        super().pause_writing()
        self._unread_since = self._now()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        super().resume_writing()
        self._unread_since = None
        if not self.pipeline:
            self.flow.resume_reading()

    def end(self) -> None:
        """Close after what has been written. Whoever is still sending would lose the answer by that, so it lingers."""
        self.pipeline.clear()
        if self._reading_since is None:
            self.transport.close()
        else:
            self._is_deaf = True
            self._ends_since = self._now()
            self.transport.write_eof()

    def end_if_overdue(self, now: float) -> None:
        """End the connection if it has held its place for too long without a reason of ours."""
        if _is_past(self._unread_since, UNREAD_MAX_S, now) or _is_past(self._ends_since, LINGERS_MAX_S, now):
            self.transport.abort()
        elif self._reading_since is not None and not self._is_deaf:
            if not self._is_in_head and now - self._reading_since > BODY_TAKES_MAX_S:
                self.transport.abort()
            elif self._is_in_head and now - self._reading_since > HEAD_TAKES_MAX_S:
                self._refuse(408, "the request's head took too long to arrive")
        elif not self._is_answering() and now - self._silent_since > (IDLE_MAX_S if self.cycle else HEAD_TAKES_MAX_S):
            self.transport.close()

    # -- the parser ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request. The scope, which ASGI alone needs, is made when it turns out to be needed."""
        self.url = b""
        self.headers = []
        self._reading_since = self._now()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide which way the request goes."""
        self._is_in_head = False
        if self._is_deaf or self.transport.is_closing():
            self._is_deaf = True
        elif len(self.headers) > HEADERS_MAX or (self._head_bytes > HEAD_MAX and _size(self.headers) > HEAD_MAX):
            self._refuse(431, f"the request's head has over {HEADERS_MAX} fields or {HEAD_MAX // 1024} KiB")
        elif (cycle := self._publish_cycle()) is not None:
            self._line_up(cycle)
        else:
            self._leave_to_asgi()

    def on_body(self, body: bytes) -> None:
        """Collect a publish's body, or hand it on."""
        cycle = self.cycle
        if isinstance(cycle, PublishCycle):
            if not self._is_deaf:
                cycle.parts.append(body)
        elif not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Publish what is whole, if it is its turn."""
        self._reading_since = None
        self._is_in_head = True
        self._head_bytes = 0
        cycle = self.cycle
        if self._is_deaf:
            return
        if not isinstance(cycle, PublishCycle):
            super().on_message_complete()
            return
        cycle.is_whole = True
        if cycle.is_next:
            cycle.begin()

    def on_response_complete(self) -> None:
        """Go on with what the connection asks next."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._silent_since = self._now()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self.flow.write_paused:
            self.flow.resume_reading()

    # -- the ways -----------------------------------------------------------------------------------------------------

    def _publish_cycle(self) -> PublishCycle | None:
        """Return a cycle if this is a plain publish, within all limits."""
        found = _PATH.fullmatch(self.url)
        if found is None or self.parser.get_method() != _POST or self.parser.get_http_version() != "1.1":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not 0 < len(length) <= 7 or not _NEVER_HOT.isdisjoint(headers):
            return None
        count = int(length)
        project = found[1].decode("ascii")
        if count > _SMALL and (count > BODY_MAX or not self.front.may_publish(asked_of(project, headers, b""))):
            return None
        if not self.front.bodies.hold(count):
            return None
        cycle = PublishCycle(self, project, headers, keep_alive=self.parser.should_keep_alive())
        cycle.held = count
        return cycle

    def _line_up(self, cycle: PublishCycle) -> None:
        """Make this the connection's last cycle, behind those that are not answered yet."""
        cycle.is_next = not self._is_answering()
        self.cycle = cycle
        if not cycle.is_next:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _leave_to_asgi(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = dict(headers).get(b"expect", b"").lower() == b"100-continue"
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle | PublishCycle, app: ASGI3Application) -> None:
        """Begin with a cycle whose turn it is."""
        if not isinstance(cycle, PublishCycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.is_next = True
        if cycle.is_whole:
            self.loop.call_soon(cycle.begin)  # Not at once: a thousand in a row would nest a thousand deep.
        else:
            self.flow.resume_reading()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, in its turn, what cannot be routed, hear nothing more, and end the connection."""
        cycle = PublishCycle(self, "", {}, keep_alive=False)
        cycle.ready = as_reply(status, detail).written(*self.lines_around(cycle))
        cycle.is_whole = self._is_deaf = True
        self._reading_since = self._reading_since or self._now()
        self._line_up(cycle)
        if cycle.is_next:
            cycle.begin()

    def lines_around(self, cycle: PublishCycle) -> tuple[bytes, bytes]:
        """Return the header lines that come before and after an answer's own."""
        closes = b"" if cycle.keep_alive else b"connection: close\r\n"
        before = self.front.lines(self.server_state.default_headers)
        return before, b"x-request-id: %b\r\n%b" % (cycle.request_id, closes)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


def protocol_of(front: Front) -> type[PublishProtocol]:
    """Return the protocol of one server's connections."""
    return type("BoundProtocol", (PublishProtocol,), {"front": front})


def _is_past(since: float | None, at_most: float, now: float) -> bool:
    return since is not None and now - since > at_most


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
