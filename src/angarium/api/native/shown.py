"""Show what operations return, as the native API's documents. Secrets are never among it but for the one time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from angarium.core.moments import format_ms
from angarium.core.policy import resolve, show
from angarium.dialects.registry import dialect as dialect_of
from angarium.operations.terms import MASK, own_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from angarium.model.registry import ApiKey, Project, Tenant
    from angarium.operations.subscriptions import Standing
    from angarium.store.contract import Listing

    T = TypeVar("T")

Document = dict[str, Any]


def listing(found: Listing[T], shown: Callable[[T], Document]) -> Document:
    """Show one page of a list."""
    return {"data": [shown(each) for each in found.data], "next": found.next, "prev": found.prev}


def project(found: Project, *, with_settings: bool = True) -> Document:
    """Show a project; who has no business with its settings sees the catalogue alone."""
    document: Document = {"id": found.name, "dialect": found.dialect, "objects": found.objects}
    if with_settings:
        document["settings"] = found.settings
    return {**document, "created_at": format_ms(found.created_ms), "updated_at": format_ms(found.updated_ms)}


def tenant(found: Tenant) -> Document:
    """Show a tenant."""
    return {
        "id": found.name,
        "title": found.title,
        "attributes": found.attributes,
        "created_at": format_ms(found.created_ms),
    }


def key(found: ApiKey, token: str | None = None) -> Document:
    """Show a key's record, and the key itself when it has just been made."""
    document: Document = {"id": found.id}
    if token is not None:
        document["key"] = token
    return {
        **document,
        "scope": found.scope.value,
        "project": found.project or None,
        "tenant": found.tenant or None,
        "name": found.name,
        "actor": msgspec.Raw(found.actor) if found.actor else None,
        "created_at": format_ms(found.created_ms),
        "expires_at": moment(found.expires_ms),
    }


def subscription(found: Standing) -> Document:
    """Show a subscription, its policy resolved; `secret` only when it has just been made."""
    it = found.subscription
    document: Document = {
        "id": it.id,
        "tenant": it.tenant,
        "state": found.state,
        "reason": it.reason or None,
        "kind": it.kind,
        "url": it.url or None,
        "types": list(it.rule.types) or ["*"],
        "filter": msgspec.Raw(it.rule.pattern) if it.rule.pattern else None,
        "name": it.name,
        "description": it.description,
        "dialect": it.dialect,
        "options": it.options,
        "headers": dict.fromkeys(own_headers(it), MASK),
        **show(resolve(dialect_of(it.dialect).policy, it.overrides)),
        "failing_since": moment(found.lane.failing_since_ms),
        "backlog": found.lane.backlog,
        "last_delivered_at": moment(found.last_delivered_ms),
        "external_id": it.external_id or None,
        "created_at": format_ms(it.created_ms),
        "updated_at": format_ms(it.updated_ms),
    }
    if found.secret is not None:
        document["secret"] = found.secret
    return document


def moment(moment_ms: int | None) -> str | None:
    """Show a moment, or none where there is none (0)."""
    return format_ms(moment_ms) if moment_ms else None
