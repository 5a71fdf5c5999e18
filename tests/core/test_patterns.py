"""Hold what JSON patterns match, and that those which cannot be compiled say where."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.patterns import DEPTH_MAX, NODES_MAX, compile_pattern
from angarium.errors import FieldError

BIG = 2**53 + 1
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
NAMES = st.sampled_from(["a", "b", "c"])
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)


def matches(pattern: object, document: dict[str, Any]) -> bool:
    return compile_pattern(msgspec.json.encode(pattern)).matches(document)


def operators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    ordered = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    return st.one_of(
        st.builds(
            lambda name, operand: {name: operand}, st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne"]), ordered
        ),
        st.builds(
            lambda name, operand: {name: operand}, st.sampled_from(["$startsWith", "$endsWith", "$contains"]), st.text()
        ),
        st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$in", "$nin"]), st.lists(SCALARS)),
        st.builds(lambda operand: {"$exists": operand}, st.booleans()),
        st.builds(lambda operand: {"$not": operand}, inner),
        st.builds(
            lambda name, operand: {name: operand},
            st.sampled_from(["$or", "$and"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.dictionaries(NAMES, inner, max_size=3),
    )


PATTERNS = st.recursive(SCALARS, operators, max_leaves=8)


@pytest.mark.parametrize(
    ("pattern", "document", "expected"),
    [
        # Values are equal.
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"a": "x"}, {"a": "x", "b": 1}, True),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": "x"}, {"b": "x"}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": 0}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": False}, {"a": 0}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1.5}, {"a": 1.5}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": BIG}, {"a": BIG}, True),
        ({"a": BIG}, {"a": BIG - 1}, False),
        ({"a": BIG}, {"a": float(BIG - 1)}, False),
        ({"a": "x", "b": 1}, {"a": "x", "b": 1}, True),
        ({"a": "x", "b": 1}, {"a": "x", "b": 2}, False),
        # Nested objects descend.
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1, "d": 2}, "e": 3}}, True),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, False),
        ({"a": {"b": 1}}, {"a": 5}, False),
        ({"a": {"b": 1}}, {"a": None}, False),
        ({"a": {}}, {"a": {"b": 1}}, True),
        ({"a": {}}, {"a": 5}, False),
        ({"a": {}}, {}, False),
        # An array matches what one of its elements matches.
        ({"a": "x"}, {"a": ["w", "x"]}, True),
        ({"a": "x"}, {"a": ["w"]}, False),
        ({"a": "x"}, {"a": []}, False),
        ({"a": "x"}, {"a": [["x"]]}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": [{"b": 1, "c": 3}, {"b": 1, "c": 2}]}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": [{"b": 1, "c": 3}, {"b": 4, "c": 2}]}, False),
        ({"a": {"$gt": 1, "$lt": 5}}, {"a": [0, 3]}, True),
        ({"a": {"$gt": 1, "$lt": 5}}, {"a": [0, 9]}, False),
        # An array in a pattern wants each of its elements.
        ({"a": ["x", "y"]}, {"a": ["y", "w", "x"]}, True),
        ({"a": ["x", "y"]}, {"a": ["x"]}, False),
        ({"a": ["x"]}, {"a": "x"}, False),
        ({"a": []}, {"a": []}, True),
        ({"a": []}, {"a": {}}, False),
        ({"a": [{"b": {"$gt": 1}}, {"b": 1}]}, {"a": [{"b": 1}, {"b": 2}]}, True),
        # Comparisons.
        ({"a": {"$gt": 100}}, {"a": 101}, True),
        ({"a": {"$gt": 100}}, {"a": 100}, False),
        ({"a": {"$gte": 100}}, {"a": 100}, True),
        ({"a": {"$gte": 100}}, {"a": 99.9}, False),
        ({"a": {"$lt": 100}}, {"a": 99.9}, True),
        ({"a": {"$lt": 100}}, {"a": 100}, False),
        ({"a": {"$lte": 100}}, {"a": 100}, True),
        ({"a": {"$lte": 100}}, {"a": 101}, False),
        ({"a": {"$gt": BIG - 1}}, {"a": BIG}, True),
        ({"a": {"$gt": 0}}, {"a": "1"}, False),
        ({"a": {"$gt": 0}}, {"a": True}, False),
        ({"a": {"$gt": 0}}, {"a": None}, False),
        ({"a": {"$gt": 0}}, {}, False),
        ({"a": {"$gte": "2026-11"}}, {"a": "2026-11-22"}, True),
        ({"a": {"$gte": "2026-11"}}, {"a": 2027}, False),
        ({"a": {"$gte": 1, "$lte": 3}}, {"a": 2}, True),
        ({"a": {"$gte": 1, "$lte": 3}}, {"a": 4}, False),
        # Equal, one of, and their opposites.
        ({"a": {"$eq": "x"}}, {"a": "x"}, True),
        ({"a": {"$eq": {"b": [1, True]}}}, {"a": {"b": [1, True]}}, True),
        ({"a": {"$eq": {"b": [1, True]}}}, {"a": {"b": [1, 1]}}, False),
        ({"a": {"$eq": {"b": 1}}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": {"$eq": [1, 2]}}, {"a": [1, 2]}, True),
        ({"a": {"$eq": [1, 2]}}, {"a": [2, 1]}, False),
        ({"a": {"$eq": [1, 2]}}, {"a": [[1, 2], 3]}, True),
        ({"a": {"$ne": "x"}}, {"a": "y"}, True),
        ({"a": {"$ne": "x"}}, {"a": "x"}, False),
        ({"a": {"$ne": "x"}}, {}, True),
        ({"a": {"$ne": "x"}}, {"a": ["x", "y"]}, False),
        ({"a": {"$ne": None}}, {"a": None}, False),
        ({"a": {"$neq": "x"}}, {"a": "x"}, False),
        ({"a": {"$in": ["x", 1, None]}}, {"a": "x"}, True),
        ({"a": {"$in": ["x", 1, None]}}, {"a": 1.0}, True),
        ({"a": {"$in": ["x", 1, None]}}, {"a": None}, True),
        ({"a": {"$in": ["x", 1, None]}}, {"a": True}, False),
        ({"a": {"$in": ["x", 1, None]}}, {}, False),
        ({"a": {"$in": ["x"]}}, {"a": ["w", "x"]}, True),
        ({"a": {"$in": [[1]]}}, {"a": [1]}, True),
        ({"a": {"$in": []}}, {"a": 1}, False),
        ({"a": {"$nin": ["x", 1]}}, {"a": "y"}, True),
        ({"a": {"$nin": ["x", 1]}}, {"a": 1}, False),
        ({"a": {"$nin": ["x", 1]}}, {}, True),
        ({"a": {"$nin": ["x"]}}, {"a": ["w", "x"]}, False),
        # Texts.
        ({"a": {"$startsWith": "ab"}}, {"a": "abc"}, True),
        ({"a": {"$startsWith": "ab"}}, {"a": "cab"}, False),
        ({"a": {"$startsWith": "1"}}, {"a": 12}, False),
        ({"a": {"$startsWith": "ab"}}, {"a": ["x", "abc"]}, True),
        ({"a": {"$endsWith": "bc"}}, {"a": "abc"}, True),
        ({"a": {"$endsWith": "ab"}}, {"a": "abc"}, False),
        ({"a": {"$contains": "b"}}, {"a": "abc"}, True),
        ({"a": {"$contains": "d"}}, {"a": "abc"}, False),
        ({"a": {"$contains": "b"}}, {"a": ["abc"]}, False),
        ({"a": {"$contains": "abc"}}, {"a": ["abc"]}, True),
        ({"a": {"$contains": 5}}, {"a": [4, 5]}, True),
        ({"a": {"$contains": 5}}, {"a": "5"}, False),
        ({"a": {"$contains": 1}}, {"a": [True]}, False),
        ({"a": {"$contains": "a"}}, {"a": {"a": 1}}, False),
        ({"a": {"$contains": "a"}}, {}, False),
        # What is there.
        ({"a": {"$exists": True}}, {"a": None}, True),
        ({"a": {"$exists": True}}, {}, False),
        ({"a": {"$exists": False}}, {}, True),
        ({"a": {"$exists": False}}, {"a": None}, False),
        ({"a": {"$exist": False}}, {}, True),
        ({"a": {"b": {"$exists": False}}}, {"a": {}}, True),
        ({"a": {"b": {"$exists": False}}}, {}, False),
        ({"a": {"$exists": True, "b": 1}}, {"a": [{"b": 1}]}, True),
        # Together.
        ({"a": {"$not": "x"}}, {"a": "y"}, True),
        ({"a": {"$not": "x"}}, {"a": ["y", "x"]}, False),
        ({"a": {"$not": {"b": 1}}}, {"a": {"b": 1}}, False),
        ({"a": {"$not": {"b": 1}}}, {}, True),
        ({"$not": {"a": "x"}}, {"a": "x"}, False),
        ({"a": {"$not": {"$gt": 5}}}, {"a": "text"}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"a": 2, "b": 1}, False),
        ({"$or": [{"a": 1}, {"b": 2}], "c": 3}, {"b": 2, "c": 3}, True),
        ({"$or": [{"a": 1}, {"b": 2}], "c": 3}, {"b": 2}, False),
        ({"a": {"$or": ["x", {"$gt": 5}]}}, {"a": 6}, True),
        ({"a": {"$or": ["x", {"$gt": 5}]}}, {"a": 5}, False),
        ({"$and": [{"a": {"b": 1}}, {"a": {"b": 2}}]}, {"a": [{"b": 1}, {"b": 2}]}, True),
        ({"$and": [{"a": 1}, {"a": 2}]}, {"a": 1}, False),
        # The empty name and names with dots are names as any other.
        ({"": 1}, {"": 1}, True),
        ({"a.b": 1}, {"a": {"b": 1}}, False),
        ({"a.b": 1}, {"a.b": 1}, True),
    ],
)
def test_what_a_pattern_matches(pattern: object, document: dict[str, Any], *, expected: bool) -> None:
    assert matches(pattern, document) is expected


@pytest.mark.parametrize(
    ("pattern", "field", "problem"),
    [
        ({"attributes": {"$foo": 1}}, "filter.attributes.$foo", "is no operator; there are $gt, $gte, $lt"),
        ({"$foo": 1}, "filter.$foo", "is no operator"),
        ({"a": {"b": [1, {"$x": 1}]}}, "filter.a.b[1].$x", "is no operator"),
        ({"$or": [{"a": 1}, {"b": {"$gt": None}}]}, "filter.$or[1].b.$gt", "is null, expected a number or a text"),
        ({"a": {"$lte": True}}, "filter.a.$lte", "is true, expected a number or a text"),
        ({"a": {"$gt": [1]}}, "filter.a.$gt", "is an array, expected a number or a text"),
        ({"a": {"$startsWith": 5}}, "filter.a.$startsWith", "is a number, expected a text"),
        ({"a": {"$in": "x"}}, "filter.a.$in", "is a text, expected an array"),
        ({"a": {"$nin": {}}}, "filter.a.$nin", "is an object, expected an array"),
        ({"a": {"$exists": 1}}, "filter.a.$exists", "is a number, expected true or false"),
        ({"a": {"$or": []}}, "filter.a.$or", "is empty, expected an array of patterns"),
        ({"$and": {}}, "filter.$and", "is an object, expected an array"),
        ({"a": {"$not": {"$b": 1}}}, "filter.a.$not.$b", "is no operator"),
        ([], "filter", "is an array, expected an object"),
        ("x", "filter", "is a text, expected an object"),
        (None, "filter", "is null, expected an object"),
    ],
)
def test_what_cannot_be_compiled_names_its_place(pattern: object, field: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        compile_pattern(msgspec.json.encode(pattern))
    assert caught.value.field == field
    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b'{"a":NaN}', "is no JSON"),
        (b'{"a":"\\ud800"}', "is no JSON"),
        (b'{"a":"\xff"}', "is no JSON"),
        (b'{"a":1e999}', "is no JSON"),
        (b'{"a":"%b"}' % (b"x" * 65536), "65544 bytes long, expected at most 65536"),
        (b'{"a":' * DEPTH_MAX + b"{}" + b"}" * DEPTH_MAX, "nests deeper than 32 levels"),
        (b'{"a":[%b]}' % b",".join([b"1"] * (NODES_MAX - 1)), "has 1001 values, expected at most 1000"),
    ],
)
def test_what_is_no_json_or_too_large_is_refused_whole(text: bytes, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        compile_pattern(text)
    assert caught.value.field == "filter"
    assert problem in caught.value.detail


def test_the_largest_pattern_compiles() -> None:
    deepest = b'{"a":' * (DEPTH_MAX - 1) + b"{}" + b"}" * (DEPTH_MAX - 1)
    assert compile_pattern(deepest).matches(json.loads(deepest))
    widest = b'{"a":[%b]}' % b",".join([b"1"] * (NODES_MAX - 2))
    assert compile_pattern(widest).matches({"a": [1]})


def test_another_place_can_be_named() -> None:
    with pytest.raises(FieldError) as caught:
        compile_pattern(b'{"$x":1}', field="rule.pattern")
    assert caught.value.field == "rule.pattern.$x"


def test_equal_texts_are_compiled_once() -> None:
    assert compile_pattern(b'{"a":"once"}') is compile_pattern(b'{"a":"once"}')


def test_any_mapping_is_a_document() -> None:
    assert compile_pattern(b'{"a":{"b":1}}').matches(MappingProxyType({"a": MappingProxyType({"b": 1})}))


def test_what_would_take_too_long_does_not_match() -> None:
    hungry = {"a": {"$or": [{"$startsWith": str(number)} for number in range(300)]}}
    assert not matches(hungry, {"a": ["x"] * 100_000})
    assert not matches({"$not": hungry}, {"a": ["x"] * 100_000})
    assert matches({"a": 7}, {"a": [*range(50_000)]})


def test_a_document_without_end_does_not_match() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert not matches({"a": 1}, {"a": endless})


@given(PATTERNS, VALUES)
def test_the_opposite_matches_what_a_pattern_does_not(pattern: object, value: object) -> None:
    assert matches({"a": pattern}, {"a": value}) is not matches({"a": {"$not": pattern}}, {"a": value})
    assert matches({"a": pattern}, {}) is not matches({"a": {"$not": pattern}}, {})


@given(st.lists(PATTERNS, min_size=1, max_size=3), VALUES)
def test_or_and_and_are_what_they_say(patterns: list[Any], value: object) -> None:
    each = [matches({"a": pattern}, {"a": value}) for pattern in patterns]
    assert matches({"a": {"$or": patterns}}, {"a": value}) is any(each)
    assert matches({"a": {"$and": patterns}}, {"a": value}) is all(each)


@given(st.dictionaries(NAMES, PATTERNS, max_size=3), DOCUMENTS)
def test_nothing_that_compiles_ever_raises(pattern: dict[str, Any], document: dict[str, Any]) -> None:
    assert matches(pattern, document) in {True, False}


@given(VALUES)
def test_every_value_equals_itself(value: object) -> None:
    document = json.loads(json.dumps({"a": value}))
    assert matches({"a": {"$eq": value}}, document)
    assert matches({"a": {"$in": [value]}}, document)
    assert not matches({"a": {"$ne": value}}, document)
    assert matches({"a": {"$contains": value}}, {"a": [value]})


@given(VALUES, VALUES)
def test_equality_is_that_of_json(left: object, right: object) -> None:
    is_equal = _canonical(left) == _canonical(right)
    assert matches({"a": {"b": {"$eq": left}}}, {"a": {"b": right}}) is (
        is_equal or (isinstance(right, list) and _is_within(left, right))
    )


def _is_within(value: object, elements: list[Any]) -> bool:
    return any(
        _canonical(element) == _canonical(value) or (isinstance(element, list) and _is_within(value, element))
        for element in elements
    )


def _canonical(value: object) -> object:
    match value:
        case bool():
            return ("bool", value)
        case list():
            return [_canonical(element) for element in value]
        case dict():
            return {name: _canonical(member) for name, member in value.items()}
        case _:
            return value


@given(st.integers(), st.integers())
def test_numbers_compare_as_they_are(wanted: int, found: int) -> None:
    assert matches({"a": {"$gt": wanted}}, {"a": found}) is (found > wanted)
    assert matches({"a": {"$lte": wanted}}, {"a": found}) is (found <= wanted)
