"""Write and read moments: RFC 3339 in UTC outside, whole microseconds or milliseconds since the epoch inside.

What is written ends in `Z`, with no fraction when there is none, else with three or six digits of it. What is read may
have any offset; digits after the sixth are cut off. RFC 3339, section 5.6.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from angarium.errors import FieldError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_LENGTH_MAX = 64


def format_us(moment_us: int, *, digits: int = 0) -> str:
    """Return microseconds since the epoch (years 1 to 9999) as RFC 3339, with at least so many digits of a fraction."""
    second, fraction = divmod(moment_us, 1_000_000)
    if fraction == 0 and digits == 0:
        return f"{_second(second)}Z"
    if fraction % 1000 == 0 and digits <= 3:
        return f"{_second(second)}.{fraction // 1000:03d}Z"
    return f"{_second(second)}.{fraction:06d}Z"


def digits_of(moment_us: int) -> int:
    """Return how many digits of a fraction it takes to write a moment: 0, 3 or 6."""
    if moment_us % 1_000_000 == 0:
        return 0
    return 3 if moment_us % 1000 == 0 else 6


def format_ms(moment_ms: int) -> str:
    """Return milliseconds since the epoch (years 1 to 9999) as RFC 3339."""
    return format_us(moment_ms * 1000)


def parse_us(text: str, *, field: str) -> int:
    """Return the microseconds since the epoch that an RFC 3339 text names; `FieldError` for any other text."""
    form = _FORM.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if form is None:
        raise FieldError(
            field, f"{text[:_LENGTH_MAX]!r} is no moment; write it as RFC 3339, such as 2026-11-22T08:59:58Z"
        )
    day, time, fraction, offset = form.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{'+00:00' if offset in 'Zz' else offset}")
        return (moment - _EPOCH) // _MICROSECOND + int((fraction or "").ljust(6, "0"))
    except (ValueError, OverflowError) as error:
        raise FieldError(field, f"{text!r} is on no calendar ({error}); name a day and time that exist") from error


def parse_ms(text: str, *, field: str) -> int:
    """Return the milliseconds since the epoch that an RFC 3339 text names, rounded down; `FieldError` otherwise."""
    return parse_us(text, field=field) // 1000


@lru_cache(maxsize=1024)  # Events come in the order of their seconds, hundreds in each.
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
