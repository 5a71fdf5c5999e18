"""Answer OAuth for SalesKing's apps: `/oauth/authorize`, `consent`, `token`, `revoke` and `introspect`.

The token is had in the new way, a POST with the app's id and secret as HTTP Basic (or in the form), and in the old one,
a GET with all of it in the query. Introspection is for the publisher, with a key of the native API that may read the
registry, and for apps on their own tokens.
"""

from __future__ import annotations

from base64 import b64decode
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from angarium.api.answering import Answering, status_of_error
from angarium.api.native.bodies import read_bytes
from angarium.api.problems import retry_after_s
from angarium.api.salesking_routes import route
from angarium.core.addressing import parse
from angarium.core.scopes import Call as Needed
from angarium.core.scopes import check
from angarium.errors import Busy, FieldError, Forbidden, NotFound, RateExceeded, StoreAway, Unauthorized
from angarium.operations.consenting import Consents
from angarium.operations.oauth import OAuth, OAuthError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from angarium.api.salesking_routes import Calls
    from angarium.model.registry import App
    from angarium.operations.callers import Callers
    from angarium.operations.consenting import Consent
    from angarium.operations.context import Context
    from angarium.operations.grants import Granted
    from angarium.operations.projects import Served

PREFIX: Final = "/oauth/"
_NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_PAGES: Final = frozenset({"/oauth/authorize", "/oauth/consent"})
_FIELDS_MAX: Final = 100


def build_oauth(context: Context, callers: Callers) -> Answering:
    """Return what answers the paths below `/oauth/`."""
    api = _Api(context, callers)
    paths: dict[str, Calls] = {
        "/oauth/authorize": {"GET": api.authorize},
        "/oauth/consent": {"GET": api.ask, "POST": api.answer},
        "/oauth/token": {"GET": api.token_of_old, "POST": api.token},
        "/oauth/revoke": {"POST": api.revoke},
        "/oauth/introspect": {"POST": api.introspect},
    }
    return Answering([route(path, calls, with_head=False) for path, calls in paths.items()], _refuse)


class _Api:
    """The calls."""

    def __init__(self, context: Context, callers: Callers) -> None:
        self._clock = context.clock
        self._callers = callers
        self._oauth = OAuth(context)
        self._consents = Consents(context)

    # -- what a user's browser asks --------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        return _leave(await self._oauth.authorize(_served(request), _query(request)), 302)

    async def ask(self, request: Request) -> Response:
        query = _query(request)
        consent = await self._consents.ask(_served(request), query.get("request", ""), query.get("assertion", ""))
        page = _consent_page(consent, f"{request.scope['root_path']}/oauth/consent")
        return _page(page, form_action=f"'self' {parse(consent.returns_to).origin}")

    async def answer(self, request: Request) -> Response:
        form = await _form(request)
        answer = form.get("answer", "")
        if answer not in {"allow", "refuse"}:
            raise FieldError("answer", "is neither allow nor refuse")
        to = await self._consents.answer(_served(request), form.get("ticket", ""), is_allowed=answer == "allow")
        return _leave(to, 303)

    # -- what an app or the publisher asks -------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        app = await self._client(request, form)
        kind = form.get("grant_type", "")
        if kind != "authorization_code":
            code = "unsupported_grant_type" if kind else "invalid_request"
            raise OAuthError(code, "the grant_type may only be authorization_code")
        return _token(await self._oauth.exchange(_served(request), app, form))

    async def token_of_old(self, request: Request) -> Response:
        query = _query(request)
        app = await self._client(request, query)
        if query.get("grant_type", "authorization_code") != "authorization_code":
            raise OAuthError("unsupported_grant_type", "the grant_type may only be authorization_code")
        return _token(await self._oauth.exchange(_served(request), app, query))

    async def revoke(self, request: Request) -> Response:
        form = await _form(request)
        app = await self._client(request, form)
        await self._oauth.revoke(_served(request), app, _needed(form, "token"))
        return _json({})

    async def introspect(self, request: Request) -> Response:
        form = await _form(request)
        shown = request.headers.get("authorization", "")
        if shown[:7].lower() == "bearer ":
            await self._check_publisher(request, shown)
            app = None
        else:
            app = await self._client(request, form)
        return _json(await self._oauth.introspect(_served(request), _needed(form, "token"), app=app))

    async def _check_publisher(self, request: Request, shown: str) -> None:
        key = await self._callers.find(shown, now_ms=self._clock.now().wall_ms)
        try:
            check(key, Needed.READ_REGISTRY, _served(request).project.name)
        except NotFound as error:
            raise Forbidden("the key is another project's") from error

    async def _client(self, request: Request, fields: dict[str, str]) -> App:
        """Return the app that calls. RFC 6749, section 2.3.1."""
        named = _basic(request.headers.get("authorization", ""))
        if named is None:
            named = fields.get("client_id", ""), fields.get("client_secret", "")
        elif fields.get("client_id", named[0]) != named[0]:
            raise OAuthError("invalid_request", "the client_id is not that of the Authorization header")
        return await self._oauth.client(_served(request), *named)


