"""Judge an answer by its status, as receivers of Standard Webhooks mean it. What follows is decided elsewhere.

| status | outcome |
|---|---|
| 2xx | `Accepted` |
| 410 | `Gone` |
| 429, 503 | `Throttled`, with what `Retry-After` asks for |
| 408, other 5xx | `Silent`: the receiver is not well |
| 3xx, other 4xx | `Refused`: an answer to this request, redirects included, for none is ever followed |
| below 200, above 599 | `Silent` (`bad_answer`) |

`Refused`, `Throttled` and `Silent` are all tried again; only the last two tell of the receiver's health.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from angarium.model.delivery import Accepted, Gone, Outcome, Refused, Silent, Throttled
from angarium.model.wire import Reason

if TYPE_CHECKING:
    from angarium.model.wire import Response

RETRY_AFTER_S_MIN = 1.0
RETRY_AFTER_S_MAX = 86_400.0

_DIGITS_MAX = 9
_DATE_LENGTH_MAX = 64


def judge_by_status(response: Response, now_s: float) -> Outcome:
    """Say what the receiver did; `now_s`, wall-clock seconds, serves a `Retry-After` date where no `Date` is."""
    match response.status:
        case status if 200 <= status <= 299:
            return Accepted(status)
        case 410:
            return Gone()
        case 429 | 503 as status:
            return Throttled(status, retry_after(response, now_s))
        case status if status == 408 or 500 <= status <= 599:
            return Silent(Reason.STATUS, status)
        case status if 300 <= status <= 499:
            return Refused(status)
        case status:
            return Silent(Reason.BAD_ANSWER, status)


def retry_after(response: Response, now_s: float) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, between 1 and 86,400; None when it makes no sense.

    A date counts from the answer's own `Date`, so that a receiver's wrong clock does no harm; from `now_s` without one.
    A date that has passed asks for the shortest wait. RFC 9110, sections 5.6.7 and 10.2.3.
    """
    asked = _header(response, "retry-after").strip()
    if asked.isascii() and asked.isdigit():
        digits = asked.lstrip("0") or "0"
        return _clamp(float(digits)) if len(digits) <= _DIGITS_MAX else RETRY_AFTER_S_MAX
    until_s = _date(asked)
    if until_s is None:
        return None
    from_s = _date(_header(response, "date"))
    return _clamp(until_s - (now_s if from_s is None else from_s))


def _header(response: Response, wanted: str) -> str:
    return next((value for name, value in response.headers if name == wanted), "")


def _clamp(wait_s: float) -> float:
    return min(max(wait_s, RETRY_AFTER_S_MIN), RETRY_AFTER_S_MAX)


def _date(text: str) -> float | None:
    if len(text) > _DATE_LENGTH_MAX:
        return None
    try:
        date = parsedate_to_datetime(text)
        # Two of the three HTTP forms name GMT, the third (asctime) means it.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
