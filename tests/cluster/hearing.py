"""Receive, and know which process each request came from, by the socket that it came over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.stories.receiving import Received, Receiver
from tests.stories.serving import Server

_ESTABLISHED = "01"


class Hearing(Receiver):
    """A receiver that asks the kernel whose connection it takes, among some servers."""

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        self.servers: Sequence[Server] = []
        self.far: dict[str, Server] = {}
        """Those whose sockets cannot be seen from here, by the addresses that they send from."""
        self._senders: dict[tuple[str, int], Server] = {}
        super().__init__(host=host)

    def sender(self, request: Received) -> Server | None:
        """Return which server sent a request."""
        return self.far.get(request.peer[0]) or self._senders.get(request.peer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[:2]
        self._senders.pop(peer, None)
        inode = _inode(peer[1], self.port)
        for server in self.servers:
            if inode and inode in _sockets(server.pid):
                self._senders[peer] = server
        await super()._connected(reader, writer)


def _inode(local: int, remote: int) -> str | None:
    """Return the socket that leads from a port of this machine to another."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, ours, theirs, state, *_, inode = line.split()[:10]  # as `man 5 proc` has it
        ports = int(ours.rpartition(":")[2], 16), int(theirs.rpartition(":")[2], 16)
        if ports == (local, remote) and state == _ESTABLISHED:
            return f"socket:[{inode}]"
    return None


def _sockets(pid: int) -> set[str]:
    """Return what a process has open."""
    found: set[str] = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found
