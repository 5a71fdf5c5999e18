"""Share what the older dialects have in common: plain POSTs, ids as JSON numbers, options, secrets that they lack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec.json import Encoder

from angarium import __version__
from angarium.core.jsontext import kind_of
from angarium.errors import FieldError
from angarium.model.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.dialects.dialect import Body, Signing

JSON = "application/json"
RESERVED = ("angarium-*", "user-agent")
"""The headers of every dialect's requests that a subscription may not set itself."""

_USER_AGENT = f"Angarium/{__version__}"
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)

json_text = Encoder().encode


def post(body: Body, signing: Signing, own: Sequence[tuple[str, str]] = ()) -> Request:
    """Return one attempt's request with a dialect's own headers; the subscription's follow where they are others."""
    headers = [("content-type", body.content_type), ("user-agent", _USER_AGENT), *own]
    if signing.is_test:
        headers.append(("angarium-test", "true"))
    if signing.headers:
        taken = {name for name, _ in own}
        headers.extend([(name, value) for name, value in signing.headers.items() if name not in taken])
    return Request("POST", signing.url, tuple(headers), body.content)


def json_id(text: str) -> bytes:
    """Return an id as JSON: a number where it reads as a whole one of at most 16 digits, else a text."""
    return text.encode() if _WHOLE.fullmatch(text) else json_text(text)


def check_known(options: Mapping[str, Any], known: Sequence[str], *, dialect: str) -> None:
    """Raise `FieldError` for the first option that a dialect does not have."""
    for name in options:
        if name not in known:
            has = f"which has {', '.join(known)}" if known else "which has none"
            raise FieldError(f"options.{name}", f"is unknown to the {dialect} dialect, {has}")


def text_option(options: Mapping[str, Any], name: str, default: str, *, length_max: int) -> str:
    """Return an option that is a text; `FieldError` when it is none, or too long."""
    value = options.get(name, default)
    if not isinstance(value, str):
        raise FieldError(f"options.{name}", f"is {kind_of(value)}, expected a text")  # It may hold a secret.
    if len(value) > length_max:
        raise FieldError(f"options.{name}", f"is {len(value)} characters long, expected at most {length_max}")
    return value


def choice_option(options: Mapping[str, Any], name: str, choices: Sequence[str]) -> str:
    """Return an option that is one of some texts, the first unless another is given; `FieldError` for others."""
    value = options.get(name, choices[0])
    if value not in choices:
        raise FieldError(f"options.{name}", f"is {value!r}, expected one of {', '.join(choices)}")
    return str(value)


def check_no_secret(_text: str, _options: Mapping[str, Any]) -> NoReturn:
    """Raise `FieldError`: the dialect signs with no secret of the subscription's own."""
    raise FieldError("secret", "is given, but this dialect does not sign with it; remove it")


def make_no_secret(_dice: bytes, _options: Mapping[str, Any]) -> NoReturn:
    """Raise `FieldError`: the dialect signs with no secret of the subscription's own."""
    raise FieldError("secret", "cannot be made, for this dialect does not sign with one")
