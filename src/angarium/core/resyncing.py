"""Choose which objects a resync or an export sends, and make the event of each. Reading and appending happen elsewhere.

| the object | is |
|---|---|
| lies in the window, and its receiver's rule allows it | sent, as `create` |
| has no moment where its kind's window looks, or cannot be told in its receiver's dialect | skipped, and counted |
| lies outside the window, or the rule does not allow it | left out |

A resync's window looks at a member of the object's data, which differs from kind to kind; a kind without one is sent
whole. An export's window looks at the moment of the object's last event. Both ends are included, and an end that is
not given is open.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from angarium.core.moments import parse_us
from angarium.errors import FieldError
from angarium.model.event import Event, ObjectState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.core.matching import Matcher

ACTION = "create"
"""What a resync says has happened."""


class Choice(Enum):
    """What becomes of an object."""

    SENT = "sent"
    SKIPPED = "skipped"
    LEFT_OUT = "left out"


class Terms(Struct, frozen=True):
    """What was asked for: kinds in the order to send, and of which moments (milliseconds, both ends included).

    `window` maps kinds to the member of their data that holds their moment; `by_last_event` takes the moment of the
    object's last event for all kinds instead. `actor` is JSON text, empty for none.
    """

    objects: tuple[str, ...]
    window: Mapping[str, str] = {}
    from_ms: int | None = None
    until_ms: int | None = None
    actor: bytes = b""
    by_last_event: bool = False


def read_terms(spec: Mapping[str, Any], *, by_last_event: bool) -> Terms:
    """Return what a job's `spec` asks for."""
    actor = spec.get("actor")
    return Terms(
        tuple(spec.get("objects") or ()),
        dict(spec.get("window") or {}),
        spec.get("from_ms"),
        spec.get("until_ms"),
        b"" if actor is None else msgspec.json.encode(actor),
        by_last_event,
    )


def choose(state: ObjectState, terms: Terms, rule: Matcher) -> Choice:
    """Say what becomes of an object that is not deleted, for a receiver with this rule."""
    event = event_of(state, terms)
    if not rule.allows(event):
        return Choice.LEFT_OUT
    if not rule.says(event.object, event.action, has_url=bool(event.url)):
        return Choice.SKIPPED
    if not terms.by_last_event and state.object not in terms.window:
        return Choice.SENT
    moment_us = _moment_us(state, terms)
    if moment_us is None:
        return Choice.SKIPPED
    return Choice.SENT if _is_within(moment_us, terms) else Choice.LEFT_OUT


def event_of(state: ObjectState, terms: Terms) -> Event:
    """Return an object's current state as if it had just been created, by who asked for it."""
    return Event(
        state.project,
        state.tenant,
        state.object,
        state.object_id,
        ACTION,
        state.data,
        state.url,
        terms.actor,
        state.attributes,
        state.occurred_us,
    )


def _is_within(moment_us: int, terms: Terms) -> bool:
    is_after = terms.from_ms is None or moment_us >= terms.from_ms * 1000
    return is_after and (terms.until_ms is None or moment_us <= terms.until_ms * 1000 + 999)


def _moment_us(state: ObjectState, terms: Terms) -> int | None:
    if terms.by_last_event:
        return state.occurred_us or state.accepted_ms * 1000
    try:
        data = msgspec.json.decode(state.data or b"null")
    except msgspec.DecodeError:
        return None
    found = data.get(terms.window[state.object]) if isinstance(data, dict) else None
    return moment_us_of(found) if isinstance(found, str) else None


def moment_us_of(text: str) -> int | None:
    """Return the microseconds since the epoch that a text names, or None.

    RFC 3339 is what is expected; any other form of ISO 8601 is taken too, in UTC where it names no offset.
    """
    try:
        return parse_us(text, field="")
    except FieldError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None
