"""Say which calls a key may make. Finding the key is `operations.callers`' business.

| call | publish | read | manage | tenant (its own) | admin |
|---|---|---|---|---|---|
| PUBLISH | yes | | | | yes |
| READ | | yes | yes | yes | yes |
| READ_CATALOGUE | | yes | yes | yes | yes |
| READ_REGISTRY | | yes | yes | | yes |
| MANAGE_SUBSCRIPTIONS | | | yes | yes | yes |
| MANAGE_REGISTRY | | | yes | | yes |
| MAKE_TENANT_KEY | | | yes | | yes |
| READ_KEYS, MAKE_KEY, CHANGE_PROJECT, ADMIN | | | | | yes |

A project or tenant that is not the key's is not found, as if it did not exist; a call on its own that its scope lacks
is forbidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from angarium.errors import Forbidden, NotFound
from angarium.model.registry import ApiKey, Scope

_SHOWN = 80


class Call(StrEnum):
    """What is asked for; the values finish the sentence "this key may not …"."""

    PUBLISH = "publish events"
    READ = "read subscriptions, deliveries, feeds, events, objects and jobs"
    READ_CATALOGUE = "read the project's catalogue"
    READ_REGISTRY = "read the project's settings, tenants, apps, grants and figures"
    READ_KEYS = "list keys"
    MANAGE_SUBSCRIPTIONS = "change subscriptions, deliveries and jobs"
    MANAGE_REGISTRY = "change tenants, apps and grants"
    MAKE_TENANT_KEY = "make a tenant's key"
    MAKE_KEY = "make or delete keys of the project"
    CHANGE_PROJECT = "change the project"
    ADMIN = "do what concerns all projects"


_READ = frozenset({Call.READ, Call.READ_CATALOGUE})
_MAY: Mapping[Scope, frozenset[Call]] = {
    Scope.PUBLISH: frozenset({Call.PUBLISH}),
    Scope.READ: _READ | {Call.READ_REGISTRY},
    Scope.MANAGE: _READ | {Call.READ_REGISTRY, Call.MANAGE_SUBSCRIPTIONS, Call.MANAGE_REGISTRY, Call.MAKE_TENANT_KEY},
    Scope.TENANT: _READ | {Call.MANAGE_SUBSCRIPTIONS},
    Scope.ADMIN: frozenset(Call),
}


def may(key: ApiKey, call: Call) -> bool:
    """Say whether a key's scope has a call at all, on its own project and tenant."""
    return call in _MAY[key.scope]


def check(key: ApiKey, call: Call, project: str, tenant: str | None = None) -> None:
    """Raise unless a key may make a call on a project (empty: on none) and one of its tenants (None: on no one tenant).

    `NotFound` when they are not the key's, `Forbidden` when its scope lacks the call.
    """
    if project and project != key.project and (key.project or key.scope is not Scope.ADMIN):
        raise NotFound(f"there is no project {project[:_SHOWN]!r} here")
    if not may(key, call):
        scopes = ", ".join(scope for scope in Scope if call in _MAY[scope])
        raise Forbidden(f"a key of scope {key.scope} may not {call}; use one of scope {scopes}")
    if tenant is not None:
        tenant_of(key, tenant)


def tenant_of(key: ApiKey, asked: str | None) -> str | None:
    """Return the tenant that a call is about: the key's own where it is left out; `NotFound` when it is another."""
    if key.scope is not Scope.TENANT:
        return asked
    if asked is not None and asked != key.tenant:
        raise NotFound(f"there is no tenant {asked[:_SHOWN]!r} here")
    return key.tenant
