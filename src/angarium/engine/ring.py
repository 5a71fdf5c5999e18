"""Hold account of what live lanes owe, per partition, and so of the watermarks and of the room that is left.

An event is counted once, with the number of lanes that still owe it; the lowest offset with a count bounds what a new
owner must read again. The latest entries are remembered for a while, so that a lane that catches up can join without
reading once more.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from angarium.core.sealing import size_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from angarium.model.event import Entry

RECENT_EVENTS = 4096
RECENT_BYTES = 4 * 1024 * 1024
_EASE = 4


class Ring:
    """What all live lanes together hold."""

    def __init__(self, *, events_max: int, bytes_max: int) -> None:
        self._events_max, self._bytes_max = events_max, bytes_max
        self._owing: defaultdict[int, dict[int, list[int]]] = defaultdict(dict)
        self._order: defaultdict[int, deque[int]] = defaultdict(deque)
        self._recent: defaultdict[int, deque[Entry]] = defaultdict(deque)
        self._latest: deque[tuple[int, int]] = deque()
        self._recent_bytes = 0
        self.moved: set[int] = set()
        self.events = 0
        self.bytes = 0

    @property
    def has_room(self) -> bool:
        """Say whether the tail may read on."""
        return self.events < self._events_max and self.bytes < self._bytes_max

    @property
    def has_ease(self) -> bool:
        """Say whether publishes may come as fast as they can: what they bring finds room without being read back."""
        return self.events < self._events_max // _EASE and self.bytes < self._bytes_max // _EASE

    def owe(self, partition: int, offset: int, lanes: int, size: int) -> None:
        """Take note that the latest event is owed by so many live lanes (more)."""
        held = self._owing[partition].get(offset)
        if held is not None:
            held[0] += lanes
            return
        self._owing[partition][offset] = [lanes, size]
        self._order[partition].append(offset)
        self.events += 1
        self.bytes += size

    def release(self, partition: int, offset: int) -> bool:
        """Take note that one lane owes an event no more; return whether none does."""
        owing = self._owing[partition]
        held = owing.get(offset)
        if held is None:
            return False
        held[0] -= 1
        if held[0] > 0:
            return False
        del owing[offset]
        self.moved.add(partition)
        self.events -= 1
        self.bytes -= held[1]
        order = self._order[partition]
        while order and order[0] not in owing:
            order.popleft()
        return True

    def join(self, partition: int, offsets: Iterable[int]) -> None:
        """Take note of what a lane that has caught up still owes; these offsets may lie anywhere."""
        owing = self._owing[partition]
        new = [offset for offset in offsets if offset not in owing]
        for offset in offsets:
            if offset in owing:
                owing[offset][0] += 1
        for offset in new:
            owing[offset] = [1, 0]
        self.events += len(new)
        self.moved.add(partition)
        self._order[partition] = deque(sorted({*self._order[partition], *new}))

    def watermark(self, partition: int, position: int) -> int:
        """Return the offset up to which no live lane owes anything; the tail has handed over all up to `position`."""
        order = self._order[partition]
        return min(order[0] - 1, position) if order else position

    def drop(self, partitions: Collection[int]) -> None:
        """Forget all that is owed in these partitions, and what was read of them."""
        for partition in partitions:
            owing = self._owing.pop(partition, {})
            self.events -= len(owing)
            self.bytes -= sum(size for _, size in owing.values())
            self._order.pop(partition, None)
            self._recent.pop(partition, None)
        self.moved.difference_update(partitions)
        self._latest = deque([(partition, size) for partition, size in self._latest if partition not in partitions])
        self._recent_bytes = sum(size for _, size in self._latest)

    # -- what was read last -----------------------------------------------------------------------------------------

    def remember(self, entry: Entry) -> None:
        """Keep an entry that the tail has come to, for those who catch up."""
        self.moved.add(entry.partition)
        size = size_of(entry)
        self._recent[entry.partition].append(entry)
        self._latest.append((entry.partition, size))
        self._recent_bytes += size
        while len(self._latest) > RECENT_EVENTS or self._recent_bytes > RECENT_BYTES:
            partition, gone = self._latest.popleft()
            self._recent[partition].popleft()
            self._recent_bytes -= gone

    def since(self, partition: int, after: int, position: int) -> Sequence[Entry] | None:
        """Return all entries after an offset up to the tail's position; None when they are not all remembered."""
        if after >= position:
            return ()
        recent = self._recent[partition]
        if not recent or recent[0].offset > after + 1 or recent[-1].offset < position:
            return None
        return [entry for entry in recent if entry.offset > after]
