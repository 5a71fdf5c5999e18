"""Answer SalesKing's API of subs, `/api/subs`, and who the caller is, as its apps know them.

Paths may end in `.json` or a slash. Bodies are JSON (`{"sub": {…}}`) or form fields (`sub[channel]=…`), whatever the
content type says. An access token is shown as `Authorization: Bearer TOKEN` or in the query. What is wrong is told as
pairs of field and words, which its SDK puts together to a sentence. OAuth is `api.salesking_oauth`'s.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from angarium.api.answering import Answering, status_of_error
from angarium.api.native.bodies import parse, read_bytes
from angarium.api.problems import retry_after_s
from angarium.api.salesking_oauth import PREFIX, build_oauth
from angarium.api.salesking_routes import Forked, route
from angarium.core.moments import format_us
from angarium.errors import Busy, FieldError, Malformed, RateExceeded, StoreAway, Unauthorized
from angarium.operations.salesking import SubInvalid, Subs, channel_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp

    from angarium.api.salesking_routes import Calls
    from angarium.model.registry import Grant
    from angarium.model.subscription import Subscription
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects, Served

    Document = dict[str, Any]

_ALL: Final = "/api/subs"
_PER_PAGE: Final = 50
_PER_PAGE_MAX: Final = 200
_FIELDS_MAX: Final = 100


def build(context: Context, callers: Callers, _: Projects) -> ASGIApp:
    """Return what answers for all projects of the dialect."""
    api = _Api(context)
    paths: dict[str, Calls] = {
        _ALL: {"GET": api.list_all, "POST": api.create},
        f"{_ALL}/channels": {"GET": api.list_channels},
        f"{_ALL}/{{id}}": {"GET": api.show, "PUT": api.change, "PATCH": api.change, "DELETE": api.remove},
        "/api/users/current": {"GET": api.show_user},
        "/api/companies/current": {"GET": api.show_company},
    }
    subs = Answering([route(path, calls) for path, calls in paths.items()], _refuse)
    return Forked(PREFIX, build_oauth(context, callers), subs)


class _Api:
    """The calls."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._subs = Subs(context)

    async def list_channels(self, request: Request) -> Response:
        return _json(self._subs.channels(_served(request), await self._caller(request)))

    async def list_all(self, request: Request) -> Response:
        found = await self._subs.listed(await self._caller(request))
        return _json(_collection(request, found))

    async def create(self, request: Request) -> Response:
        grant, asked = await self._caller(request), await _read_sub(request)
        made = await self._subs.create(
            _served(request), grant, channel=asked.get("channel", ""), callback_url=asked.get("callback_url", "")
        )
        return _json(_shown(request, made), 201)

    async def show(self, request: Request) -> Response:
        return _json(_shown(request, await self._subs.get(await self._caller(request), request.path_params["id"])))

    async def change(self, request: Request) -> Response:
        grant, asked = await self._caller(request), await _read_sub(request)
        changed = await self._subs.change(
            _served(request),
            grant,
            request.path_params["id"],
            channel=asked.get("channel"),
            callback_url=asked.get("callback_url"),
        )
        return _json(_shown(request, changed))

    async def remove(self, request: Request) -> Response:
        grant = await self._caller(request)
        return _json(_shown(request, await self._subs.delete(_served(request), grant, request.path_params["id"])))

    async def show_user(self, request: Request) -> Response:
        grant = await self._caller(request)
        user = {
            "id": grant.user,
            "company_id": grant.tenant,
            "email": grant.email or None,
            "first_name": None,
            "last_name": None,
            "language": None,
        }
        return _json({"user": user, "links": [{"rel": "self", "href": _href(request, "/api/users/current")}]})

    async def show_company(self, request: Request) -> Response:
        grant = await self._caller(request)
        tenant = await self._store.tenant(grant.project, grant.tenant)
        company = {
            "id": grant.tenant,
            "name": tenant.title if tenant is not None and tenant.title else None,
            "sub_domain": grant.sub_domain or None,
        }
        return _json({"company": company, "links": [{"rel": "self", "href": _href(request, "/api/companies/current")}]})

    async def _caller(self, request: Request) -> Grant:
        return await self._subs.caller(_served(request), _token(request))


