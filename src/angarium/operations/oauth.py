"""Grant apps access as OAuth 2.0 has it: the authorization code, PKCE, revocation, introspection.

An app sends its user to `authorize`; the publisher's own login says who that is, and our page (`operations.consenting`)
asks for consent; the app exchanges the code that it gets for an access token. What travels through the user's browser
is sealed, so that nothing is kept here for those who never come back.

Sources: RFC 6749 (code), RFC 7636 (PKCE, S256 only), RFC 7009 (revocation), RFC 7662 (introspection); an exact match of
the redirect address as in RFC 9700, section 2.1.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from angarium.core.addressing import parse
from angarium.core.granting import read_scope
from angarium.errors import AngariumError, FieldError, NotFound, SecretKeyWrong
from angarium.operations.apps import find_app, is_secret_of
from angarium.operations.callers import digest_of
from angarium.operations.context import GRANTING
from angarium.operations.grants import end_grant, grant_of_token, own_reach, tell_changed, with_token
from angarium.operations.login import login_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.model.registry import App, Grant
    from angarium.operations.context import Context
    from angarium.operations.grants import Granted
    from angarium.operations.projects import Served
    from angarium.vault import Vault

    T = TypeVar("T")

REQUEST_LASTS_S: Final = 3600
"""How long a user may take to log in at the publisher."""

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_UNSAYABLE: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")  # In an error_description: RFC 6749, 4.1.2.1.
_STATE_MAX: Final = 2048


class OAuthError(AngariumError):
    """A request of OAuth's is refused; `code` is one of its words for why, the text tells more."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(_UNSAYABLE.sub("?", detail))
        self.code = code


class Asked(Struct, frozen=True):
    """What an app asks a user for, as it travels through the user's browser. `redirect_uri` is empty if not given."""

    id: str
    app: str
    scope: str | None
    state: str | None
    redirect_uri: str
    returns_to: str
    challenge: str
    until_ms: int


class OAuth:
    """Grant access."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store

    async def authorize(self, served: Served, query: Mapping[str, str]) -> str:
        """Return where a user goes whom an app has sent: to the publisher's login, or back with an error.

        `FieldError` when it is not certain where back is.
        """
        app, returns_to = await self._app_and_return(served, query)
        state = query.get("state")
        try:
            scope, challenge = _check_asked(query)
        except OAuthError as error:
            return back(returns_to, state, error=error.code, error_description=str(error))
        login = login_of(self._context.vault, served.project)
        if login is None:
            detail = "the publisher has not said where its users log in"
            return back(returns_to, state, error="temporarily_unavailable", error_description=detail)
        asked = Asked(
            id=secrets.token_hex(16),
            app=app.id,
            scope=scope,
            state=state,
            redirect_uri=query.get("redirect_uri", ""),
            returns_to=returns_to,
            challenge=challenge,
            until_ms=self._context.clock.now().wall_ms + REQUEST_LASTS_S * 1000,
        )
        return with_query(login.url, {"request": seal(self._context.vault, served, "request", asked)})

    async def client(self, served: Served, client_id: str, client_secret: str) -> App:
        """Return the app that shows its secret; `OAuthError` (`invalid_client`)."""
        try:
            app = await find_app(self._context, served.project.name, client_id)
        except NotFound:
            app = None
        if app is None or not is_secret_of(self._context, app, client_secret):
            raise OAuthError("invalid_client", "the app is unknown, or this is not its secret")
        return app

    async def exchange(self, served: Served, app: App, given: Mapping[str, str]) -> Granted:
        """Return the grant with its token that a code stands for; it is good once. `OAuthError`."""
        code = given.get("code", "")
        if not code:
            raise OAuthError("invalid_request", "the code is missing")
        digest, by = digest_of(code), own_reach(served, app.id)
        async with self._context.store.alone(GRANTING):
            found = await self._store.grant_of(digest)
            if found is None or found.code != digest or found.app != app.number:
                raise OAuthError("invalid_grant", "the code is unknown or has expired")
            if found.digest:
                # Somebody else may have got hold of it: RFC 6749, section 4.1.2.
                await end_grant(self._context, by, found, reason="its code was shown twice")
                raise OAuthError("invalid_grant", "the code was exchanged before, so its token is revoked now")
            if self._context.clock.now().wall_ms >= found.code_expires_ms:
                raise OAuthError("invalid_grant", "the code is unknown or has expired")
            _check_terms(found, app, given)
            granted = with_token(self._context, found, app, found.code_terms["expires_in"])
            await self._store.put_grant(granted.grant)
        tell_changed(granted.grant, app, by=app.id)
        return granted

    async def revoke(self, served: Served, app: App, token: str) -> None:
        """End the grant of an app's own token; another token is nothing to it. RFC 7009, section 2.2."""
        async with self._context.store.alone(GRANTING):
            found = await grant_of_token(self._context, served.project.name, token)
            if found is not None and found.app == app.number:
                await end_grant(self._context, own_reach(served, app.id), found, reason="its app gave it back")

    async def introspect(self, served: Served, token: str, *, app: App | None) -> dict[str, Any]:
        """Return what a token stands for (RFC 7662, section 2.2), to the publisher or (not None) to its own app."""
        found = await grant_of_token(self._context, served.project.name, token)
        if found is None or (app is not None and found.app != app.number):
            return {"active": False}
        owner = app or await self._store.app(found.app)
        document: dict[str, Any] = {"active": True}
        if found.scope is not None:
            document["scope"] = found.scope
        return {
            **document,
            "client_id": owner.id if owner is not None else None,
            "username": found.email or None,
            "token_type": "Bearer",
            "exp": found.expires_ms // 1000,
            "iat": found.created_ms // 1000,
            "sub": found.user,
            "tenant": found.tenant,
            "sub_domain": found.sub_domain,
            "permissions": None if found.permissions is None else list(found.permissions),
            "grant": found.id,
        }

    async def _app_and_return(self, served: Served, query: Mapping[str, str]) -> tuple[App, str]:
        try:
            app = await find_app(self._context, served.project.name, query.get("client_id", ""))
        except NotFound as error:
            raise FieldError("client_id", "is none of an app that is registered here") from error
        if not app.redirect_uri:
            raise FieldError("redirect_uri", "has not been registered for this app")
        if query.get("redirect_uri", app.redirect_uri) != app.redirect_uri:
            raise FieldError("redirect_uri", "is not the one that was registered for this app")
        return app, app.redirect_uri