# -- reading -----------------------------------------------------------------------------------------------------------


def _served(request: Request) -> Served:
    served: Served = request.scope["served"]
    return served


def _query(request: Request) -> dict[str, str]:
    return _once(request.query_params.multi_items())


async def _form(request: Request) -> dict[str, str]:
    body = await read_bytes(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise OAuthError("invalid_request", "the body is no form in UTF-8") from error
    return _once(pairs)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters by name; each may come once. RFC 6749, section 3.1."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise OAuthError("invalid_request", f"{name[:40]!a} comes twice")
        found[name] = value
    return found


def _needed(fields: dict[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise OAuthError("invalid_request", f"the {name} is missing")
    return value


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (unquote_plus(client_id), unquote_plus(secret)) if colon else ("", "")


# -- showing -----------------------------------------------------------------------------------------------------------


def _token(granted: Granted) -> Response:
    grant = granted.grant
    document: dict[str, Any] = {
        "access_token": granted.token,
        "token_type": "Bearer",
        "expires_in": grant.code_terms["expires_in"],
    }
    if grant.scope is not None:
        document["scope"] = grant.scope
    return _json(document)


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401  any JSON
    return Response(msgspec.json.encode(document), status, {**_NO_STORE, **(headers or {})}, "application/json")


def _leave(to: str, status: int) -> Response:
    return Response(status_code=status, headers={**_NO_STORE, "location": to, "referrer-policy": "no-referrer"})


def _refuse(request: Request, error: Exception) -> Response:
    """Say what went wrong: to browsers as a page, to apps as OAuth does."""
    status, text, headers = status_of_error(error), str(error), dict[str, str]()
    code = error.code if isinstance(error, OAuthError) else "invalid_request"
    match error:
        case OAuthError():
            status = 401 if code == "invalid_client" else 400
            headers = {"www-authenticate": 'Basic realm="oauth"'} if status == 401 else {}
        case FieldError():
            status = 400
        case HTTPException():
            text = "there is nothing here" if status == 404 else "this method is not allowed here"
            headers.update(error.headers or {})
        case Unauthorized():
            code, headers = "invalid_client", {"www-authenticate": "Bearer"}
        case RateExceeded() | Busy() | StoreAway():
            code, headers = "temporarily_unavailable", {"retry-after": str(retry_after_s(error))}
        case _ if status == 500:
            code, text = "server_error", "the server has a fault here"
        case _:
            pass
    if request.scope["path"] in _PAGES:
        return _page(f"<h1>This did not work</h1><p>{escape(text)}</p>", status=status, headers=headers)
    return _json({"error": code, "error_description": text}, status, headers)


# -- the page ----------------------------------------------------------------------------------------------------------

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } .from { opacity: .75; }
button { font: inherit; padding: .5rem 1.5rem; margin-right: .5rem; border-radius: 6px; border: 1px solid #888; }
button[value=allow] { background: #0a6; border-color: #0a6; color: #fff; }
"""


def _consent_page(consent: Consent, action: str) -> str:
    home = parse(consent.app.url).origin
    rights = "".join(f"<li>{escape(right)}</li>" for right in consent.rights)
    return (
        f"<h1>{escape(consent.app.name)} asks for access</h1>"
        f'<p class="from">It lives at {escape(home)}. '
        f"You are {escape(consent.user)} of {escape(consent.tenant)}.</p>"
        f"<p>It wants to</p><ul>{rights}</ul>"
        f'<form method="post" action="{escape(action)}">'
        f'<input type="hidden" name="ticket" value="{escape(consent.ticket)}">'
        '<button name="answer" value="allow">Allow</button><button name="answer" value="refuse">Refuse</button></form>'
    )


def _page(
    content: str, *, status: int = 200, form_action: str = "'none'", headers: dict[str, str] | None = None
) -> Response:
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {form_action}"
    )
    fields = {
        **_NO_STORE,
        "content-security-policy": policy,
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        **(headers or {}),
    }
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Access</title><style>{_STYLE}</style>'
    return HTMLResponse(f"{head}<body>{content}</body></html>", status, fields)
