"""Say which subscriptions an event is owed to, by the versions in force. Where they are kept is said elsewhere.

A type is `object.action`. An action holds no dot, an object's name may: the last dot divides, so `billing.invoice.*`
names all actions of `billing.invoice`. What a pattern sees of an event is `EventView`.

Equal rules are one matcher, and what a type alone decides is remembered: without patterns an event costs one look into
a dictionary however many have subscribed; with patterns, one evaluation of each distinct one that `core.narrowing`
does not rule out. What a subscription's dialect has no word for is not owed to it, and is counted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import final
from weakref import WeakValueDictionary

from msgspec import Struct

from angarium.core import jsontext
from angarium.core.moments import format_us
from angarium.core.narrowing import Narrowing
from angarium.core.patterns import Pattern, compile_pattern
from angarium.errors import FieldError
from angarium.model.event import Event
from angarium.model.subscription import Owed, Rule, Version

OBJECT = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
"""How an object's name is spelt; it is at most `OBJECT_MAX` characters long."""
ACTION = r"[A-Za-z0-9_-]+"
"""How an action is spelt; it is at most `ACTION_MAX` characters long."""
OBJECT_MAX = 128
ACTION_MAX = 64

_TYPES_MAX = 1000
_ENDS = "delete"
_SHOWN = 80
_MEMO_NUMBERS_MAX = 2_000_000


def check_types(types: object, *, field: str = "types") -> tuple[str, ...]:
    """Return the types that a subscription asks for; `FieldError` (`types[2]`) names the first that is none."""
    if not isinstance(types, (list, tuple)):
        raise FieldError(field, 'is no array; write it as ["item.*"], or leave it out to get all types')
    if not types:
        raise FieldError(field, "is empty, so nothing would come; leave it out to get all types")
    if len(types) > _TYPES_MAX:
        raise FieldError(field, f"has {len(types)} entries, expected at most {_TYPES_MAX}; use wildcards")
    for place, text in enumerate(types):
        if not isinstance(text, str) or not _is_type(text):
            found = repr(text[:_SHOWN]) if isinstance(text, str) else "no text"
            raise FieldError(
                f"{field}[{place}]",
                f"is {found}, expected *, object.*, *.action or object.action, of letters, digits, _ and -",
            )
    return tuple(types)


def _is_type(text: str) -> bool:
    if text == "*":
        return True
    object_, dot, action = text.rpartition(".")
    return (
        bool(dot)
        and text != "*.*"
        and (object_ == "*" or (len(object_) <= OBJECT_MAX and re.fullmatch(OBJECT, object_) is not None))
        and (action == "*" or (len(action) <= ACTION_MAX and re.fullmatch(ACTION, action) is not None))
    )


def in_force(versions: Sequence[Version], offset: int) -> Version | None:
    """Return which of one subscription's versions, ascending, is in force at an offset; None before the first."""
    place = bisect_right(versions, offset, key=_from_offset)
    return versions[place - 1] if place else None


def _from_offset(version: Version) -> int:
    return version.from_offset


# -- one rule ----------------------------------------------------------------------------------------------------------


class EventView(Mapping[str, object]):
    """An event as patterns see it, its JSON parts read once and only when asked for.

    Members: `tenant`, `object`, `object_id`, `action`, `type`, and where it has them `data`, `url`, `actor`,
    `attributes` and `occurred_at` (RFC 3339 in UTC, as receivers are shown it).
    """

    __slots__ = ("_event", "_seen")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._seen: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._seen:
            self._seen[name] = _READERS[name](self._event)
        value = self._seen[name]
        if value is _ABSENT:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _READERS if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_ABSENT = object()


def _json(text: bytes) -> object:
    try:
        return jsontext.read(text) if text else _ABSENT
    except (ValueError, RecursionError):  # Nothing that was accepted.
        return _ABSENT


