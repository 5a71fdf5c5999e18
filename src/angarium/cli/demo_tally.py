"""Hold what arrives in the demo against what was published: nothing missing, in order, byte for byte, verified."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from angarium.cli.demo_cast import Part
from angarium.cli.receiver import Answer, Received
from angarium.core.verifying import Problem, Verified


class Item(msgspec.Struct, frozen=True):
    """One event as the standard dialect sends it; its data stays the bytes that came."""

    type: str
    object: str
    object_id: str
    data: msgspec.Raw


class _Body(msgspec.Struct, frozen=True):
    type: str
    events: tuple[Item, ...] = ()


class Arrival(NamedTuple):
    """One request: what was in it, how often it has come, how many events were folded into it, what it was answered."""

    part: Part
    id: str
    types: tuple[str, ...]
    found: Verified | Problem
    attempt: int
    folded: int
    answer: Answer

    @property
    def is_taken(self) -> bool:
        """Whether the receiver answered 2xx."""
        return 200 <= self.answer.status <= 299


class Count(NamedTuple):
    """A subscription's figures: events that it was owed, requests, events taken, folded, attempts again, and faults."""

    owed: int
    requests: int
    taken: int
    folded: int
    retried: int
    unverified: int
    out_of_order: int
    missing: int


class Tally:
    """Remember what each receiver is owed until it has come."""

    def __init__(self, cast: Iterable[Part]) -> None:
        self._cast = {part.name: part for part in cast}
        self._owed: dict[str, dict[tuple[str, str], list[bytes]]] = {name: defaultdict(list) for name in self._cast}
        self._attempts: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in self._cast}
        self.published = 0

    def expect(self, event: Mapping[str, Any], data: bytes) -> None:
        """Note an event that is about to be published."""
        self.published += 1
        for part in self._cast.values():
            if part.wants(event):
                self._counts[part.name]["owed"] += 1
                self._owed[part.name][event["object"], event["object_id"]].append(data)

    def receive(self, part: Part, received: Received, found: Verified | Problem, answer: Answer) -> Arrival:
        """Note a request and what it was answered."""
        items, count = _items(received.body), self._counts[part.name]
        self._attempts[part.name + received.message_id] += 1
        attempt = self._attempts[part.name + received.message_id]
        folded_before = count["folded"]
        count["requests"] += 1
        count["retried"] += attempt > 1
        count["unverified"] += isinstance(found, Problem)
        arrival = Arrival(part, received.message_id, tuple(item.type for item in items), found, attempt, 0, answer)
        if arrival.is_taken:
            for item in items:
                self._take(part, item)
        return arrival._replace(folded=count["folded"] - folded_before)

    def _take(self, part: Part, item: Item) -> None:
        waiting, count = self._owed[part.name][item.object, item.object_id], self._counts[part.name]
        data = bytes(item.data)
        if data not in waiting:
            return  # It has come before: a repetition, which at-least-once allows.
        # What is folded away came before the last that is the same.
        passed = len(waiting) - 1 - waiting[::-1].index(data) if part.is_folding else waiting.index(data)
        count["taken"] += 1
        count["folded" if part.is_folding else "out_of_order"] += passed
        del waiting[: passed + 1]

    def is_complete(self) -> bool:
        """Whether all has come that can come."""
        return not any(self.count(part).missing for part in self._cast.values() if not part.is_dead)

    def is_right(self) -> bool:
        """Whether all has come, verified and in order."""
        counts = [self.count(part) for part in self._cast.values()]
        return self.is_complete() and not any(count.unverified or count.out_of_order for count in counts)

    def count(self, part: Part) -> Count:
        """Return a subscription's figures."""
        noted = self._counts[part.name]
        missing = sum(len(waiting) for waiting in self._owed[part.name].values())
        return Count(**{name: noted[name] for name in Count._fields} | {"missing": missing})


def _items(body: bytes) -> tuple[Item, ...]:
    try:
        whole = msgspec.json.decode(body, type=_Body)
        return whole.events if whole.type == "batch" else (msgspec.json.decode(body, type=Item),)
    except msgspec.DecodeError:
        return ()
