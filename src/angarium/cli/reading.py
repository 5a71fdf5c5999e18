"""Read what people type: moments, spans, JSON, files, headers, secrets. What to do with it is the commands' to say."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from angarium.errors import FieldError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def moment(text: str | None, *, field: str, now: datetime) -> str | None:
    """Return a moment in RFC 3339; None stays None.

    It is given as one, as a span before `now` such as `2h`, or as one after it such as `+2h`.
    """
    if text is None:
        return None
    if text.startswith("+") and _SPAN.fullmatch(text[1:]):
        return _written(now + timedelta(seconds=span_s(text[1:], field=field)))
    if _SPAN.fullmatch(text):
        return _written(now - timedelta(seconds=span_s(text, field=field)))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise FieldError(
            field, f"{text!r} is no moment; write 2026-11-22T09:00:00Z, or a span: 2h back from now, +2h on from it"
        ) from None
    return _written(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def span_s(text: str, *, field: str) -> float:
    """Return a span in seconds, given as a number of them or with a unit: `300ms`, `3s`, `5m`, `2h`, `7d`."""
    if found := _SPAN.fullmatch(text):
        return float(found[1]) * _UNIT_S[found[2]]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise FieldError(field, f"{text!r} is no span; write seconds, or a number with its unit: 300ms, 3s, 5m, 2h")
    return seconds


def per_second(text: str, *, field: str) -> float:
    """Return a rate per second, given as `5`, `5/s`, `600/m` or `1000/h`."""
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / _UNIT_S[unit or "s"]
    except (ValueError, KeyError):
        rate = 0
    if not 0 < rate < float("inf"):
        raise FieldError(field, f"{text!r} is no rate; write 5/s, 600/m or 1000/h")
    return rate


def text_or_file(text: str, *, field: str) -> str:
    """Return text as it is, or what a file holds when it is given as `@path`; `@-` is standard input."""
    if not text.startswith("@"):
        return text
    try:
        return read_bytes(text[1:]).decode()
    except UnicodeDecodeError as error:
        raise FieldError(field, f"{text[1:]} is not UTF-8 text") from error


def read_bytes(path: str) -> bytes:
    """Return a file's bytes; `-` is standard input."""
    return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()


def json_or_file(text: str, *, field: str) -> Any:  # noqa: ANN401  JSON
    """Return JSON, given as text or as `@path`."""
    try:
        return json.loads(text_or_file(text, field=field))
    except ValueError as error:
        raise FieldError(field, f"is no JSON: {error}; quote it for the shell, or give it as @file.json") from error


def headers(lines: list[str] | None, *, field: str) -> dict[str, str]:
    """Return headers, given as `name: value`."""
    pairs: dict[str, str] = {}
    for line in lines or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise FieldError(field, f"{line!r} is no header; write name: value")
        pairs[name.strip()] = value.strip()
    return pairs


def options(texts: list[str] | None, *, field: str) -> dict[str, str | bool | None]:
    """Return a dialect's options, given as `name=value`: true and false, a text or `@path`, and nothing for none."""
    found: dict[str, str | bool | None] = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise FieldError(field, f"{text!r} is no option; write name=value")
        plain = text_or_file(value, field=field).strip()
        found[name.strip()] = {"true": True, "false": False, "": None}.get(plain, plain)
    return found


def words(texts: list[str] | None) -> list[str] | None:
    """Return a list that was given by repeating the flag, or with commas; None stays None."""
    if texts is None:
        return None
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def secrets(texts: list[str] | None, *, field: str) -> list[str]:
    """Return secrets, each given as it is or as `@path`, so that it stays out of the shell's history."""
    return [text_or_file(text, field=field).strip() for text in texts or []]


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
