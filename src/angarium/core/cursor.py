"""Keep account of which owed offsets of a lane are resolved: settled, or written as an open row.

```
      resolved     cursor                 read_to            ahead (handled before the lane fell behind)
  ────────────────────┤·····x··x·····x······┤──────────────────x──────x─────▶
                        tracked: x resolved, · not
```

All up to the cursor is resolved; what is resolved above it is listed, and a new owner skips exactly that. A live lane
is handed what the tail reads, so that its `read_to` is the tail's position and is not kept here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Progress:
    """One lane's account of its owed offsets."""

    __slots__ = ("ahead", "read_to", "tracked", "unresolved")

    def __init__(self, cursor: int = 0, above: Iterable[int] = ()) -> None:
        self.read_to = cursor
        self.tracked: deque[int] = deque()
        self.unresolved: set[int] = set()
        self.ahead: set[int] = set(above)

    def take_up(self, offset: int) -> None:
        """Begin to account for an owed offset above all others."""
        self.tracked.append(offset)
        self.unresolved.add(offset)

    def pass_over(self, offset: int) -> None:
        """Take note of an owed offset above all others that an earlier owner has resolved."""
        if self.tracked:  # Else the cursor will pass it with everything else.
            self.tracked.append(offset)

    def resolve(self, offset: int) -> bool:
        """Take note that an offset is resolved; False when it was before."""
        if offset not in self.unresolved:
            return False
        self.unresolved.discard(offset)
        tracked = self.tracked
        while tracked and tracked[0] not in self.unresolved:
            tracked.popleft()
        return True

    @property
    def cursor(self) -> int:
        """Return the offset up to which everything is resolved, of a lane that is behind."""
        return self.tracked[0] - 1 if self.tracked else self.read_to

    @property
    def above(self) -> tuple[int, ...]:
        """Return what is resolved above the cursor, ascending."""
        resolved = [offset for offset in self.tracked if offset not in self.unresolved]
        return (*resolved, *sorted(offset for offset in self.ahead if offset not in self.unresolved))

    def drop(self, offsets: Iterable[int], position: int) -> None:
        """Forget that these offsets were read; they will be again. All up to `position` had been handed over."""
        dropped = set(offsets)
        self.unresolved = self.unresolved - dropped  # A new set: the old one keeps the room of all that it held.
        self.read_to = min(dropped) - 1 if dropped else position
        kept = [offset for offset in self.tracked if offset not in dropped]
        self.tracked = deque(offset for offset in kept if offset <= self.read_to)
        self.ahead.update(offset for offset in kept if offset > self.read_to)
        self._trim()

    def read(self, owed: Iterable[int], scanned_to: int) -> list[int]:
        """Take up what was read on from `read_to`; return the offsets that had not been handled before."""
        new: list[int] = []
        for offset in owed:
            self.tracked.append(offset)
            if offset in self.ahead:
                self.ahead.discard(offset)
            else:
                self.unresolved.add(offset)
                new.append(offset)
        self.read_to = scanned_to
        self.ahead = {offset for offset in self.ahead if offset > scanned_to} if self.ahead else self.ahead
        self._trim()
        return new

    def _trim(self) -> None:
        while self.tracked and self.tracked[0] not in self.unresolved:
            self.tracked.popleft()
