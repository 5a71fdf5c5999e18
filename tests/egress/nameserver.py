"""Be a name server on loopback that says what it is told, each name its own list of answers.

An answer is a list of addresses (empty: the name is there, and has none), `NXDOMAIN`, `SERVFAIL`, or `SILENCE`. The
last one repeats.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from ipaddress import IPv4Address, ip_address
from typing import cast

_QUERY = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHHIH")  # where its name is, type, class, seconds, length
_A, _AAAA = 1, 28


class Failure(IntEnum):
    """What a name server may say instead of an address; DNS's own numbers but for the last."""

    SERVFAIL = 2
    NXDOMAIN = 3
    SILENCE = 255


NXDOMAIN, SERVFAIL, SILENCE = Failure.NXDOMAIN, Failure.SERVFAIL, Failure.SILENCE
Told = Sequence[str] | Failure


class NameServer(asyncio.DatagramProtocol):
    """A name server that runs: `address` is what a sender is to ask, `asked` the names that came, one per question."""

    def __init__(self, names: dict[str, list[Told]], *, ttl_s: int) -> None:
        self._names = names
        self._ttl_s = ttl_s
        self._turns: dict[tuple[str, int], int] = {}
        self.asked: list[str] = []
        self.address = ""
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Always one for datagrams, though asyncio's own is no subclass before Python 3.13.
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        number = _QUERY.unpack_from(data)[0]
        name, end = _name(data)
        (kind,) = struct.unpack_from("!H", data, end)
        self.asked.append(name)
        told = self._next(name, kind)
        if told is SILENCE:
            return
        records = [] if isinstance(told, Failure) else [_record(text, kind, self._ttl_s) for text in told]
        records = [record for record in records if record]
        code = told.value if isinstance(told, Failure) else 0
        head = _QUERY.pack(number, 0x8180 | code, 1, len(records), 0, 0)
        self._transport.sendto(head + data[_QUERY.size : end + 4] + b"".join(records), peer)

    def _next(self, name: str, kind: int) -> Told:
        """Return a name's next answer; both families of one lookup get the same."""
        answers = self._names.get(name, [NXDOMAIN])
        turn = self._turns.get((name, kind), 0)
        self._turns[name, kind] = turn + 1
        return answers[min(turn, len(answers) - 1)]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    async def close(self) -> None:
        self._transport.close()
        await self._closed.wait()


@asynccontextmanager
async def name_server(names: dict[str, list[Told]], *, ttl_s: int = 0) -> AsyncIterator[NameServer]:
    """Run a name server on a free port of loopback."""
    loop = asyncio.get_running_loop()
    _, server = await loop.create_datagram_endpoint(lambda: NameServer(names, ttl_s=ttl_s), local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        await server.close()


def _name(data: bytes) -> tuple[str, int]:
    """Return the name that a query asks for, and where its type begins."""
    labels: list[str] = []
    at = _QUERY.size
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1


def _record(text: str, kind: int, ttl_s: int) -> bytes:
    address = ip_address(text)
    if kind != (_A if isinstance(address, IPv4Address) else _AAAA):
        return b""
    return _RECORD.pack(0xC00C, kind, 1, ttl_s, len(address.packed)) + address.packed
