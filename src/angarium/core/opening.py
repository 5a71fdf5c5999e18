"""Hold a lane's open deliveries: sealed, on the wire, to be tried again, or waiting behind the same object.

What touches an object stands in that object's chain. The first of a chain may go; each other waits until the one
before it is settled. A delivery of several objects is the first of all its chains, for it was sealed when none was
busy.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angarium.core.coalescing import Object
    from angarium.core.effects import Delivery
    from angarium.model.delivery import Key


class Opened:
    """The open deliveries of one lane; moments are monotonic seconds."""

    __slots__ = ("_chains", "_due", "deliveries", "rows")

    def __init__(self) -> None:
        self.deliveries: dict[Key, Delivery] = {}
        self.rows = 0
        # Chains are short, and an empty deque takes ten times the memory of a list.
        self._chains: dict[Object, list[Delivery]] = {}
        self._due: list[tuple[float, int, Key]] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.deliveries)

    def add(self, delivery: Delivery) -> bool:
        """Add a delivery behind all others of its objects; return whether it is the first of them."""
        self.deliveries[delivery.key] = delivery
        self.rows += delivery.has_row
        is_first = True
        for each in delivery.objects:
            chain = self._chains.get(each)
            if chain is None:
                self._chains[each] = [delivery]
            else:
                chain.append(delivery)
                is_first = False
        return is_first

    def remove(self, delivery: Delivery, mono: float) -> list[Object]:
        """Take out a settled delivery; what waits behind it is due now. Return the objects that are free."""
        del self.deliveries[delivery.key]
        self.rows -= delivery.has_row
        free: list[Object] = []
        for each in delivery.objects:
            chain = self._chains[each]
            was_first = chain[0] is delivery
            chain.remove(delivery)
            if not chain:
                del self._chains[each]
                free.append(each)
            elif was_first:
                self.schedule(chain[0], mono)
        return free

    def replace(self, old: Delivery, new: Delivery) -> None:
        """Put one delivery in another's place, ahead of all others of its objects; it holds all that the other did."""
        del self.deliveries[old.key]
        self.rows += new.has_row - old.has_row
        self.deliveries[new.key] = new
        for each in new.objects:
            self._chains[each] = [new, *(other for other in self._chains.get(each, ()) if other is not old)]

    def gives_row(self, delivery: Delivery) -> None:
        """Take note that a delivery has a row from now on."""
        self.rows += not delivery.has_row
        delivery.has_row = True

    def head(self, busy: Object) -> Delivery | None:
        """Return the delivery that holds an object; None when it is free."""
        chain = self._chains.get(busy)
        return chain[0] if chain else None

    def is_free_for(self, delivery: Delivery, busy: Object) -> bool:
        """Say whether nobody but this delivery holds an object, or waits for it."""
        return all(each is delivery for each in self._chains.get(busy, ()))

    def has_chains(self) -> bool:
        """Say whether any object is held."""
        return bool(self._chains)

    def schedule(self, delivery: Delivery, at: float) -> None:
        """Let a delivery be due at a moment."""
        delivery.next_at = at
        heappush(self._due, (at, delivery.key.last_offset, delivery.key))

    def next_due(self, mono: float) -> Delivery | None:
        """Take the first delivery that is due."""
        while self._due and self._due[0][0] <= mono:
            _, _, key = heappop(self._due)
            delivery = self.deliveries.get(key)
            if delivery is not None and not delivery.is_on_wire and delivery.next_at <= mono:
                return delivery
        return None

    def due_at(self) -> float | None:
        """Return when the next one is due."""
        return self._due[0][0] if self._due else None
