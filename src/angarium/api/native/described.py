"""Describe a route for OpenAPI: what its caller's key must allow, what it answers, and which problems it may meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from angarium.api.native.routing import CALL
from angarium.api.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from angarium.core.scopes import Call

_PROBLEM = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_PROBLEMS = {
    401: "No key, or one that is unknown or expired.",
    403: "The key's scope does not include this call.",
    404: "There is no such thing here.",
    409: "The thing's present state does not allow this.",
    410: "The cursor is older than what the log still holds.",
    422: "A field is wrong; `errors` names it.",
}
_ALWAYS = (401, 403, 404, 422)


def described(  # noqa: PLR0913  what a route may say of itself
    call: Call | None,
    tag: str,
    *,
    shows: str | None = None,
    status: int = 200,
    also: int | None = None,
    streams: str | None = None,
    problems: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Return a route's arguments.

    `shows` and `streams` name schemas: of the answer, and of each event of a stream. `also` is another status of the
    answer; `problems` are the statuses of refusals besides the usual ones.
    """
    answers = {code: _answer(shows, streams) for code in (status, also) if code is not None}
    refusals = {code: {"description": _PROBLEMS[code], **_PROBLEM} for code in sorted({*_ALWAYS, *problems})}
    needs: dict[str, Any] = {CALL: call} if call is not None else {"security": []}
    return {"openapi_extra": needs, "tags": [tag], "status_code": status, "responses": {**answers, **refusals}}


def _answer(shows: str | None, streams: str | None) -> dict[str, Any]:
    if shows is None:
        return {"description": "Done."}
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shows}"}}}
    if streams is not None:
        content["text/event-stream"] = {"schema": {"$ref": f"#/components/schemas/{streams}"}}
    return {"description": "Done.", "content": content}
