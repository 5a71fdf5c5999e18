"""Know what was settled above a watermark, so that it is not sent again after a restart."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from angarium.model.delivery import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from angarium.model.delivery import Open, Settled


class Skips:
    """What of one partition's log was settled, or had an open row, when this process began; `until` was its head."""

    def __init__(self, until: int) -> None:
        self.until = until
        self._offsets: set[tuple[int, int]] = set()
        self._ranges: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def add_settled(self, settled: Iterable[Settled]) -> None:
        """Add what has ended; tests are not in the log."""
        for each in settled:
            number, last = each.key.subscription, each.key.last_offset
            if each.origin is Origin.TEST:
                continue
            if each.count:
                self._ranges[number].append((each.first_offset, last))
            self._offsets.add((number, last))
            self._offsets.update((number, member) for member in each.members)

    def add_open(self, row: Open) -> None:
        """Add what has a row of its own."""
        number = row.key.subscription
        self._offsets.add((number, row.key.last_offset))
        self._offsets.update((number, member) for member in row.members)

    def of(self, number: int) -> Iterator[int]:
        """Return the offsets that need not be sent to a subscription."""
        for owner, offset in self._offsets:
            if owner == number:
                yield offset
        for first, last in self._ranges.get(number, ()):
            yield from range(first, last + 1)

    def holds(self, number: int, offset: int) -> bool:
        """Say whether a subscription needs not be sent the entry at an offset."""
        if (number, offset) in self._offsets:
            return True
        return any(first <= offset <= last for first, last in self._ranges.get(number, ()))