# -- reading -----------------------------------------------------------------------------------------------------------


def _served(request: Request) -> Served:
    served: Served = request.scope["served"]
    return served


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme:
        return token.strip() if scheme.lower() == "bearer" else ""
    return request.query_params.get("access_token", "")


async def _read_sub(request: Request) -> dict[str, str]:
    """Return what a body says of a sub; what it says besides is passed over, as SalesKing does."""
    body = await read_bytes(request)
    is_json = body.lstrip()[:1] in {b"{", b"["} or "json" in request.headers.get("content-type", "").lower()
    given = _json_members(body) if is_json and body.strip() else _form_members(body)
    asked = {name: given[name] for name in ("channel", "callback_url") if given.get(name) is not None}
    faults = [(name, "is invalid") for name, value in asked.items() if not isinstance(value, str) or "\0" in value]
    if faults:
        raise SubInvalid(faults)
    return asked


def _json_members(body: bytes) -> Document:
    document = parse(body)
    sub = document.get("sub") if isinstance(document, dict) else None
    return sub if isinstance(sub, dict) else {}


def _form_members(body: bytes) -> Document:
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise Malformed("the body is neither JSON nor form fields in UTF-8") from error
    return {name[4:-1]: value for name, value in fields if name.startswith("sub[") and name.endswith("]")}


# -- showing -----------------------------------------------------------------------------------------------------------


def _shown(request: Request, subscription: Subscription) -> Document:
    sub = {
        "id": subscription.external_id,
        "channel": channel_of(subscription),
        "callback_url": subscription.url,
        "company_id": subscription.tenant,
        "created_at": _moment(subscription.created_ms),
        "updated_at": _moment(subscription.updated_ms),
    }
    href = _href(request, f"{_ALL}/{subscription.external_id}")
    rels = (("self", href), ("instances", _href(request, _ALL)), ("update", href), ("destroy", href))
    return {"sub": sub, "links": [{"rel": rel, "href": each} for rel, each in rels]}


def _collection(request: Request, found: Sequence[Subscription]) -> Document:
    page = max(1, _whole(request, "page", 1))
    per_page = min(max(1, _whole(request, "per_page", _PER_PAGE)), _PER_PAGE_MAX)
    pages = max(1, ceil(len(found) / per_page))

    def link(number: int) -> str | None:
        query = urlencode({"page": number, "per_page": per_page})
        return _href(request, f"{_ALL}?{query}") if 1 <= number <= pages else None

    return {
        "subs": [_shown(request, each) for each in found[(page - 1) * per_page : page * per_page]],
        "collection": {
            "total_pages": pages,
            "total_entries": len(found),
            "current_page": page,
            "per_page": per_page,
        },
        "links": {"prev": link(page - 1), "next": link(page + 1), "self": link(page)},
    }


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _href(request: Request, path: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}{path}"


def _moment(moment_ms: int) -> str:
    return format_us(moment_ms // 1000 * 1_000_000)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401  any JSON
    fields = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(document), status, fields, "application/json")


def _refuse(_: Request, error: Exception) -> Response:
    """Say what went wrong as SalesKing does: `{"errors": [[field, words]]}`."""
    status = status_of_error(error)
    faults, headers = [("base", str(error))], dict[str, str]()
    match error:
        case _ if status == 500:
            faults = [("base", "the server has a fault here")]
        case HTTPException():
            faults = [("base", "there is nothing here" if status == 404 else "this method is not allowed here")]
            headers.update(error.headers or {})
        case SubInvalid():
            faults = list(error.faults)
        case FieldError(field=field, detail=detail) if field:
            faults = [(field, detail)]
        case RateExceeded() | Busy() | StoreAway():
            headers["retry-after"] = str(retry_after_s(error))
        case Unauthorized():
            headers["www-authenticate"] = 'Bearer realm="api"'
        case _:
            pass
    return _json({"errors": faults}, status, headers)
