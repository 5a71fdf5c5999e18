"""Say what went wrong as `application/problem+json` (RFC 9457), the same from every route."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

import msgspec

from angarium import errors
from angarium.api.replies import Reply
from angarium.errors import AngariumError, Busy, FieldError, RateExceeded, StoreAway

CONTENT_TYPE: Final = "application/problem+json"
_STORE_AWAY_S: Final = 2

STATUS: Final[dict[type[AngariumError], int]] = {
    errors.BadCursor: 422,
    errors.Busy: 503,
    errors.Conflict: 409,
    errors.CursorGone: 410,
    errors.FieldError: 422,
    errors.Forbidden: 403,
    errors.KeyInUse: 409,
    errors.KeyReused: 422,
    errors.Malformed: 400,
    errors.NotFound: 404,
    errors.RateExceeded: 429,
    errors.StoreAway: 503,
    errors.TooLarge: 413,
    errors.Unauthorized: 401,
    errors.UnsupportedType: 415,
}
"""What each error of the family is over HTTP. The rest is a fault of ours."""


def problem(error: Exception) -> Reply:
    """Return the answer to a request that met this error; a fault of ours tells nothing of itself."""
    status = status_of(error)
    if status == 500:
        return as_reply(500, "the server has a fault here; its log tells more under this answer's x-request-id")
    headers: list[tuple[str, str]] = []
    match error:
        case FieldError(field=field, detail=detail) if field:
            return as_reply(status, str(error), faults=[{"field": field, "detail": detail}])
        case errors.BadCursor():
            return as_reply(status, str(error), faults=[{"field": "after", "detail": str(error)}])
        case Busy() | RateExceeded() | StoreAway():
            headers.append(("retry-after", str(retry_after_s(error))))
        case errors.Unauthorized():
            headers.append(("www-authenticate", "Bearer"))
        case _:
            pass
    return as_reply(status, str(error), headers=headers)


def retry_after_s(error: Busy | RateExceeded | StoreAway) -> int:
    """Return in how many seconds it is worth asking again."""
    return _STORE_AWAY_S if isinstance(error, StoreAway) else error.retry_after_s


def status_of(error: Exception) -> int:
    """Return the status that an error is answered with."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def as_reply(
    status: int,
    detail: str,
    *,
    faults: list[dict[str, str]] | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> Reply:
    """Return a problem document as an answer; `faults` are its `errors`, with `field` and `detail`."""
    title = HTTPStatus(status).phrase
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if faults:
        document["errors"] = faults
    return Reply(status, (("content-type", CONTENT_TYPE), *(headers or ())), _encode(document))


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:  # Half a surrogate pair, echoed out of what was asked.
        return json.dumps(document).encode()
