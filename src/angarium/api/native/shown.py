"""Show what operations return, as the native API's documents. Secrets are never among it but for the one time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from angarium.core.moments import format_ms, format_us
from angarium.core.policy import resolve, show
from angarium.dialects.registry import dialect as dialect_of
from angarium.model.delivery import Open, Settled, State
from angarium.model.wire import Reason
from angarium.operations.deliveries import state_of
from angarium.operations.login import shown_settings
from angarium.operations.terms import MASK, own_headers, shown_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from angarium.model.delivery import Attempt
    from angarium.model.event import Entry, ObjectState
    from angarium.model.ids import Ids
    from angarium.model.registry import ApiKey, App, Job, Project, Tenant
    from angarium.model.subscription import Subscription
    from angarium.model.wire import Phases
    from angarium.operations.deliveries import Detailed, Named
    from angarium.operations.feeds import FeedEntry
    from angarium.operations.grants import Granted
    from angarium.operations.subscriptions import Standing
    from angarium.store.contract import Listing

    T = TypeVar("T")

Document = dict[str, Any]

if TYPE_CHECKING:
    Requests = Callable[[int, int], Document | None]
    """Says what was sent in an attempt, by its number and moment."""


def listing(found: Listing[T], shown: Callable[[T], Document]) -> Document:
    """Show one page of a list."""
    return {"data": [shown(each) for each in found.data], "next": found.next, "prev": found.prev}


def project(found: Project, *, with_settings: bool = True) -> Document:
    """Show a project, with its dialect's objects where it names none; not everybody is shown its settings."""
    objects = found.objects or dialect_of(found.dialect).traits.catalogue or {}
    document: Document = {"id": found.name, "dialect": found.dialect, "objects": dict(objects)}
    if with_settings:
        document["settings"] = shown_settings(found.settings)
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


def app(found: App, secret: str | None = None) -> Document:
    """Show an app, and its secret when it has just been made."""
    document: Document = {"id": found.id} if secret is None else {"id": found.id, "secret": secret}
    return {
        **document,
        "name": found.name,
        "url": found.url,
        "redirect_uri": found.redirect_uri or None,
        "created_at": format_ms(found.created_ms),
    }


