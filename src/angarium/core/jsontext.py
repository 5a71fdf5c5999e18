"""Read JSON text as it came: what is wrong with it, how deep it nests, what it holds. What it means is said elsewhere.

Numbers are read exactly where they are whole, else as the nearest double; one beyond a double's range is an infinity.
RFC 8259, sections 2 to 8.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

import msgspec

from angarium.errors import Malformed

_decode = msgspec.json.Decoder().decode
_KINDS = {'"': "a text", "{": "an object", "[": "an array", "t": "true", "f": "false", "n": "null"}
_TEXT = re.compile(rb'"[^"]*"')
_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(_PAIR + rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)
_BYTE = re.compile(r" ?\(byte (\d+)\)")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 12


def read(text: bytes) -> object:
    """Return what a JSON text holds; `ValueError` or `RecursionError` when it is none or nests too deep."""
    try:
        return _decode(text)
    except msgspec.ValidationError:  # A number out of range, which it only says of those.
        return json.loads(text, parse_int=_whole)


def kind(text: bytes) -> str:
    """Say in words what a JSON value is, from its first byte."""
    return _KINDS.get(chr(text[0]), "a number")


def kind_of(value: object) -> str:
    """Say in words what a value that was read is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case dict():
            return "an object"
        case _:
            return "an array"


def nests_deeper(text: bytes, than: int) -> bool:
    """Say whether arrays and objects nest in more levels than that; anything may be said of what is no JSON."""
    if text.count(b"[") + text.count(b"{") <= than:
        return False
    brackets = _brackets(text)
    for _ in range(than):  # Each turn takes the innermost level away, all over the text.
        outer = brackets.replace(b"[]", b"")
        if len(outer) == len(brackets):
            return False
        brackets = outer
    return bool(brackets)


def _brackets(text: bytes) -> bytes:
    """Return the brackets that are not in texts, as `[` and `]`; at the speed of C where texts hold none."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes with nothing between them may go, be they a text's or those of two: each bracket after them still has
    # an even number of quotes before it, or still an odd one.
    marks = text.translate(_TO_BRACKETS, _NO_MARKS).replace(b'""', b"")
    return _TEXT.sub(b"", marks) if b'"' in marks else marks


def check_utf8(text: bytes, *, what: str) -> None:
    """Raise `Malformed` unless a text is UTF-8; `what` names it."""
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Malformed(
            f"{what} is no UTF-8: byte {error.start} is 0x{text[error.start]:02x}; send JSON in UTF-8"
        ) from None


def refuse(text: bytes, error: Exception, *, what: str) -> NoReturn:
    """Raise `Malformed` that explains, better than msgspec, why a text is no JSON; `what` names it."""
    raise Malformed(f"{what} is no JSON: {_problem(text, str(error))}") from None


def _problem(text: bytes, said: str) -> str:
    if not text.strip():
        return "it is empty"
    if text.startswith(_BOM):
        return "it begins with a byte order mark; leave that out"
    lone = next((found for found in _ESCAPE.finditer(text) if found[1]), None)
    if lone is not None:
        return f"byte {lone.start()} begins {lone[1].decode()}, half of a surrogate pair; write the whole character"
    place = _BYTE.search(said)
    reason = _BYTE.sub("", said.removeprefix("JSON is malformed: "))
    if place is None:
        return "it ends too early" if "truncated" in said else reason
    at = int(place[1])
    found = text[at : at + _SHOWN].decode(errors="replace")
    if found.lstrip("-").startswith(("NaN", "Infinity")):
        return f"{found.split(',')[0]!r} at byte {at}; JSON has neither NaN nor Infinity, send null or a text instead"
    return f"{reason} at byte {at}, before {found!r}" if found else f"{reason} at its end"


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # More digits than Python reads.
        return float(digits)
