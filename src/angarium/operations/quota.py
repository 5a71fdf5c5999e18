"""Hold each of many to so many in a span of time. In memory only: a restart forgives."""

from __future__ import annotations

from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from angarium.errors import RateExceeded

_HELD_MAX: Final = 20_000


class Quota:
    """Count what each has taken within the last so many seconds, exactly. Moments are monotonic seconds.

    `what` is what is taken, in words, for whoever is refused.
    """

    def __init__(self, at_most: int, *, within_s: float, what: str) -> None:
        self._at_most = at_most
        self._what = what
        self._within_s = within_s
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, who: str, *, now: float) -> None:
        """Count one; `RateExceeded` when as many were taken as may be."""
        taken = self._taken.setdefault(who, deque())
        self._taken.move_to_end(who)
        while taken and taken[0] <= now - self._within_s:
            taken.popleft()
        if len(taken) >= self._at_most:
            minutes = f"{self._within_s / 60:g} minutes"
            raise RateExceeded(
                f"{self._at_most:,} {self._what} within {minutes} are as many as one may take; wait",
                retry_after_s=max(1, ceil(taken[0] + self._within_s - now)),
            )
        taken.append(now)
        if len(self._taken) > _HELD_MAX:
            self._taken.popitem(last=False)

    def give_back(self, who: str) -> None:
        """Take one off again that came to nothing."""
        if taken := self._taken.get(who):
            taken.pop()


def network_of(address: str) -> str:
    """Return whom an address stands for: itself, or its /64 of IPv6, all of which one machine has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(IPv6Address(int(parsed) >> 64 << 64))
