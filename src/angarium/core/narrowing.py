"""Narrow down which of many patterns an event can match, without asking each of them.

Subscriptions of one tenant often differ in one value only: each wants its own country, customer or project. Such a
pattern *needs* a certain value at a certain place, and cannot match an event that does not have it there. Patterns that
need something are kept by place and value, so that an event is looked at once for each place, whatever the number of
values that are wanted there; those that an event cannot rule out, and those that need nothing, are evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar, final

from angarium.core.patterns import Pattern, Place, Scalar

_T = TypeVar("_T")

_FEW = 8  # So many patterns are evaluated faster than narrowed down.


@final
class Narrowing(Generic[_T]):
    """Patterns, each once, and what hangs on each."""

    def __init__(self, patterns: Sequence[tuple[Pattern, _T]]) -> None:
        self._always: list[tuple[Pattern, _T]] = []
        self._needing: dict[Place, dict[Scalar, list[tuple[Pattern, _T]]]] = {}
        for pattern, held in patterns:
            if pattern.needs is None or len(patterns) <= _FEW:
                self._always.append((pattern, held))
            else:
                place, values = pattern.needs
                wanted = self._needing.setdefault(place, {})
                for value in values:
                    wanted.setdefault(value, []).append((pattern, held))

    def matching(self, document: Mapping[str, object]) -> list[_T]:
        """Return what hangs on each pattern that a document matches."""
        found = [held for pattern, held in self._always if pattern.matches(document)]
        for place, wanted in self._needing.items():
            values = set(_values_at(document, place, 0))
            candidates = {pattern: held for value in values for pattern, held in wanted.get(value, ())}
            found.extend([held for pattern, held in candidates.items() if pattern.matches(document)])
        return found


def _values_at(value: object, place: Place, depth: int) -> Iterator[Scalar]:
    """Yield the texts, numbers, true, false and null at a place, through arrays as patterns go through them."""
    match value:
        case list():
            for element in value:
                yield from _values_at(element, place, depth)
        case str() | int() | float() | None:
            if depth == len(place):
                yield value
        case Mapping():
            if depth < len(place):
                yield from _values_at(value.get(place[depth], _ABSENT), place, depth + 1)
        case _:
            pass


_ABSENT = object()
