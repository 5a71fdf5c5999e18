"""Check the headers that a subscription adds to its requests. Who owns which further names is the dialect's to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from angarium.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRANSPORT = (
    "accept-encoding",
    "connection",
    "content-*",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
"""Names that belong to whoever carries the request; a name that ends in `*` stands for all that begin so."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, section 5.6.2
_VISIBLE = re.compile(r"(?:[\x21-\x7e\xa1-\xff](?:[\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa1-\xff])?)?")
_COUNT_MAX = 50
_VALUE_MAX = 4096


def check_headers(headers: Mapping[str, str], *, reserved: Sequence[str] = ()) -> dict[str, str]:
    """Return a subscription's headers with lower-case names; `FieldError` names the first that cannot be sent."""
    if len(headers) > _COUNT_MAX:
        raise FieldError("headers", f"{len(headers)} headers, expected at most {_COUNT_MAX}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        check_header(name, value, reserved=reserved)
        if name.lower() in checked:
            raise FieldError(f"headers.{name}", "is given twice; names are the same in upper and lower case")
        checked[name.lower()] = value
    return checked


def check_header(name: str, value: str, *, reserved: Sequence[str] = ()) -> None:
    """Raise `FieldError` (`headers.NAME`) unless this header may be sent; `reserved` are the dialect's own names."""
    field = f"headers.{name}"
    if not _TOKEN.fullmatch(name):
        raise FieldError(field, "is no header name; use letters, digits and hyphens, at most 128")
    if _is_among(name.lower(), TRANSPORT):
        raise FieldError(field, "belongs to the transport, which sets it itself; remove it")
    if _is_among(name.lower(), reserved):
        raise FieldError(field, "belongs to the dialect, which sets it itself; choose another name")
    if len(value) > _VALUE_MAX:
        raise FieldError(field, f"is {len(value)} characters long, expected at most {_VALUE_MAX}")
    if not _VISIBLE.fullmatch(value):
        raise FieldError(
            field,
            "holds what a header cannot carry; use Latin-1 text without line breaks, control characters, outer spaces",
        )


def _is_among(name: str, owned: Sequence[str]) -> bool:
    return any(name.startswith(own[:-1]) if own.endswith("*") else name == own for own in owned)
