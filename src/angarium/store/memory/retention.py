"""Drop what is old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.model.delivery import Key, Origin
from angarium.model.event import Kind
from angarium.store.memory.held import Held, Written, place_of

if TYPE_CHECKING:
    from angarium.model.event import Entry


class Retention(Held):
    """Retention's part of the store."""

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows: keys, then entries, then deliveries, then attempts."""
        room = limit
        room -= self._drop_kept(now_ms, room)
        room -= self._drop_once(now_ms, room)
        floors = dict(self._floors)
        room -= self._drop_entries(before_ms, room)
        room -= self._drop_settled(before_ms, room)
        room -= self._drop_attempts(before_ms, room)
        self._drop_versions({partition for partition, floor in self._floors.items() if floor > floors[partition]})
        return limit - room

    def _drop_kept(self, now_ms: int, room: int) -> int:
        expired = sorted((kept.expires_ms, key) for key, kept in self._kept.items() if kept.expires_ms <= now_ms)
        for _, key in expired[:room]:
            del self._kept[key]
        return len(expired[:room])

    def _drop_once(self, now_ms: int, room: int) -> int:
        expired = sorted((until_ms, name) for name, until_ms in self._once.items() if until_ms <= now_ms)
        for _, name in expired[:room]:
            del self._once[name]
        return len(expired[:room])

    def _drop_entries(self, before_ms: int, room: int) -> int:
        dropped: list[Written] = []
        needed = {partition: self._needed_from(partition) for partition in self._logs}
        for written in sorted(
            (each for log in self._logs.values() for each in log.values()), key=lambda each: each.number
        ):
            entry = written.entry
            if len(dropped) == room:
                break
            if entry.accepted_ms >= before_ms:
                needed[entry.partition] = min(needed[entry.partition], entry.offset)
            if entry.offset < needed[entry.partition]:
                dropped.append(written)
        self._fold(to=max((written.number for written in dropped), default=0))
        for written in dropped:
            self._drop_entry(written.entry)
        return len(dropped)

    def _drop_entry(self, entry: Entry) -> None:
        """Drop an entry, and with its last event an object that was deleted."""
        del self._logs[entry.partition][entry.offset]
        self._floors[entry.partition] = entry.offset
        if entry.event and entry.kind == Kind.EVENT:
            name = (entry.event.project, entry.event.tenant, entry.event.object, entry.event.object_id)
            state = self._objects.get(name)
            if state and state.is_deleted and state.offset == entry.offset:
                del self._objects[name]

    def _needed_from(self, partition: int) -> int:
        """Return the lowest offset of a partition that somebody still needs."""
        cursors = [lane.cursor + 1 for lane in self._lanes.values() if lane.partition == partition]
        opens = [
            min((key.last_offset, *open_.members))
            for key, open_ in self._opens.items()
            if key.partition == partition and open_.origin != Origin.TEST
        ]
        return min([self._watermarks.get(partition, 0) + 1, *cursors, *opens])

    def _drop_settled(self, before_ms: int, room: int) -> int:
        past = sorted(
            (key for key, each in self._settled.items() if each.origin != Origin.TEST and self._is_past(key)),
            key=place_of,
        )
        tests = sorted(
            (key for key, each in self._settled.items() if each.origin == Origin.TEST and key.last_ms < before_ms),
            key=lambda key: (key.last_ms, place_of(key)),
        )
        for key in (dropped := [*past, *tests][:room]):
            del self._settled[key]
        return len(dropped)

    def _is_past(self, key: Key) -> bool:
        return key.last_offset <= self._floors[key.partition]

    def _drop_attempts(self, before_ms: int, room: int) -> int:
        held = (attempt for numbers in self._attempts.values() for attempt in numbers.values())
        old = sorted(
            (each for each in held if each.at_ms < before_ms),
            key=lambda each: (each.at_ms, place_of(each.key), each.number),
        )
        for attempt in old[:room]:
            del self._attempts[attempt.key][attempt.number]
        return len(old[:room])

    def _drop_versions(self, moved: set[int]) -> None:
        held = {number: versions for number, versions in self._versions.items() if self._partition(number) in moved}
        for number, versions in held.items():
            floor = self._floors[self._partition(number)]
            in_force = max((version.from_offset for version in versions if version.from_offset <= floor + 1), default=0)
            self._versions[number] = [version for version in versions if version.from_offset >= in_force]

    def _partition(self, subscription: int) -> int:
        return self._subscriptions[subscription].partition
