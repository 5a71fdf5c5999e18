"""Hold how JSON text is read: numbers, depth, and what is said of text that is none."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core import jsontext
from angarium.errors import Malformed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"9007199254740993", 2**53 + 1),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1.5", 1.5),
        (b"1e400", math.inf),
        (b"[-1e400]", [-math.inf]),
        (b"9" * 5000, math.inf),
        (b'{"a":null}', {"a": None}),
    ],
)
def test_numbers_of_any_size_are_read(text: bytes, expected: object) -> None:
    assert jsontext.read(text) == expected


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"[1e400", b'"\\ud800"', b"[01]"])
def test_what_is_no_json_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|truncated|Expecting"):
        jsontext.read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"a"', "a text"),
        (b"{}", "an object"),
        (b"[]", "an array"),
        (b"true", "true"),
        (b"false", "false"),
        (b"null", "null"),
        (b"-1", "a number"),
        (b"7", "a number"),
    ],
)
def test_a_value_is_named_by_its_kind(text: bytes, expected: str) -> None:
    assert jsontext.kind(text) == expected
    assert jsontext.kind_of(jsontext.read(text)) == expected


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[1,{"b":2}]}', 3),
        (b'["[[[[", {"a": "\\"]]]{{"}, [[1]]]', 3),
        (b'["]", ["]", ["]", ["]"]]]]', 4),
        (b'["\\\\", ["\\\\\\"[", ["", "[", "["]]]', 3),
        (b'{"{":{"}":{"\\"":{}}}}', 4),
    ],
)
def test_depth_is_counted_outside_texts(text: bytes, depth: int) -> None:
    assert not jsontext.nests_deeper(text, depth)
    assert all(jsontext.nests_deeper(text, less) for less in range(depth))


@given(
    st.recursive(
        st.none() | st.text('[]{}"\\,a'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\,a'), inner),
        max_leaves=20,
    ),
)
def test_depth_is_that_of_the_value(value: object) -> None:
    def depth(value: object) -> int:
        match value:
            case dict():
                return 1 + max(map(depth, value.values()), default=0)
            case list():
                return 1 + max(map(depth, value), default=0)
            case _:
                return 0

    text = msgspec.json.encode(value)
    assert not jsontext.nests_deeper(text, depth(value))
    assert depth(value) == 0 or jsontext.nests_deeper(text, depth(value) - 1)


@pytest.mark.parametrize("text", [b"[" * 100, b"]" * 100, b"][" * 100, b'["' * 100])
def test_the_depth_of_what_is_no_json_does_not_matter(text: bytes) -> None:
    assert jsontext.nests_deeper(text, 10) in {True, False}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "the body is no JSON: it is empty"),
        (b" \n", "it is empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":NaN}', "'NaN}' at byte 5; JSON has neither NaN nor Infinity"),
        (b"[-Infinity,1]", "'Infinity' at byte 2; JSON has neither"),
        (b'["\\ud800"]', r"byte 2 begins \ud800, half of a surrogate pair"),
        (b'["\\\\ud83d\\ude00 \\udc00 "]', r"byte 9 begins \ude00, half"),
        (b'["\\ud83d\\ude00", "\\ud83d"]', r"byte 18 begins \ud83d, half"),
        (b'{"a":1', "it ends too early"),
        (b'{"a":1,}', "trailing comma in object at byte 7, before '}'"),
        (b'{"a" 1}', "expected ':' at byte 5, before '1}'"),
        (b"[01]", "invalid number at byte 2, before '1]'"),
        (b"{'a':1}", "at byte 1, before \"'a':1}\""),
    ],
)
def test_what_is_no_json_is_explained(text: bytes, problem: str) -> None:
    with pytest.raises(msgspec.DecodeError) as found:
        msgspec.json.decode(text)
    with pytest.raises(Malformed) as caught:
        jsontext.refuse(text, found.value, what="the body")
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", [b"\xff", b'["\xc3"]', b"\xed\xa0\x80", b"\xc0\x80"])
def test_what_is_no_utf_8_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed, match="the body is no UTF-8: byte"):
        jsontext.check_utf8(text, what="the body")


def test_utf_8_passes() -> None:
    jsontext.check_utf8("æøå 😀".encode(), what="the body")
    jsontext.check_utf8(b"plain", what="the body")
