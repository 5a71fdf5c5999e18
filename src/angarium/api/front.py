"""Hold what all connections of one server share: the publisher, bounds, and the names of requests."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angarium.api.protocol import PublishProtocol
    from angarium.api.publishing import Bodies
    from angarium.api.working import NoPublisher
    from angarium.operations.publish import Publisher

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class RequestIds:
    """Name requests: as their sender did, or by a random word for the process and a number."""

    def __init__(self) -> None:
        self._begin = f"req_{os.urandom(6).hex()}".encode()
        self._numbers = itertools.count(1)

    def of(self, given: bytes | None) -> bytes:
        """Return a request's id."""
        if given and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b%06x" % (self._begin, next(self._numbers))


class Front:
    """What all connections of one server share."""

    def __init__(
        self, publisher: Publisher | NoPublisher, bodies: Bodies, ids: RequestIds, *, connections_max: int
    ) -> None:
        self.publish = publisher.publish
        self.may_publish = publisher.may_publish
        self.bodies = bodies
        self.request_id = ids.of
        self.connections_max = connections_max
        self.connections: set[PublishProtocol] = set()
        self._lines = b""
        self._lines_of: list[tuple[bytes, bytes]] = []

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the header lines that every answer begins with; uvicorn makes a new list of them each second."""
        if headers is not self._lines_of:
            self._lines = b"".join(b"%b: %b\r\n" % field for field in headers)
            self._lines_of = headers
        return self._lines

    def sweep(self, now: float) -> None:
        """End the connections that hold a place for too long; `now` is the loop's time."""
        for connection in list(self.connections):
            connection.end_if_overdue(now)

    def figures(self) -> dict[str, float]:
        """Return gauges, by metric name without prefix."""
        return {"connections": len(self.connections), "request_body_bytes": self.bodies.held}
