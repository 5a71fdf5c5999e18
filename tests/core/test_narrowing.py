"""Hold that narrowing down rules out only patterns that do not match, and rules out many."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.narrowing import Narrowing
from angarium.core.patterns import Pattern, compile_pattern
from tests.core.test_patterns import DOCUMENTS, PATTERNS, VALUES

SCALARS = st.sampled_from([0, 1, 1.0, True, False, None, "x", "1"])
SMALL = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=6
)


def compiled(pattern: object) -> Pattern:
    return compile_pattern(msgspec.json.encode(pattern))


def equality(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        st.lists(inner, max_size=2),
        st.fixed_dictionaries({"$eq": SCALARS}),
        st.fixed_dictionaries({"$in": st.lists(SCALARS, max_size=3)}),
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$not": inner}),
    )


OBJECTS = st.dictionaries(st.sampled_from("ab"), st.recursive(SCALARS, equality, max_leaves=5), max_size=2)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({}, None),
        ({"a": "x"}, (("a",), ("x",))),
        ({"a": None}, (("a",), (None,))),
        ({"a": {"b": {"c": 5}}}, (("a", "b", "c"), (5,))),
        ({"a": ["x", "y"]}, (("a",), ("x",))),
        ({"a": {"$eq": "x"}}, (("a",), ("x",))),
        ({"a": {"$in": ["x", 1]}}, (("a",), ("x", 1))),
        ({"a": {"$in": []}}, (("a",), ())),
        ({"$and": [{"a": {"$gt": 1}}, {"b": 2}]}, (("b",), (2,))),
        ({"type": "item.update", "data": {"customer": 5}}, (("data", "customer"), (5,))),
        ({"data": {"type": "a"}, "type": "b"}, (("data", "type"), ("a",))),
        ({"type": "item.update"}, (("type",), ("item.update",))),
        ({"a": {"$gt": 1}}, None),
        ({"a": {"$ne": 1}}, None),
        ({"a": {"$not": {"b": 1}}}, None),
        ({"$or": [{"a": 1}, {"b": 2}]}, None),
        ({"a": {"$eq": [1]}}, None),
        ({"a": {"$in": [[1], 2]}}, None),
        ({"a": {}}, None),
    ],
)
def test_a_pattern_knows_what_it_needs(pattern: object, expected: object) -> None:
    assert compiled(pattern).needs == expected


def test_one_of_many_values_is_found_without_asking_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    narrowing = Narrowing([(compiled({"data": {"customer": number}}), number) for number in range(200)])
    asked: list[Pattern] = []
    matches = Pattern.matches

    def count(self: Pattern, document: dict[str, object]) -> bool:
        asked.append(self)
        return matches(self, document)

    monkeypatch.setattr(Pattern, "matches", count)
    assert narrowing.matching({"data": {"customer": 7}}) == [7]
    assert sorted(narrowing.matching({"data": [{"customer": [8, 9]}, {"customer": 8.0}]})) == [8, 9]
    assert narrowing.matching({"data": {"customer": "7"}}) == []
    assert narrowing.matching({"data": 7}) == []
    assert len(asked) == 3


def test_a_pattern_with_several_values_matches_once() -> None:
    narrowing = Narrowing([(compiled({"a": {"$in": [number, number + 1]}}), number) for number in range(20)])
    assert sorted(narrowing.matching({"a": [5, 6]})) == [4, 5, 6]


def test_true_is_not_one_here_either() -> None:
    patterns = [True, 1, *range(2, 12)]
    narrowing = Narrowing([(compiled({"a": value}), repr(value)) for value in patterns])
    assert narrowing.matching({"a": 1}) == ["1"]
    assert narrowing.matching({"a": True}) == ["True"]


def narrowed(patterns: list[dict[str, Any]], document: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return which of these patterns match, one by one and narrowed down among others."""
    texts = sorted({msgspec.json.encode(pattern) for pattern in patterns})
    others = [(compiled({"other": number}), "other") for number in range(9)]
    narrowing = Narrowing([*((compile_pattern(text), text.decode()) for text in texts), *others])
    each = [text.decode() for text in texts if compile_pattern(text).matches(document)]
    return each, sorted(held for held in narrowing.matching(document) if held != "other")


@given(st.lists(OBJECTS, max_size=5), st.dictionaries(st.sampled_from("ab"), SMALL))
def test_narrowing_finds_what_asking_each_finds(patterns: list[dict[str, Any]], document: dict[str, Any]) -> None:
    each, found = narrowed(patterns, document)
    assert found == sorted(each)


@given(st.lists(st.fixed_dictionaries({"a": PATTERNS}), max_size=4), DOCUMENTS | st.fixed_dictionaries({"a": VALUES}))
def test_so_it_does_with_any_pattern(patterns: list[dict[str, Any]], document: dict[str, Any]) -> None:
    each, found = narrowed(patterns, document)
    assert found == sorted(each)