def grant(found: Granted) -> Document:
    """Show a grant, and its token or code when it has just been made."""
    it = found.grant
    new = {"access_token": found.token, "code": found.code}
    return {
        "id": it.id,
        **{name: text for name, text in new.items() if text is not None},
        "app": found.app.id,
        "tenant": it.tenant,
        "user": it.user,
        "email": it.email or None,
        "sub_domain": it.sub_domain,
        "scope": it.scope,
        "permissions": None if it.permissions is None else list(it.permissions),
        "is_pending": not it.digest,
        "created_at": format_ms(it.created_ms),
        "expires_at": format_ms(it.expires_ms),
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
        "options": shown_options(it),
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


def event(ids: Ids, entry: Entry) -> Document:
    """Show an event; members that it does not have are left out, `data` is as it was published."""
    it = entry.event
    assert it is not None, "an event that is shown is there"
    document: Document = {
        "id": ids.event(entry.partition, entry.offset, entry.accepted_ms),
        "type": it.type,
        "tenant": it.tenant,
        "object": it.object,
        "object_id": it.object_id,
        "action": it.action,
    }
    for name, text in (("data", it.data), ("actor", it.actor), ("attributes", it.attributes)):
        if text:
            document[name] = msgspec.Raw(text)
    if it.url:
        document["url"] = it.url
    occurred_us = it.occurred_us or entry.accepted_ms * 1000
    return {**document, "occurred_at": format_us(occurred_us), "accepted_at": format_ms(entry.accepted_ms)}


def object_state(ids: Ids, found: ObjectState) -> Document:
    """Show an object as it stands; members that it does not have are left out."""
    document: Document = {
        "tenant": found.tenant,
        "object": found.object,
        "object_id": found.object_id,
        "action": found.action,
    }
    for name, text in (("data", found.data), ("attributes", found.attributes)):
        if text:
            document[name] = msgspec.Raw(text)
    if found.url:
        document["url"] = found.url
    return {
        **document,
        "event": ids.event(found.partition, found.offset, found.accepted_ms),
        "occurred_at": format_us(found.occurred_us or found.accepted_ms * 1000),
        "updated_at": format_ms(found.accepted_ms),
    }


def feed_entry(found: FeedEntry) -> Document:
    """Show one event of a feed, its body as its dialect writes it."""
    return {
        "cursor": found.cursor,
        "id": found.id,
        "type": found.type,
        "occurred_at": format_us(found.occurred_us),
        "body": msgspec.Raw(found.body),
    }


def delivery(found: Named) -> Document:
    """Show a delivery as a list does. A range stands for `event_count` events that were never sent."""
    it = found.delivery
    count = it.count if isinstance(it, Settled) else 0
    return {
        "id": found.id,
        "subscription": found.subscription.id if found.subscription is not None else None,
        "tenant": found.tenant or None,
        "state": state_of(it).value,
        "origin": it.origin.value,
        "event": found.events[-1],
        "type": found.last.event.type if found.last is not None and found.last.event is not None else None,
        "event_count": count or len(it.members) + 1,
        "is_range": count > 0,
        "attempts": it.attempts,
        "status": it.status or None,
        "reason": it.reason or None,
        "accepted_at": format_ms(it.key.last_ms),
        "next_at": moment(it.next_ms) if isinstance(it, Open) else None,
        "settled_at": moment(it.settled_ms) if isinstance(it, Settled) else None,
    }


def delivery_with_attempts(found: Detailed, requests: Requests) -> Document:
    """Show a delivery with its attempts, the successful one too, and the ids of all of its events."""
    named, it = found.named, found.named.delivery
    attempts = [_attempt(each, requests) for each in found.attempts]
    is_told = any(each.number == it.attempts for each in found.attempts)
    if isinstance(it, Settled) and it.state is State.DELIVERED and it.attempts and not is_told:
        attempts.append(_successful(it, requests))
    return {**delivery(named), "events": list(named.events), "attempts": attempts}


def _attempt(it: Attempt, requests: Requests) -> Document:
    return {
        "number": it.number,
        "at": format_ms(it.at_ms),
        "status": it.status or None,
        "reason": it.reason,
        "detail": it.detail or None,
        "took_ms": it.took_ms,
        "phases": _phases(it.phases),
        "request": requests(it.number, it.at_ms),
        "response": _response(it.status, it.answer),
    }


def _successful(it: Settled, requests: Requests) -> Document:
    return {
        "number": it.attempts,
        "at": format_ms(it.at_ms),
        "status": it.status or None,
        "reason": it.reason or Reason.ACCEPTED.value,
        "detail": None,
        "took_ms": it.took_ms,
        "phases": _phases(it.phases),
        "request": requests(it.attempts, it.at_ms),
        "response": _response(it.status, it.answer),
    }


def _phases(phases: Phases) -> Document:
    return {
        f"{name.removesuffix('_us')}_ms": span_us / 1000 for name, span_us in msgspec.structs.asdict(phases).items()
    }


def _response(status: int, answer: bytes) -> Document | None:
    """Show the head of what was answered; what is no text is shown as near to it as it can be."""
    return {"status": status, "body": answer.decode("utf-8", "replace")} if status else None


def job(found: Job, subscription: Subscription | None) -> Document:
    """Show a job, with how far it is."""
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state.value,
        "tenant": found.tenant or None,
        "subscription": subscription.id if subscription is not None else None,
        "total": found.total,
        "done": found.done,
        "failed": found.failed,
        "skipped": found.skipped,
        "detail": found.detail or None,
        "created_at": format_ms(found.created_ms),
        "updated_at": format_ms(found.updated_ms),
    }


def moment(moment_ms: int | None) -> str | None:
    """Show a moment, or none where there is none (0)."""
    return format_ms(moment_ms) if moment_ms else None
