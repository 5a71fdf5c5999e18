"""Resolve names with a deadline of our own, as absolute names, and remember the answers for as long as they hold.

Whether the addresses may be connected to is judged elsewhere, all of them, at every attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

import aiodns
import pycares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.core.addressing import IpAddress

DEADLINE_S: Final = 5.0
_TTL_S_MIN, _TTL_S_MAX = 1, 60  # One second even for names of no duration: a lookup per request helps nobody.
_ADDRESSES_MAX = 8
_NAMES_MAX = 10_000


class Unresolved(Exception):
    """A name has no address, or its servers did not say in time."""


class Addresses(NamedTuple):
    """What a name means until `expires_at` (monotonic seconds)."""

    addresses: tuple[IpAddress, ...]
    expires_at: float


class Resolver:
    """Ask the system's name servers, or others, and its hosts file. Belongs to one event loop."""

    def __init__(self, *, nameservers: Sequence[str] = ()) -> None:
        self._channel = aiodns.DNSResolver(
            list(nameservers) or None,
            timeout=1.5,
            tries=3,
            # Absolute names only: no search domain may turn a receiver's name into one of ours.
            flags=pycares.ARES_FLAG_NOSEARCH,
        )
        self._known: OrderedDict[str, Addresses] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Addresses]] = {}

    async def resolve(self, name: str, *, timeout_s: float) -> Addresses:
        """Return a name's addresses; `Unresolved` when it has none, or none is known in time."""
        known = self._known.get(name)
        if known is not None and known.expires_at > time.monotonic():
            return known
        # Whoever asks for the same name meanwhile waits for the same answer.
        asked = self._asked.get(name)
        if asked is None:
            asked = asyncio.get_running_loop().create_task(self._ask(name))
            self._asked[name] = asked
            asked.add_done_callback(lambda task: self._remember(name, task))
        try:
            return await asyncio.wait_for(asyncio.shield(asked), timeout_s)
        except TimeoutError as error:
            raise Unresolved(f"{name}: no answer from the name servers in time") from error

    async def close(self) -> None:
        """Give up what is being asked, and stop."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._channel.close()

    async def _ask(self, name: str) -> Addresses:
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self._channel.getaddrinfo(name, type=1)
        except aiodns.error.DNSError as error:
            raise Unresolved(f"{name}: {error.args[-1]}") from error
        except TimeoutError as error:
            raise Unresolved(f"{name}: no answer from the name servers in {DEADLINE_S:.0f} s") from error
        texts = dict.fromkeys(node.addr[0].decode() for node in found.nodes)
        if not texts:
            raise Unresolved(f"{name}: has no address")
        ttl_s = min(node.ttl for node in found.nodes)
        expires_at = time.monotonic() + min(max(ttl_s, _TTL_S_MIN), _TTL_S_MAX)
        return Addresses(tuple(map(ip_address, texts)), expires_at)

    def _remember(self, name: str, task: asyncio.Task[Addresses]) -> None:
        del self._asked[name]
        if task.cancelled() or task.exception() is not None:
            return
        self._known[name] = task.result()
        self._known.move_to_end(name)
        if len(self._known) > _NAMES_MAX:
            self._known.popitem(last=False)
