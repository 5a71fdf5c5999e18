"""Hold which custom headers a subscription may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.headers import check_header, check_headers
from angarium.errors import FieldError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-team", "a"),
        ("X-Team", "München, Straße 5"),
        ("authorization", "Bearer mF_9.B5f-4.1JqM"),
        ("x-empty", ""),
        ("x-spaced", "a  b"),
        ("contents", "of a name that only begins like content-"),
        ("x-webhook-id", "1"),
    ],
)
def test_ordinary_headers_may_be_sent(name: str, value: str) -> None:
    assert check_headers({name: value}, reserved=("webhook-*",)) == {name.lower(): value}


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "Host",
        "content-type",
        "Content-Length",
        "content-security-policy",
        "connection",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "accept-encoding",
    ],
)
def test_names_of_the_transport_are_refused(name: str) -> None:
    with pytest.raises(FieldError, match="belongs to the transport") as caught:
        check_header(name, "a")
    assert caught.value.field == f"headers.{name}"


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Anything", "user-agent"])
def test_names_of_the_dialect_are_refused(name: str) -> None:
    with pytest.raises(FieldError, match="belongs to the dialect"):
        check_header(name, "a", reserved=("webhook-*", "user-agent"))


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "a\x00", "(a)", "x" * 129, "x-team\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(FieldError, match="is no header name"):
        check_header(name, "a")


@pytest.mark.parametrize(
    "value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\x00b", "a\tb", "\x7f", "\x85", "€", " a", "a ", "\ud800", "a\n"]
)
def test_a_value_that_a_header_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(FieldError, match="cannot carry"):
        check_header("x-team", value)


def test_a_long_value_is_refused() -> None:
    check_header("x-team", "a" * 4096)
    with pytest.raises(FieldError, match="4097 characters"):
        check_header("x-team", "a" * 4097)


def test_a_name_in_two_cases_is_one_name() -> None:
    with pytest.raises(FieldError, match="twice") as caught:
        check_headers({"X-Team": "a", "x-team": "b"})
    assert caught.value.field == "headers.x-team"


def test_fifty_headers_are_enough() -> None:
    assert len(check_headers({f"x-{n}": "a" for n in range(50)})) == 50
    with pytest.raises(FieldError, match="51 headers"):
        check_headers({f"x-{n}": "a" for n in range(51)})


@given(st.text(), st.text())
def test_whatever_passes_fits_on_one_line(name: str, value: str) -> None:
    try:
        check_header(name, value)
    except FieldError:
        return
    assert value.encode("latin-1") == value.encode("latin-1").strip()
    assert not any(byte < 0x20 for byte in f"{name}: {value}".encode("latin-1"))
