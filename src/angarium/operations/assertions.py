"""Read who a user is, as the publisher's own login asserts it: a JWT, so that no passwords are kept here.

It is signed HS256 with the key of the project's `login` and says `sub` (the user), `tenant`, `email`, `sub_domain`,
`permissions`, for which `request` it was made, for whom (`aud`, the project), when (`iat`) and until when (`exp`, an
hour at most), and `jti`, a word of its own: it is taken once. RFC 7519.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from msgspec import Struct

from angarium.core.accepting import NAME_MAX
from angarium.errors import FieldError
from angarium.operations.grants import check_permissions

LASTS_S_MAX: Final = 3600
LEEWAY_S: Final = 60
"""How far the publisher's clock may be from ours."""

_FIELD: Final = "assertion"
_TEXT_MAX: Final = 256


class User(Struct, frozen=True):
    """Who has logged in at the publisher. The assertion's `jti` is good until `until_ms`."""

    name: str
    tenant: str
    email: str
    sub_domain: str
    permissions: tuple[str, ...] | None
    jti: str
    until_ms: int


class _Claims(Struct, frozen=True):
    sub: str | int
    tenant: str | int
    request: str
    jti: str
    email: str | None = None
    sub_domain: str | None = None
    permissions: list[str] | None = None


def read_assertion(text: str, *, key: bytes, project: str, request: str, now_ms: int) -> User:
    """Return whom an assertion names; `FieldError` unless it holds, now, for this project and request."""
    claims = _signed(text, key)
    now_s = now_ms // 1000
    _check_registered(claims, project, now_s)
    if not claims["exp"] <= now_s + LASTS_S_MAX + LEEWAY_S:
        raise FieldError(_FIELD, f"is good for longer than the {LASTS_S_MAX} seconds that it may be")
    try:
        said = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        raise FieldError(_FIELD, f"does not say what it should: {error}") from error
    if said.request != request:
        raise FieldError(_FIELD, "was made for another request")
    return User(
        name=_name(said.sub, "sub"),
        tenant=_name(said.tenant, "tenant"),
        email=_text(said.email, "email"),
        sub_domain=_text(said.sub_domain, "sub_domain"),
        permissions=check_permissions(said.permissions),
        jti=said.jti,
        until_ms=int(claims["exp"] + LEEWAY_S) * 1000,
    )


def _signed(text: str, key: bytes) -> dict[str, Any]:
    try:
        return jwt.decode(text, OctKey.import_key(key), algorithms=["HS256"]).claims
    except (JoseError, ValueError, RecursionError) as error:
        raise FieldError(_FIELD, f"is no JWT signed HS256 with the login's key ({type(error).__name__})") from error


def _check_registered(claims: dict[str, Any], project: str, now_s: int) -> None:
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
        aud={"essential": True, "value": project},
    )
    try:
        registry.validate({name: value for name, value in claims.items() if name != "sub"})
    except JoseError as error:
        raise FieldError(_FIELD, f"does not hold: {error.description or error.error}") from error


def _name(value: str | int, claim: str) -> str:
    name = str(value)
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
        raise FieldError(_FIELD, f"has a {claim} that is no name of 1 to {NAME_MAX} characters")
    return name


def _text(value: str | None, claim: str) -> str:
    text = (value or "")[:_TEXT_MAX]
    if not text.isprintable():
        raise FieldError(_FIELD, f"has a {claim} with characters that cannot be shown")
    return text
