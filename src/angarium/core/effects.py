"""Name what a lane is told and what it wants done: deliveries on their way, facts of attempts, effects.

The rows that effects carry are made here too, so that the lane reads as its rules alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.core.coalescing import Object
from angarium.core.deciding import Verdict
from angarium.model.delivery import Attempt, Key, Open, Origin, Outcome, Settled, State
from angarium.model.event import Entry
from angarium.model.wire import Phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.clock import Moment


class Delivery(Struct, eq=False):
    """A sealed delivery on its way. `entries` are None when they must be read again, `objects` what waits behind it.

    One that `is_merged` was made of a failed one and what came since, and has not been sent as such.
    """

    key: Key
    entries: tuple[Entry, ...] | None
    members: tuple[int, ...] = ()
    objects: tuple[Object, ...] = ()
    origin: Origin = Origin.LANE
    is_batch: bool = False
    attempts: int = 0
    has_row: bool = False
    is_on_wire: bool = False
    opened_ms: int = 0
    next_at: float = 0.0
    is_merged: bool = False


class Fact(Struct, frozen=True, gc=False):
    """What is known of an attempt once it has ended."""

    outcome: Outcome
    verdict: Verdict
    at_ms: int
    took_ms: int
    status: int
    reason: str
    phases: Phases = Phases()
    answer: bytes = b""
    detail: str = ""
    body: bytes = b""
    content_type: str = ""


class Settle(Struct, frozen=True, gc=False):
    """Record a delivery's end. `closes`: it has a row, which goes; `frees`: its offsets were not resolved before."""

    settled: Settled
    closes: bool
    frees: bool


class Write(Struct, frozen=True):
    """Write a delivery's row. `frees`: its offsets were not resolved before."""

    row: Open
    frees: bool


class Free(Struct, frozen=True):
    """Owe these offsets no more: they are in a row now."""

    offsets: tuple[int, ...]


class Record(Struct, frozen=True):
    """Record a failed attempt."""

    attempt: Attempt


class FallBehind(Struct, frozen=True):
    """Have the lane fall behind: it has a reason of its own to wait."""


class Expire(Struct, frozen=True):
    """Exhaust with one range row what was accepted before a moment and never sent."""

    before_ms: int


class GiveUp(Struct, frozen=True):
    """Disable the subscription, for a reason that its owner is told."""

    reason: str


Effect = Settle | Write | Free | Record | FallBehind | Expire | GiveUp


def settled(delivery: Delivery, state: State, fact: Fact, now: Moment) -> Settled:
    """Return the record of a delivery that ended with an attempt."""
    return Settled(
        delivery.key,
        state,
        now.wall_ms,
        delivery.members,
        attempts=delivery.attempts,
        status=fact.status,
        reason=fact.reason,
        at_ms=fact.at_ms,
        took_ms=fact.took_ms,
        phases=fact.phases,
        answer=fact.answer if state is State.DELIVERED else b"",
        origin=delivery.origin,
    )


def closed(delivery: Delivery, state: State, reason: str, now: Moment) -> Settled:
    """Return the record of a delivery that ended without one more attempt."""
    return Settled(
        delivery.key,
        state,
        now.wall_ms,
        delivery.members,
        attempts=delivery.attempts,
        reason=reason,
        origin=delivery.origin,
    )


def row(delivery: Delivery, fact: Fact | None, next_ms: int) -> Open:
    """Return the row of an open delivery; from its first failure on it holds what is sent."""
    return Open(
        delivery.key,
        delivery.members,
        delivery.origin,
        delivery.attempts,
        next_ms,
        delivery.opened_ms,
        fact.status if fact else 0,
        fact.reason if fact else "",
        (fact.body or None) if fact else None,
        fact.content_type if fact else "",
    )


def delivery_of(row: Open, objects: Sequence[Object], *, is_batch: bool) -> Delivery:
    """Return the delivery that a row tells of, whose events must be read again."""
    return Delivery(
        row.key,
        None,
        row.members,
        tuple(dict.fromkeys(objects)),
        row.origin,
        is_batch=is_batch,
        attempts=row.attempts,
        has_row=True,
        opened_ms=row.opened_ms,
    )


def attempt(delivery: Delivery, fact: Fact) -> Attempt:
    """Return the record of a failed attempt."""
    return Attempt(
        delivery.key,
        delivery.attempts,
        fact.at_ms,
        fact.status,
        fact.reason,
        fact.took_ms,
        fact.phases,
        fact.answer,
        fact.detail,
    )
