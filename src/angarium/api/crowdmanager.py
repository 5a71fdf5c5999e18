"""Answer CROWDMANAGER's push service, `/v2/{organization}/…`, as its clients know it.

Bodies are in an early form of JSON:API, with a member named by the type (`{"subscriptions": {…}}`), in either of its
media types. A caller shows an organisation's key as `Authorization: Basic KEY`, as it is, not encoded. Paths are served
with and without a slash at their end, and names in a query may be spelt in any case.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from angarium.api.answering import Answering, status_of_error
from angarium.api.native import shown as native
from angarium.api.native.bodies import parse, read_body, read_bytes
from angarium.api.problems import retry_after_s
from angarium.core.jsontext import kind_of
from angarium.core.moments import format_ms
from angarium.core.scopes import Call, check
from angarium.dialects.crowdmanager import FORMATS, JSON_API, PLAIN
from angarium.errors import Busy, FieldError, RateExceeded, StoreAway, Unauthorized
from angarium.operations.crowdmanager import Pushes, Wanted
from angarium.operations.exporting import ExportAsked, Exports
from angarium.operations.feeds import Feeds
from angarium.operations.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.crowdmanager import Shown
    from angarium.operations.exporting import Export
    from angarium.operations.projects import Projects, Served

    Document = dict[str, Any]

_BASE: Final = "/v2/{organization}"
_ALL: Final = _BASE + "/pushservice/subscriptions"
_ONE: Final = _ALL + "/{id}"
_FEED: Final = _ONE + "/feed"
_EXPORT: Final = _BASE + "/customerinsights/customerprofiles/export"

_TYPE: Final = "subscriptions"
_MEMBERS: Final = {
    "event": ("event", str),
    "url": ("url", str),
    "format": ("format", str),
    "isEnabled": ("is_enabled", bool),
    "isValidated": ("is_validated", bool),
    "validationToken": ("token", str),
}
"""What a body may say, as what, of which type; the rest of what a GET shows is passed over."""

_LIMIT: Final = 50
_LIMIT_MAX: Final = 250
_WAIT_S_MAX: Final = 30


def build(context: Context, callers: Callers, _: Projects) -> Answering:
    """Return what answers for all projects of the dialect."""
    api = _Api(context, callers)
    paths: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
        _ALL: {"GET": api.list_all, "POST": api.create},
        _ONE: {"GET": api.show, "PUT": api.change, "DELETE": api.remove},
        _FEED: {"GET": api.read_feed},
        _EXPORT: {"GET": api.show_export, "POST": api.start_export},
    }
    return Answering([_route(path + slash, calls) for path, calls in paths.items() for slash in ("", "/")], _refuse)


def _route(path: str, calls: dict[str, Callable[[Request], Awaitable[Response]]]) -> Route:
    """Return one route for all methods of a path, so that a 405 names them all."""

    async def answer(request: Request) -> Response:
        return await calls["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(calls))


class _Api:
    """The calls."""

    def __init__(self, context: Context, callers: Callers) -> None:
        self._clock = context.clock
        self._callers = callers
        self._pushes = Pushes(context)
        self._exports = Exports(context, self._pushes)
        self._feeds = Feeds(context)

    async def list_all(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.READ)
        found = await self._pushes.listed(reach, organization, event=_query(request).get("eventname"))
        return _answer(request, {_TYPE: [_whole(request, each) for each in found]})

    async def create(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        made = await self._pushes.create(reach, organization, _wanted(await _body(request)))
        return _answer(request, {_TYPE: _brief(request, made)}, 201)

    async def show(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.READ)
        found = await self._pushes.get(reach, organization, request.path_params["id"])
        return _answer(request, {_TYPE: _whole(request, found)})

    async def change(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        wanted = _wanted(await _body(request))
        changed = await self._pushes.change(reach, organization, request.path_params["id"], wanted)
        return _answer(request, {_TYPE: _whole(request, changed)})

    async def remove(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        await self._pushes.remove(reach, organization, request.path_params["id"])
        return Response(status_code=204)

    async def read_feed(self, request: Request) -> Response:
        """Answer with what was or would have been pushed, for whoever has missed it."""
        reach, organization = await self._reach(request, Call.READ)
        found = await self._pushes.find(reach, organization, request.path_params["id"])
        query = _query(request)
        page = await self._feeds.page(
            reach,
            found.id,
            after=query.get("after"),
            limit=_number(query, "limit", _LIMIT, at_least=1, at_most=_LIMIT_MAX),
            wait_s=_number(query, "wait_s", 0, at_least=0, at_most=_WAIT_S_MAX),
        )
        return _answer(request, {"data": [native.feed_entry(each) for each in page.data], "next": page.next})

    async def start_export(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.MANAGE_SUBSCRIPTIONS)
        asked = ExportAsked(_subscription(request), _moment(request, "since"), _moment(request, "until"))
        return _answer(request, _export(await self._exports.start(reach, organization, asked)), 202, usual=PLAIN)

    async def show_export(self, request: Request) -> Response:
        reach, organization = await self._reach(request, Call.READ)
        found = await self._exports.status(reach, organization, _subscription(request))
        return _answer(request, _export(found), usual=PLAIN)

    async def _reach(self, request: Request, call: Call) -> tuple[Reach, str]:
        """Return what whoever calls may touch, and whose; `Unauthorized`, `Forbidden`, or `NotFound` for another's."""
        served: Served = request.scope["served"]
        scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
        shown = f"Bearer {key.strip()}" if scheme.lower() in {"basic", "bearer"} and key.strip() else ""
        if not shown:
            raise Unauthorized("no key was shown; send Authorization: Basic {yourApiKey}")
        caller = await self._callers.find(shown, now_ms=self._clock.now().wall_ms)
        organization: str = request.path_params["organization"]
        check(caller, call, served.project.name, organization)
        return Reach(served, caller), organization


