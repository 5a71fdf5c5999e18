"""Hold a lane's events that are not sealed: those that may go next, and those that wait for their object."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from angarium.core.sealing import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from angarium.core.coalescing import Object
    from angarium.model.event import Entry


class Queue:
    """One lane's events in the order of the log; `since` is the monotonic second since when the first waits here.

    `bytes` is kept where it `weighs`, as batches need it.
    """

    __slots__ = ("_blocked", "bytes", "entries", "since", "weighs")

    def __init__(self, *, weighs: bool = True) -> None:
        self.weighs = weighs
        self.entries: deque[Entry] = deque()
        self.bytes = 0
        self.since = 0.0
        self._blocked: dict[Object, list[Entry]] = {}

    def __len__(self) -> int:
        """Return how many may go next."""
        return len(self.entries)

    @property
    def held(self) -> int:
        """Return how many are here, those that wait for their object included."""
        return len(self.entries) + sum(map(len, self._blocked.values()))

    def push(self, entry: Entry, mono: float) -> None:
        """Add an event that came last."""
        if not self.entries:
            self.since = mono
        self.entries.append(entry)
        if self.weighs:
            self.bytes += size_of(entry)

    def pop(self) -> Entry:
        """Take the first."""
        entry = self.entries.popleft()
        if self.weighs:
            self.bytes -= size_of(entry)
        return entry

    def weigh(self, *, weighs: bool) -> None:
        """Keep `bytes` from now on, or do so no more."""
        self.weighs = weighs
        self.bytes = sum(map(size_of, self.entries)) if weighs else 0

    def set_aside(self, block: Callable[[Entry], bool]) -> None:
        """Offer each event to `block`, in order, and keep those that it does not take."""
        entries, self.entries, self.bytes = self.entries, deque(), 0
        for entry in entries:
            if not block(entry):
                self.entries.append(entry)
                self.bytes += size_of(entry)

    def block(self, entry: Entry, busy: Object) -> None:
        """Let an event wait for its object."""
        self._blocked.setdefault(busy, []).append(entry)

    @property
    def is_blocking(self) -> bool:
        """Say whether any event waits here for its object."""
        return bool(self._blocked)

    def is_blocked(self, busy: Object) -> bool:
        """Say whether events wait here for an object."""
        return busy in self._blocked

    def unblock(self, busy: Object) -> list[Entry]:
        """Take out what waits for an object, in order."""
        return self._blocked.pop(busy, [])

    def put_first(self, freed: Iterable[Entry]) -> None:
        """Put events, which are older than any other of their objects here, before all others."""
        for entry in sorted(freed, key=lambda entry: entry.offset, reverse=True):
            self.entries.appendleft(entry)
            if self.weighs:
                self.bytes += size_of(entry)

    def clear(self) -> list[int]:
        """Drop everything; return the offsets."""
        blocked = [entry for entries in self._blocked.values() for entry in entries]
        dropped = [entry.offset for entry in (*self.entries, *blocked)]
        self.entries.clear()
        self._blocked.clear()
        self.bytes = 0
        return dropped
