"""Know who calls: find the key that a caller shows, fast when it was seen before, and make the operator's own.

A key is kept as its SHA-256 only: it holds 256 random bits (or is the operator's own choice), so a slow hash would add
nothing but time. What a caller may do is decided in `core.scopes`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from angarium.errors import Unauthorized
from angarium.model.registry import ApiKey, Scope
from angarium.store.contract import Page

if TYPE_CHECKING:
    from angarium.operations.context import Context

PREFIX: Final = "ang_"
_HELD_MAX: Final = 10_000
_SHOW = "send Authorization: Bearer KEY"


class Callers:
    """Know the keys. Used on the loop only."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._held: OrderedDict[str, ApiKey] = OrderedDict()
        self._operator = _operator(context.settings.admin_key)
        self._forgotten = 0

    def held(self, authorization: str, *, now_ms: int) -> ApiKey | None:
        """Return the key that an `Authorization` header shows, if it is in memory and has not expired."""
        key = self._held.get(authorization)
        return key if key is not None and _is_valid(key, now_ms) else None

    async def find(self, authorization: str, *, now_ms: int) -> ApiKey:
        """Return the key that an `Authorization` header shows; `Unauthorized` when there is no such key (any more)."""
        held = self.held(authorization, now_ms=now_ms)
        if held is not None:
            return held
        digest, forgotten = digest_of(_token(authorization)), self._forgotten
        key = self._operator if self._is_operator(digest) else await self._store.key_of(digest)
        if key is None:
            raise Unauthorized("this key is unknown; it may have been deleted. Ask for a new one")
        if not _is_valid(key, now_ms):
            raise Unauthorized("this key has expired; ask for a new one")
        if forgotten == self._forgotten:  # Else it may have been deleted while it was read.
            self._hold(authorization, key)
        return key

    def forget(self, number: int) -> None:
        """Take note that a key was deleted: it works no more from now on."""
        self._forgotten += 1
        for authorization in [shown for shown, key in self._held.items() if key.number == number]:
            del self._held[authorization]

    def forget_project(self, project: str) -> None:
        """Take note that a project was deleted, and its keys with it."""
        self._forgotten += 1
        for authorization in [shown for shown, key in self._held.items() if project and key.project == project]:
            del self._held[authorization]

    def forget_all(self) -> None:
        """Take note that another process has changed something: all are read again."""
        self._forgotten += 1
        self._held.clear()

    def _hold(self, authorization: str, key: ApiKey) -> None:
        self._held[authorization] = key
        if len(self._held) > _HELD_MAX:
            self._held.popitem(last=False)

    def _is_operator(self, digest: bytes) -> bool:
        return self._operator is not None and secrets.compare_digest(self._operator.digest, digest)


async def make_admin_key(context: Context) -> str | None:
    """Make and return an admin key if there is none at all, neither in the store nor in the settings; else None."""
    if context.settings.admin_key or (await context.store.keys("", Page(limit=1))).data:
        return None
    token, number, now_ms = make_token(), await context.store.number("key"), context.clock.now().wall_ms
    id_ = context.ids.numbered("key_", number, now_ms)
    await context.store.put_key(ApiKey(number, id_, digest_of(token), Scope.ADMIN, now_ms, name="first start"))
    return token


def make_token() -> str:
    """Make what the holder of a new key shows."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(token.encode()).digest()


def _operator(token: str) -> ApiKey | None:
    """Return the operator's key, which is in the settings and nowhere else."""
    return ApiKey(0, "key_operator", digest_of(token), Scope.ADMIN, 0, name="ANGARIUM_ADMIN_KEY") if token else None


def _token(authorization: str) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    if not authorization.strip():
        raise Unauthorized(f"no key was shown; {_SHOW}")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(f"the Authorization header is not of the form Bearer KEY; {_SHOW}")
    return token.strip()


def _is_valid(key: ApiKey, now_ms: int) -> bool:
    return key.expires_ms is None or now_ms < key.expires_ms