# -- checking ----------------------------------------------------------------------------------------------------------


def _check_asked(query: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the scope and the challenge that an app asks with."""
    if query.get("response_type", "code") != "code":
        raise OAuthError("unsupported_response_type", "the response_type may only be code")
    scope, challenge = query.get("scope"), query.get("code_challenge", "")
    if scope is not None:
        try:
            read_scope(scope)
        except FieldError as error:
            raise OAuthError("invalid_scope", f"the scope {error.detail}") from error
    if "code_challenge_method" in query or challenge:
        if query.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "the code_challenge_method may only be S256")
        if not _CHALLENGE.fullmatch(challenge):
            raise OAuthError("invalid_request", "the code_challenge is no SHA-256 in base64url")
    if len(query.get("state", "")) > _STATE_MAX:
        raise OAuthError("invalid_request", f"the state is longer than {_STATE_MAX} characters")
    return scope, challenge


def _check_terms(grant: Grant, app: App, given: Mapping[str, str]) -> None:
    """Raise `OAuthError` unless a code is shown on the terms that it was given out on."""
    redirect_uri = given.get("redirect_uri", "")
    if redirect_uri != grant.code_terms["redirect_uri"]:
        is_same = not grant.code_terms["redirect_uri"] and redirect_uri == app.redirect_uri
        if not is_same:
            raise OAuthError("invalid_grant", "the redirect_uri is not the one that the code was sent to")
    challenge, verifier = grant.code_terms["challenge"], given.get("code_verifier", "")
    if bool(challenge) != bool(verifier):
        missing = "code_verifier is missing" if challenge else "code was asked for without code_challenge"
        raise OAuthError("invalid_grant", f"the {missing}")
    if challenge and not (_VERIFIER.fullmatch(verifier) and secrets.compare_digest(challenge_of(verifier), challenge)):
        raise OAuthError("invalid_grant", "the code_verifier does not fit the code_challenge")


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier. RFC 7636, section 4.2, S256."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


# -- what travels through a browser ------------------------------------------------------------------------------------


def seal(vault: Vault, served: Served, kind: str, value: Struct) -> str:
    """Return a value as text that only this server can read, for this purpose in this project."""
    sealed = vault.seal(msgspec.json.encode(value), context=_context(served, kind))
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def unseal(vault: Vault, served: Served, kind: str, text: str, form: type[T]) -> T | None:
    """Return what was sealed; None for a text that was not, or for another purpose."""
    try:
        sealed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        return msgspec.json.decode(vault.open(sealed, context=_context(served, kind)), type=form)
    except (ValueError, SecretKeyWrong):
        return None


def back(returns_to: str, state: str | None, **said: str) -> str:
    """Return the address by which a user returns to the app, with what is said to it."""
    return with_query(returns_to, said if state is None else {**said, "state": state})


def with_query(url: str, query: Mapping[str, str]) -> str:
    """Return an address with more in its query, in ASCII as a header needs it."""
    return f"{parse(url).url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _context(served: Served, kind: str) -> bytes:
    return f"oauth {kind}:{served.project.name}".encode()