# -- reading -----------------------------------------------------------------------------------------------------------


async def _body(request: Request) -> object:
    """Return what a request's body holds; one that does not say what it is, is JSON."""
    if request.headers.get("content-type", "").strip():
        return await read_body(request, FORMATS)
    return parse(await read_bytes(request) or b"{}")


def _wanted(document: object) -> Wanted:
    """Return what a body asks for."""
    given = document.get(_TYPE) if isinstance(document, dict) else None
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if not isinstance(given, dict):
        raise FieldError("", f'the body lacks an object {_TYPE}; write it as {{"{_TYPE}": {{"url": "…"}}}}')
    said: dict[str, Any] = {}
    for name, (member, type_) in _MEMBERS.items():
        value = given.get(name)
        if value is not None and not isinstance(value, type_):
            raise FieldError(name, f"is {kind_of(value)}, expected {'a text' if type_ is str else 'true or false'}")
        said[member] = value
    return Wanted(**said)


def _query(request: Request) -> dict[str, str]:
    """Return a query's members, their names in lower case."""
    return {name.lower(): value for name, value in request.query_params.multi_items()}


def _subscription(request: Request) -> str:
    id_ = _query(request).get("subscriptionid", "")
    if not id_:
        raise FieldError("subscriptionId", "is missing; name the subscription to push to")
    return id_


def _moment(request: Request, name: str) -> str | None:
    """Return a moment as it was sent; the plus sign of an offset, unless encoded, arrives as a space."""
    return _query(request).get(name, "").strip().replace(" ", "+") or None


def _number(query: dict[str, str], name: str, default: int, *, at_least: int, at_most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and at_least <= int(text) <= at_most):
        raise FieldError(name, f"is {text[:20]!r}, expected a whole number from {at_least} to {at_most}")
    return int(text)


# -- answering ---------------------------------------------------------------------------------------------------------


def _brief(request: Request, found: Shown) -> Document:
    """Show a subscription as the answer to a POST does."""
    subscription = found.subscription
    return {
        "id": found.id,
        "href": f"{_base(request)}/v2/{quote(subscription.tenant, safe='')}/pushservice/subscriptions/{found.id}/",
        "type": _TYPE,
        "url": found.url,
        "isEnabled": found.flags.is_enabled,
        "isValidated": found.flags.is_validated,
        "event": found.event,
    }


def _whole(request: Request, found: Shown) -> Document:
    """Show a subscription with all that there is to see; its token is not."""
    return {
        **_brief(request, found),
        "format": found.subscription.options.get("format", JSON_API),
        "createdDateTime": format_ms(found.subscription.created_ms),
        "failingSince": format_ms(found.failing_since_ms) if found.failing_since_ms else None,
    }


def _export(found: Export) -> Document:
    job = found.job
    return {
        "id": job.id,
        "subscriptionId": found.subscription,
        "status": job.state.value,
        "since": found.since,
        "until": found.until,
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "createdDateTime": format_ms(job.created_ms),
    }


def _base(request: Request) -> str:
    """Return what stands before the paths of this API, as the caller has addressed it."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"


def _refuse(request: Request, error: Exception) -> Response:
    """Say what went wrong as JSON:API does; a wrong field is a bad request here."""
    status, text = status_of_error(error), str(error)
    headers: dict[str, str] = {}
    match error:
        case _ if status == 500:
            text = "The server has a fault here."
        case HTTPException(detail=text):
            headers.update(error.headers or {})
        case Unauthorized():
            headers["www-authenticate"] = "Basic"
        case RateExceeded() | Busy() | StoreAway():
            headers["retry-after"] = str(retry_after_s(error))
        case _ if status == 422:
            status = 400
        case _:
            pass
    fault = {"status": str(status), "title": HTTPStatus(status).phrase, "detail": text}
    usual = PLAIN if request.scope["path"].rstrip("/").endswith("/export") else JSON_API
    return _answer(request, {"errors": [fault]}, status, usual=usual, headers=headers)


def _answer(
    request: Request,
    document: Document,
    status: int = 200,
    *,
    usual: str = JSON_API,
    headers: dict[str, str] | None = None,
) -> Response:
    """Answer in the media type that is asked for, else in the one that was sent."""
    asked = request.headers.get("accept", "").lower()
    sent = request.headers.get("content-type", "").lower().partition(";")[0].strip()
    wanted = next((each for each in FORMATS if each in asked), sent if sent in FORMATS else usual)
    return Response(msgspec.json.encode(document), status, headers, wanted)
