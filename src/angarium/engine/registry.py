"""Keep in memory what the subscriptions of recently seen tenants want, by version."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.model.event import Entry, Event
    from angarium.model.subscription import Owed, Subscription


class TenantSubscriptions:
    """All living subscriptions of one tenant, with their versions."""

    subscriptions: Mapping[int, Subscription]

    def matched(self, events: Sequence[Event]) -> int:
        """Count the pairs of these new events and subscriptions that will be sent."""
        raise NotImplementedError

    def owed(self, number: int, entry: Entry) -> Owed:
        """Say what a subscription is owed of an entry, by the version in force at its offset."""
        raise NotImplementedError
