"""Read from when to when something is asked for."""

from __future__ import annotations

from msgspec import Struct

from angarium.core.moments import parse_ms
from angarium.errors import FieldError


class Window(Struct, frozen=True):
    """From a moment on, until before another; None where it is open. Milliseconds."""

    since_ms: int | None = None
    until_ms: int | None = None


def read_window(
    since: str | None, until: str | None, *, since_field: str = "since", until_field: str = "until"
) -> Window:
    """Return the window that two RFC 3339 texts name; `FieldError` unless they are moments, the first not later."""
    window = Window(
        None if since is None else parse_ms(since, field=since_field),
        None if until is None else parse_ms(until, field=until_field),
    )
    if window.since_ms is not None and window.until_ms is not None and window.since_ms > window.until_ms:
        raise FieldError(until_field, f"{until} lies before {since}; swap them")
    return window