_READERS: Mapping[str, Callable[[Event], object]] = {
    "tenant": lambda event: event.tenant,
    "object": lambda event: event.object,
    "object_id": lambda event: event.object_id,
    "action": lambda event: event.action,
    "type": lambda event: event.type,
    "data": lambda event: _json(event.data),
    "url": lambda event: event.url or _ABSENT,
    "actor": lambda event: _json(event.actor),
    "attributes": lambda event: _json(event.attributes),
    "occurred_at": lambda event: format_us(event.occurred_us) if event.occurred_us else _ABSENT,
}


class _Types:
    """Some types, wildcards among them, and which they include."""

    __slots__ = ("_actions", "_all", "_objects", "_pairs")

    def __init__(self, types: tuple[str, ...], *, is_all: bool = False) -> None:
        pairs = [text.rpartition(".")[::2] for text in types if text != "*"]
        self._all = is_all or "*" in types
        self._objects = frozenset(object_ for object_, action in pairs if action == "*")
        self._actions = frozenset(action for object_, action in pairs if object_ == "*")
        self._pairs = frozenset(pairs)

    def hold(self, object_: str, action: str) -> bool:
        return self._all or object_ in self._objects or action in self._actions or (object_, action) in self._pairs


@final
class Matcher:
    """A compiled rule. Make it with `matcher`; equal rules are the same object."""

    __slots__ = ("__weakref__", "_permitted", "_sayable", "_types", "needs_url", "pattern")

    def __init__(self, rule: Rule) -> None:
        self.pattern: Pattern | None = compile_pattern(rule.pattern) if rule.pattern else None
        self.needs_url = rule.needs_url
        self._types = _Types(rule.types, is_all=not rule.types)
        self._sayable = None if rule.sayable is None else _Types(rule.sayable)
        self._permitted = None if rule.permitted is None else _Types(rule.permitted)

    def wants(self, object_: str, action: str) -> bool:
        """Say whether the rule's types include this one and it is permitted, whatever its pattern says."""
        return self._types.hold(object_, action) and self._permits(object_, action)

    def says(self, object_: str, action: str, *, has_url: bool) -> bool:
        """Say whether the dialect can tell of such an event; of what was deleted it can without a url."""
        if self.needs_url and not has_url and action != _ENDS:
            return False
        return self._sayable is None or self._sayable.hold(object_, action)

    def matches(self, event: Event, view: EventView | None = None) -> bool:
        """Say whether an event is wanted and sayable; give its `view` when several matchers look at it."""
        is_said = self.says(event.object, event.action, has_url=bool(event.url))
        return is_said and self._types.hold(event.object, event.action) and self.allows(event, view)

    def allows(self, event: Event, view: EventView | None = None) -> bool:
        """Say whether an event is permitted and the pattern matches it, whatever the types ask for."""
        if not self._permits(event.object, event.action):
            return False
        return self.pattern is None or self.pattern.matches(EventView(event) if view is None else view)

    def _permits(self, object_: str, action: str) -> bool:
        return self._permitted is None or self._permitted.hold(object_, action)


_matchers: WeakValueDictionary[Rule, Matcher] = WeakValueDictionary()


def matcher(rule: Rule) -> Matcher:
    """Return the matcher of a rule, compiled once while anybody holds it; `FieldError` when its pattern is none."""
    found = _matchers.get(rule)
    if found is None:
        found = _matchers[rule] = Matcher(rule)
    return found


# -- all of a tenant's -------------------------------------------------------------------------------------------------


class Tally:
    """Count what is found on the way: `unsayable` events, once for each subscription that wanted one."""

    __slots__ = ("unsayable",)

    def __init__(self) -> None:
        self.unsayable = 0


class _Answer(Struct, frozen=True):
    """What a type decides: who is owed it at once, and who when a pattern matches.

    `unsaid` holds each matcher that wants it and whose dialect cannot say it, with the count of its subscriptions.
    """

    numbers: tuple[int, ...]
    patterned: Narrowing[tuple[int, ...]] | None
    unsaid: tuple[tuple[Matcher, int], ...] = ()


