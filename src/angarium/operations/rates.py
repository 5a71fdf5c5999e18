"""Hold publishes to a project's rate per tenant. In memory only: a restart forgives."""

from __future__ import annotations

from math import ceil

_BURST_S = 60.0
_DEBT_MAX_S = 60.0
_TENANTS_MAX = 20_000


class Rates:
    """Count what each tenant publishes, by the generic cell rate algorithm (ITU-T I.371).

    A minute's worth may come at once. An array counts each of its events; one that comes while there is any room is
    taken whole, and what it overdraws, up to another minute's worth, is waited for afterwards. Moments are monotonic
    seconds.
    """

    def __init__(self) -> None:
        self._full_at: dict[tuple[str, str], float] = {}

    def wait_s(self, project: str, tenant: str, per_minute: int, *, now: float) -> int:
        """Return after how many seconds a tenant may publish one event more; 0: now."""
        until_room = self._full_at.get((project, tenant), now) - _BURST_S + 60 / per_minute - now
        return ceil(until_room) if until_room > 1e-6 else 0

    def take(self, project: str, tenant: str, per_minute: int, *, count: int, now: float) -> None:
        """Count events that were taken."""
        if len(self._full_at) >= _TENANTS_MAX:
            self._forget(now)
        full_at = max(self._full_at.get((project, tenant), now), now) + count * 60 / per_minute
        self._full_at[project, tenant] = min(full_at, now + _BURST_S + _DEBT_MAX_S)

    def _forget(self, now: float) -> None:
        """Drop whoever has its whole minute again, or everybody when nobody has: bounded memory comes first."""
        self._full_at = {tenant: full_at for tenant, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= _TENANTS_MAX:
            self._full_at.clear()
