"""Receive as fast as Python can, in a process of its own: read, count, answer 200, and nothing else.

`wrk` posts to this very program to find what 1.0 is. A POST to `/timed` also notes how old its `"t":"…"` is:
nanoseconds of the monotonic clock, which all processes of a machine share. `GET /` answers with what has come, and
forgets the ages.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SENT_AT = re.compile(rb'"t":"(\d+)"')
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_END = b"\r\n\r\n"


class Counts:
    """What has come since the start, and when the last of it did."""

    def __init__(self) -> None:
        self.requests = 0
        self.last_at_ns = 0
        self.ages_ns: list[int] = []

    def take(self) -> bytes:
        """Return it as JSON."""
        shown = {"requests": self.requests, "last_at_ns": self.last_at_ns, "ages_ns": self.ages_ns}
        self.ages_ns = []
        return json.dumps(shown).encode()


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        while data:
            head = data.find(_END)
            if head < 0:
                break
            found = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(found[1]) if found else 0)
            if end > len(data):
                break
            self._one(data[:end] if end < len(data) else data)
            data = data[end:]
        self._rest = data

    def _one(self, request: bytes) -> None:
        counts = self._counts
        if request.startswith(b"GET "):
            shown = counts.take()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(shown), shown))
            return
        counts.requests += 1
        counts.last_at_ns = time.monotonic_ns()
        self._transport.write(_OK)
        if request.startswith(b"POST /timed"):
            counts.ages_ns += [counts.last_at_ns - int(sent_at) for sent_at in _SENT_AT.findall(request)]


async def _main(port: int) -> None:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
