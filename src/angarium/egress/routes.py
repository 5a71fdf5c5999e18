"""Say which way a request goes: the target, the vetted addresses, and the name under which connections are kept.

libcurl keeps idle connections by the name that it connects to. Each route has a name of its own there, made of its
owner and all that was vetted: a connection is only ever used again by the same owner, under the same policy, for the
same addresses. `CURLOPT_CONNECT_TO` leads to that name, `CURLOPT_RESOLVE` from it to the addresses; host header, server
name (SNI) and the certificate's name stay the url's own.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import inf
from typing import TYPE_CHECKING

from angarium.core.addressing import judge

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

    from angarium.core.addressing import IpAddress, Target
    from angarium.settings import Allowance


class Policy:
    """What the operator lets requests reach."""

    __slots__ = ("allowances", "own_addresses", "ports")

    def __init__(
        self, *, allowances: Sequence[Allowance], ports: Collection[int], own_addresses: Container[IpAddress]
    ) -> None:
        self.allowances = allowances
        self.ports = frozenset(ports)
        self.own_addresses = own_addresses


class Way:
    """What a url and its owner ask for, before any name is resolved."""

    __slots__ = ("allow_http", "owner", "policy", "ports", "target")

    def __init__(self, target: Target, *, owner: str, allow_http: bool, ports: frozenset[int], policy: Policy) -> None:
        self.target = target
        self.owner = owner
        self.allow_http = allow_http
        self.ports = policy.ports | ports
        self.policy = policy

    def judge(self, address: IpAddress) -> str | None:
        """Return the rule that forbids to connect to an address; None when none does."""
        return judge(
            self.target,
            address,
            allow_http=self.allow_http,
            ports=self.ports,
            allowances=self.policy.allowances,
            own_addresses=self.policy.own_addresses,
        )


class Route:
    """A way with the addresses to connect to, each of them judged; good until `expires_at` (monotonic seconds)."""

    __slots__ = ("_peers", "connect_to", "expires_at", "resolve", "url", "way")

    def __init__(self, way: Way, addresses: Sequence[IpAddress], *, expires_at: float = inf) -> None:
        target = way.target
        texts = sorted(map(str, addresses))
        kept_by = repr((way.owner, target.origin, texts, way.allow_http, sorted(way.ports)))
        # `.invalid` (RFC 2606): should libcurl ever ask a resolver for it, there is no answer.
        name = f"{blake2b(kept_by.encode(), digest_size=16).hexdigest()}.invalid"
        pinned = ",".join(f"[{address}]" if isinstance(address, IPv6Address) else str(address) for address in addresses)
        self.way = way
        self.url = target.url
        self._peers = frozenset(texts)
        self.connect_to = [f"::{name}:{target.port}"]
        self.resolve = [f"+{name}:{target.port}:{pinned}"]
        self.expires_at = expires_at

    def leads_to(self, peer: str) -> bool:
        """Say whether a connection's other end is one of the vetted addresses."""
        # libcurl writes some addresses differently, those with an IPv4 address inside.
        return peer in self._peers or str(ip_address(peer)) in self._peers