_Type = tuple[str, str]
_Wanted = tuple[tuple[int, ...], tuple[int, ...]]


@final
class Index:
    """The versions of one tenant's subscriptions that are in force at one moment, at most one of each.

    Only those that are owed a push count. A version whose pattern cannot be compiled raises `FieldError`; none is
    stored that was not compiled before. `tally` counts what is pushed to nobody for want of a word.
    """

    def __init__(self, versions: Iterable[Version], tally: Tally | None = None) -> None:
        groups: defaultdict[Rule, list[int]] = defaultdict(list)
        for version in versions:
            if version.owed is Owed.PUSH:
                groups[version.rule].append(version.subscription)
        self._groups = [(matcher(rule), numbers) for rule, numbers in groups.items()]
        self._memo: dict[_Type, _Answer] = {}
        # What a type decides for events without a url; the same as for all others unless somebody needs one.
        self._bare = {} if any(rule.needs_url for rule, _ in self._groups) else self._memo
        self._answers: dict[_Wanted, _Answer] = {}
        self._held = 0
        self._tally = tally or Tally()

    def push(self, event: Event) -> tuple[int, ...]:
        """Return the numbers of the subscriptions that an event is to be pushed to, in no particular order."""
        answer = self._answer_to(event)
        if answer.unsaid:
            self._count_unsayable(answer, event)
        if answer.patterned is None:
            return answer.numbers
        return tuple(chain(answer.numbers, *answer.patterned.matching(EventView(event))))

    def count_push(self, event: Event) -> int:
        """Return how many subscriptions an event is to be pushed to."""
        answer = self._answer_to(event)
        if answer.patterned is None:
            return len(answer.numbers)
        return len(answer.numbers) + sum(map(len, answer.patterned.matching(EventView(event))))

    def _answer_to(self, event: Event) -> _Answer:
        memo = self._memo if event.url else self._bare
        return memo.get((event.object, event.action)) or self._look(event)

    def _count_unsayable(self, answer: _Answer, event: Event) -> None:
        view = EventView(event)
        for rule, count in answer.unsaid:
            if rule.pattern is None or rule.pattern.matches(view):
                self._tally.unsayable += count

    def _look(self, event: Event) -> _Answer:
        """Find out what a type decides, and remember it; types that decide the same share one answer."""
        wanted = self._wanted(event.object, event.action, has_url=bool(event.url))
        answer = self._answers.get(wanted)
        if answer is None:
            answer = self._answer(*wanted)
        size = 1 + len(wanted[0]) + len(wanted[1]) + len(answer.numbers)
        if self._held + size > _MEMO_NUMBERS_MAX:
            self._memo.clear()
            self._bare.clear()
            self._answers.clear()
            self._held = 0
        self._held += 1 if wanted in self._answers else size
        memo = self._memo if event.url else self._bare
        self._answers[wanted] = memo[event.object, event.action] = answer
        return answer

    def _wanted(self, object_: str, action: str, *, has_url: bool) -> _Wanted:
        """Return which groups want a type: those that can be told of it, and those that cannot."""
        said: list[int] = []
        unsaid: list[int] = []
        for place, (rule, _) in enumerate(self._groups):
            if rule.wants(object_, action):
                (said if rule.says(object_, action, has_url=has_url) else unsaid).append(place)
        return tuple(said), tuple(unsaid)

    def _answer(self, said: tuple[int, ...], unsaid: tuple[int, ...]) -> _Answer:
        plain: list[int] = []
        patterned: defaultdict[Pattern, list[int]] = defaultdict(list)
        for place in said:
            rule, numbers = self._groups[place]
            (plain if rule.pattern is None else patterned[rule.pattern]).extend(numbers)
        grouped = [(pattern, tuple(numbers)) for pattern, numbers in patterned.items()]
        missed = tuple((self._groups[place][0], len(self._groups[place][1])) for place in unsaid)
        return _Answer(tuple(plain), Narrowing(grouped) if grouped else None, missed)
