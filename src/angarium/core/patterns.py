"""Compile JSON patterns and ask them of documents. What an event's document holds is said in `core.matching`.

| pattern | matches |
|---|---|
| text, number, true, false, null | an equal value; whole numbers compare exactly, and 1 equals 1.0 but not true |
| object | an object whose members match the members of that name; others may be there |
| array | an array in which each of the pattern's elements matches some element |
| `{"$gt": x}`, `$gte`, `$lt`, `$lte` | numbers against a number, texts against a text (by code point); else nothing |
| `{"$eq": x}`, `{"$in": [x, …]}` | what equals x, or one of them, arrays and objects as a whole |
| `{"$startsWith": "x"}`, `$endsWith` | texts that begin or end so |
| `{"$contains": x}` | a text with x in it, an array with an element that equals x |
| `{"$exists": true}` | what is there, be it null; `false`: what is not there |
| `{"$ne": x}`, `{"$nin": […]}`, `{"$not": pattern}` | whatever the opposite does not match, also what is not there |
| `{"$or": […]}`, `{"$and": […]}` | what one, or each, of these patterns matches |

Members and operators that stand together must all hold. *An array matches what one of its elements matches*: names,
`$gt` to `$lte`, `$startsWith` and `$endsWith` of one object must hold together for the same element; `$ne`, `$nin` and
`$not` say that no element does (so `{"$ne": "x"}`: none is x). `$neq` and `$exist`, as others spell them, are taken
too. Names that begin with `$` cannot be asked for.

A pattern looks at no more than 100,000 elements of arrays; what takes more does not match.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TypeAlias, final

import msgspec

from angarium.core import jsontext
from angarium.errors import FieldError

BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
NODES_MAX = 1000
_STEPS_MAX = 100_000
_TEXT_STEP = 64  # Looking through so many characters costs about as much as looking at one element.

_ABSENT = object()


class _Spent(Exception):
    """The evaluation takes too long."""


class _Steps:
    """How many steps an evaluation has left."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _STEPS_MAX

    def take(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _Spent


Check: TypeAlias = Callable[[object, _Steps], bool]
Scalar: TypeAlias = str | int | float | bool | None
Place: TypeAlias = tuple[str, ...]
Needs: TypeAlias = tuple[Place, tuple[Scalar, ...]]


@final
class Pattern:
    """A compiled pattern. Make it with `compile_pattern`.

    What does not have one of the values that it `needs` at their place, by names through objects and arrays, does not
    match; None: it needs none in particular. See `core.narrowing`.
    """

    __slots__ = ("_check", "needs")

    def __init__(self, check: Check, needs: Needs | None) -> None:
        self._check = check
        self.needs = needs

    def matches(self, document: Mapping[str, object]) -> bool:
        """Say whether a document, of values as JSON has them, matches; never raises."""
        try:
            return self._check(document, _Steps())
        except (_Spent, RecursionError):
            return False


@lru_cache(maxsize=256)
def compile_pattern(pattern: bytes, *, field: str = "filter") -> Pattern:
    """Compile a pattern from its JSON text; `FieldError` names the place below `field` that cannot be compiled."""
    if len(pattern) > BYTES_MAX:
        raise FieldError(field, f"is {len(pattern)} bytes long, expected at most {BYTES_MAX}")
    if jsontext.nests_deeper(pattern, DEPTH_MAX):
        raise FieldError(field, f"nests deeper than {DEPTH_MAX} levels; write it flatter")
    try:
        tree = msgspec.json.decode(pattern)
    except (ValueError, RecursionError) as error:
        raise FieldError(field, f"is no JSON: {error}") from error
    if not isinstance(tree, dict):
        raise FieldError(field, f'is {jsontext.kind_of(tree)}, expected an object such as {{"type": "a.b"}}')
    count = _nodes(tree)
    if count > NODES_MAX:
        raise FieldError(field, f"has {count} values, expected at most {NODES_MAX}")
    return Pattern(_compile(tree, field), max(_needs(tree, ()), key=_tells_much, default=None))


def _nodes(tree: object) -> int:
    match tree:
        case dict():
            return 1 + sum(map(_nodes, tree.values()))
        case list():
            return 1 + sum(map(_nodes, tree))
        case _:
            return 1


def _compile(tree: object, field: str) -> Check:
    match tree:
        case dict():
            return _object(tree, field)
        case list():
            return _all([_is_array, *(_compile(element, f"{field}[{place}]") for place, element in enumerate(tree))])
        case _:
            return _any_element(_equal(tree))


def _object(tree: dict[str, object], field: str) -> Check:
    """Compile an object: what one element must hold together, and what is said of the value as a whole."""
    names: dict[str, Check] = {}
    of_element: list[Check] = []
    of_whole: list[Check] = []
    for name, operand in tree.items():
        place = f"{field}.{name}"
        if not name.startswith("$"):
            names[name] = _compile(operand, place)
        elif name in _OF_ELEMENT:
            of_element.append(_OF_ELEMENT[name](operand, place))
        elif name in _OF_WHOLE:
            of_whole.append(_OF_WHOLE[name](operand, place))
        else:
            raise FieldError(place, f"is no operator; there are {', '.join([*_OF_ELEMENT, *_OF_WHOLE])}")
    if names or not tree:
        of_element.append(_members(names))
    if of_element:
        of_whole.append(_any_element(_all(of_element)))
    return _all(of_whole)


def _members(names: Mapping[str, Check]) -> Check:
    checks = tuple(names.items())

    def members(value: object, steps: _Steps) -> bool:
        if type(value) is not dict and not isinstance(value, Mapping):
            return False
        for name, check in checks:  # noqa: SIM110  a generator takes twice as long, for every event and pattern
            if not check(value.get(name, _ABSENT), steps):
                return False
        return True

    return members


def _any_element(check: Check) -> Check:
    """Have an array match what one of its elements matches, those of arrays in it too."""

    def any_element(value: object, steps: _Steps) -> bool:
        if type(value) is not list:
            return check(value, steps)
        steps.take(len(value))
        return any(any_element(element, steps) for element in value)

    return any_element


def _all(checks: Sequence[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    return lambda value, steps: all(check(value, steps) for check in checks)


def _not(check: Check) -> Check:
    return lambda value, steps: not check(value, steps)


def _is_array(value: object, _: _Steps) -> bool:
    return isinstance(value, list)


def _equal(literal: object) -> Check:
    match literal:
        case str():
            return lambda value, _: value == literal
        case bool() | None:
            return lambda value, _: value is literal
        case _:
            return lambda value, _: _same(literal, value)


def _same(left: object, right: object) -> bool:
    """Compare as JSON does, in which true is no number; takes no longer than `left` is large."""
    match left:
        case dict():
            return (
                isinstance(right, dict)
                and len(left) == len(right)
                and all(name in right and _same(value, right[name]) for name, value in left.items())
            )
        case list():
            return isinstance(right, list) and len(left) == len(right) and all(map(_same, left, right))
        case _:
            return left == right and isinstance(left, bool) == isinstance(right, bool)


# -- needs -------------------------------------------------------------------------------------------------------------


def _needs(tree: object, place: Place) -> Iterator[Needs]:
    match tree:
        case dict():
            for name, operand in tree.items():
                if not name.startswith("$"):
                    yield from _needs(operand, (*place, name))
                elif name == "$and":
                    yield from _needs(operand, place)
                elif name == "$eq" and _is_scalar(operand):
                    yield place, (operand,)
                elif name == "$in" and all(map(_is_scalar, operand)):
                    yield place, tuple(operand)
        case list():
            for element in tree:
                yield from _needs(element, place)
        case str() | int() | float() | None:
            yield place, (tree,)
        case _:
            pass


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _tells_much(needs: Needs) -> bool:
    """Say whether a need rules out most events: whole types and tenants do not."""
    return needs[0][:1] not in {("tenant",), ("object",), ("action",), ("type",)}


# -- operators ---------------------------------------------------------------------------------------------------------


def _eq(operand: object, _field: str) -> Check:
    return _whole_or_element(_equal(operand))


def _in(operand: object, field: str) -> Check:
    literals = _list(operand, field)
    texts = frozenset(literal for literal in literals if isinstance(literal, str))
    others = [literal for literal in literals if not isinstance(literal, str)]

    def among(value: object, steps: _Steps) -> bool:
        if isinstance(value, str):
            return value in texts
        steps.take(len(others))
        return any(_same(literal, value) for literal in others)

    return _whole_or_element(among)


def _whole_or_element(check: Check) -> Check:
    """Have an array match when it matches itself, or one of its elements does."""

    def matches(value: object, steps: _Steps) -> bool:
        if check(value, steps):
            return True
        if type(value) is not list:
            return False
        steps.take(len(value))
        return any(matches(element, steps) for element in value)

    return matches


def _ordered(compare: Callable[..., bool], operand: object, field: str) -> Check:
    """Compare numbers with numbers and texts with texts; whatever else is there does not match."""
    if isinstance(operand, str):
        return lambda value, _: isinstance(value, str) and compare(value, operand)
    if isinstance(operand, bool) or not isinstance(operand, (int, float)):
        raise FieldError(field, f"is {jsontext.kind_of(operand)}, expected a number or a text to compare with")
    return lambda value, _: isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value, operand)


def _affix(test: Callable[[str, str], bool], operand: object, field: str) -> Check:
    if not isinstance(operand, str):
        raise FieldError(field, f"is {jsontext.kind_of(operand)}, expected a text")
    return lambda value, _: isinstance(value, str) and test(value, operand)


def _contains(operand: object, _field: str) -> Check:
    equal = _equal(operand)

    def contains(value: object, steps: _Steps) -> bool:
        match value:
            case str():
                steps.take(len(value) // _TEXT_STEP)
                return isinstance(operand, str) and operand in value
            case list():
                steps.take(len(value))
                return any(equal(element, steps) for element in value)
            case _:
                return False

    return contains


def _exists(operand: object, field: str) -> Check:
    if not isinstance(operand, bool):
        raise FieldError(field, f"is {jsontext.kind_of(operand)}, expected true or false")
    return lambda value, _: (value is not _ABSENT) is operand


def _or(operand: object, field: str) -> Check:
    checks = _patterns(operand, field)
    return lambda value, steps: any(check(value, steps) for check in checks)


def _and(operand: object, field: str) -> Check:
    return _all(_patterns(operand, field))


def _patterns(operand: object, field: str) -> list[Check]:
    patterns = _list(operand, field)
    if not patterns:
        raise FieldError(field, "is empty, expected an array of patterns")
    return [_compile(pattern, f"{field}[{place}]") for place, pattern in enumerate(patterns)]


def _list(operand: object, field: str) -> list[object]:
    if not isinstance(operand, list):
        raise FieldError(field, f"is {jsontext.kind_of(operand)}, expected an array")
    return operand


def _opposite(make: Callable[[object, str], Check]) -> Callable[[object, str], Check]:
    return lambda operand, field: _not(make(operand, field))


_OF_ELEMENT: Mapping[str, Callable[[object, str], Check]] = {
    "$gt": partial(_ordered, operator.gt),
    "$gte": partial(_ordered, operator.ge),
    "$lt": partial(_ordered, operator.lt),
    "$lte": partial(_ordered, operator.le),
    "$startsWith": partial(_affix, str.startswith),
    "$endsWith": partial(_affix, str.endswith),
}
_OF_WHOLE: Mapping[str, Callable[[object, str], Check]] = {
    "$eq": _eq,
    "$ne": _opposite(_eq),
    "$neq": _opposite(_eq),
    "$in": _in,
    "$nin": _opposite(_in),
    "$contains": _contains,
    "$exists": _exists,
    "$exist": _exists,
    "$not": _opposite(_compile),
    "$or": _or,
    "$and": _and,
}
