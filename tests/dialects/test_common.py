"""Hold what the older dialects share."""

from __future__ import annotations

import pytest

from angarium import __version__
from angarium.dialects.common import (
    check_known,
    check_no_secret,
    choice_option,
    json_id,
    make_no_secret,
    post,
    text_option,
)
from angarium.dialects.dialect import Body
from angarium.errors import FieldError
from angarium.model.wire import Request
from tests.dialects.vectors import signing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", b"0"),
        ("49", b"49"),
        ("-7", b"-7"),
        ("1234567890123456", b"1234567890123456"),
        ("12345678901234567", b'"12345678901234567"'),
        ("007", b'"007"'),
        ("-0", b'"-0"'),
        ("+1", b'"+1"'),
        ("1.0", b'"1.0"'),
        ("1e3", b'"1e3"'),
        ("49\n", b'"49\\n"'),
        ("\u0664\u0669", '"\u0664\u0669"'.encode()),
        ("", b'""'),
        ('a"b', b'"a\\"b"'),
    ],
)
def test_an_id_is_a_number_where_it_reads_as_one_that_every_receiver_can_hold(text: str, expected: bytes) -> None:
    assert json_id(text) == expected


def test_a_post_has_the_dialect_s_headers_and_then_the_subscription_s() -> None:
    body = Body(b"{}", "application/json")
    agent = ("user-agent", f"Angarium/{__version__}")
    asked = signing({}, headers={"x-team": "blue", "x-key": "theirs"}, is_test=True)
    assert post(body, asked, [("x-key", "ours")]) == Request(
        "POST",
        "https://example.com/hook",
        (("content-type", "application/json"), agent, ("x-key", "ours"), ("angarium-test", "true"), ("x-team", "blue")),
        b"{}",
    )
    assert post(body, signing({})).headers == (("content-type", "application/json"), agent)


def test_options_are_refused_by_name() -> None:
    check_known({"a": 1}, ("a", "b"), dialect="latin")
    for known, has in (("a", "which has a"), ("", "which has none")):
        with pytest.raises(FieldError, match=rf"options.c: is unknown to the latin dialect, {has}"):
            check_known({"c": 1}, tuple(known), dialect="latin")


def test_a_text_option_is_a_text_of_some_length() -> None:
    assert text_option({"a": "x"}, "a", "", length_max=1) == "x"
    assert text_option({}, "a", "y", length_max=1) == "y"
    with pytest.raises(FieldError, match=r"options.a: is a number, expected a text"):
        text_option({"a": 5}, "a", "", length_max=1)
    with pytest.raises(FieldError, match=r"options.a: is 2 characters long, expected at most 1"):
        text_option({"a": "xx"}, "a", "", length_max=1)


def test_a_choice_is_one_of_some_texts() -> None:
    assert choice_option({}, "a", ("x", "y")) == "x"
    assert choice_option({"a": "y"}, "a", ("x", "y")) == "y"
    for wrong in ("z", None, ["x"]):
        with pytest.raises(FieldError, match=r"expected one of x, y"):
            choice_option({"a": wrong}, "a", ("x", "y"))


def test_a_dialect_that_does_not_sign_takes_no_secret() -> None:
    with pytest.raises(FieldError, match="secret: is given, but this dialect does not sign with it"):
        check_no_secret("hunter2", {})
    with pytest.raises(FieldError, match="secret"):
        make_no_secret(bytes(32), {})
