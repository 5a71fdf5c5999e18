"""Turn values into rows and back, small: rarely used members are packed into one column, numbers that lie near others
are kept as their distance. What the columns are for stands beside the schema."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from msgspec import Struct, json, msgpack

from angarium.model.delivery import Attempt, Key, Open, Origin, Settled, State
from angarium.model.event import Entry, Event, Kind, Place
from angarium.model.subscription import Version
from angarium.model.wire import Phases, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = tuple[Any, ...]

STATES = (State.DELIVERED, State.EXHAUSTED, State.EXPIRED, State.CANCELLED, State.MERGED)
"""Settled states, by the number that stands for each."""
STATE_NUMBERS = {state: number for number, state in enumerate(STATES)}
ORIGINS = (Origin.LANE, Origin.TEST, Origin.REDELIVER)
ORIGIN_NUMBERS = {origin: number for number, origin in enumerate(ORIGINS)}

# Texts that most records hold have numbers; the order is what stored rows mean, so new ones go to the end.
_REASONS = ("", *(Reason(name) for name in ("accepted", "status", "gone", "timeout", "refused", "reset", "dns", "tls",
                                             "blocked", "bad_answer", "internal")))  # fmt: skip
_REASON_NUMBERS: dict[str, int] = {str(reason): number for number, reason in enumerate(_REASONS)}


class _Extra(Struct, array_like=True, frozen=True):
    """What few entries have."""

    url: str = ""
    actor: bytes = b""
    attributes: bytes = b""
    occurred_us: int = 0
    target: int = 0
    of: int = 0
    of_ms: int = 0


class _SettledRecord(Struct, array_like=True, frozen=True):
    """A settled delivery without its key and state; moments are counted from the last event's."""

    settled_after_ms: int
    at_after_ms: int
    attempts: int
    status: int
    reason: int | str
    took_ms: int
    phases: tuple[int, ...]
    origin: int
    members: tuple[int, ...]
    range: tuple[int, int] | None
    answer: bytes


class _OpenRecord(Struct, array_like=True, frozen=True):
    """An open delivery without its key."""

    members: tuple[int, ...]
    origin: int
    attempts: int
    next_ms: int
    opened_ms: int
    status: int
    reason: int | str
    body: bytes | None
    content_type: str


class _AttemptBody(Struct, array_like=True, frozen=True):
    """An attempt without its key, number and moment."""

    status: int
    reason: int | str
    took_ms: int
    phases: tuple[int, ...]
    answer: bytes
    detail: str


_pack = msgpack.Encoder().encode
_read_extra = msgpack.Decoder(_Extra).decode
_read_settled = msgpack.Decoder(_SettledRecord).decode
_read_open = msgpack.Decoder(_OpenRecord).decode
_read_attempt = msgpack.Decoder(_AttemptBody).decode
_read_places = msgpack.Decoder(tuple[Place, ...]).decode
_read_version = json.Decoder(Version).decode


def event_columns(event: Event) -> Row:
    """Return an event's columns: object, action, object_id, extra, data."""
    extra = None
    if event.url or event.actor or event.attributes or event.occurred_us:
        extra = _pack(_Extra(event.url, event.actor, event.attributes, event.occurred_us))
    return event.object, event.action, event.object_id, extra, event.data


def entry_columns(entry: Entry) -> Row:
    """Return the same columns of an entry that is no published event."""
    if entry.version is not None:
        return "", "", "", None, json.encode(entry.version)
    event = entry.event if entry.kind == Kind.RESYNC and entry.event else Event("", "", "", "", "")
    extra = _Extra(event.url, event.actor, event.attributes, event.occurred_us, entry.target, entry.of, entry.of_ms)
    return event.object, event.action, event.object_id, _pack(extra), event.data


def entry_of(row: Row) -> Entry:
    """Return a row's entry; a replay's without its event."""
    _, partition, offset, accepted_ms, kind, project, tenant, object_, action, object_id, packed, data = row
    extra = _NO_EXTRA if packed is None else _read_extra(packed)
    if kind == Kind.MARKER:
        return Entry(partition, offset, accepted_ms, None, Kind.MARKER, version=_read_version(data))
    if kind == Kind.REPLAY:
        return Entry(partition, offset, accepted_ms, None, Kind.REPLAY, extra.target, extra.of, extra.of_ms)
    event = Event(
        project, tenant, object_, object_id, action, data, extra.url, extra.actor, extra.attributes, extra.occurred_us
    )
    return Entry(partition, offset, accepted_ms, event, Kind(kind), extra.target, extra.of, extra.of_ms)


def pack_places(places: Sequence[Place]) -> bytes:
    """Return the places of a receipt, packed."""
    return _pack([(place.partition, place.offset, place.accepted_ms) for place in places])


def unpack_places(packed: bytes) -> tuple[Place, ...]:
    """Return what `pack_places` packed."""
    return tuple(Place(*place) for place in _read_place_rows(packed))


_read_place_rows = msgpack.Decoder(list[tuple[int, int, int]]).decode
_NO_EXTRA = _Extra()


def key_columns(key: Key) -> Row:
    """Return a key's columns."""
    return key.partition, key.last_offset, key.subscription, key.last_ms


def settled_row(settled: Settled, project: int) -> Row:
    """Return how a delivery ended: its key's columns, project, state, origin, first_offset of a range, record."""
    key, phases = settled.key, settled.phases
    record = _SettledRecord(
        settled.settled_ms - key.last_ms,
        settled.at_ms - key.last_ms,
        settled.attempts,
        settled.status,
        _REASON_NUMBERS.get(settled.reason, settled.reason),
        settled.took_ms,
        _phases_packed(phases),
        ORIGIN_NUMBERS[settled.origin],
        _deltas(settled.members),
        (settled.first_offset, settled.count) if settled.first_offset or settled.count else None,
        settled.answer,
    )
    return (
        key.partition,
        key.last_offset,
        key.subscription,
        key.last_ms,
        project,
        STATE_NUMBERS[settled.state],
        ORIGIN_NUMBERS[settled.origin],
        settled.first_offset if settled.count else None,
        _pack(record),
    )


def settled_of(row: Row) -> Settled:
    """Return a row's settled delivery; the row holds the key's columns, state and record."""
    partition, last_offset, subscription, last_ms, state, packed = row
    record = _read_settled(packed)
    first_offset, count = record.range or (0, 0)
    return Settled(
        Key(partition, last_offset, subscription, last_ms),
        STATES[state],
        record.settled_after_ms + last_ms,
        _from_deltas(record.members),
        first_offset,
        count,
        record.attempts,
        record.status,
        _reason(record.reason),
        record.at_after_ms + last_ms,
        record.took_ms,
        Phases(*record.phases),
        record.answer,
        ORIGINS[record.origin],
    )


def weight_of(packed: bytes) -> int:
    """Return for how many deliveries a record counts."""
    held = _read_settled(packed).range
    return held[1] or 1 if held else 1


def open_row(open_: Open, project: int) -> Row:
    """Return an open delivery's row: its key's columns, project, origin, first_offset, record."""
    record = _OpenRecord(
        _deltas(open_.members),
        ORIGIN_NUMBERS[open_.origin],
        open_.attempts,
        open_.next_ms,
        open_.opened_ms,
        open_.status,
        _REASON_NUMBERS.get(open_.reason, open_.reason),
        open_.body,
        open_.content_type,
    )
    first_offset = min((open_.key.last_offset, *open_.members))
    return *key_columns(open_.key), project, ORIGIN_NUMBERS[open_.origin], first_offset, _pack(record)


def open_of(row: Row) -> Open:
    """Return a row's open delivery; the row holds the key's columns and the record."""
    record = _read_open(row[4])
    return Open(
        Key(*row[:4]),
        _from_deltas(record.members),
        ORIGINS[record.origin],
        record.attempts,
        record.next_ms,
        record.opened_ms,
        record.status,
        _reason(record.reason),
        record.body,
        record.content_type,
    )


def member_rows(delivery: Open | Settled) -> Iterable[Row]:
    """Return a row for each event of a delivery that is not its last."""
    key = delivery.key
    return ((key.partition, member, key.last_offset, key.subscription, key.last_ms) for member in delivery.members)


def attempt_row(attempt: Attempt) -> Row:
    """Return an attempt's row: its key's columns, number, at_ms, body."""
    body = _AttemptBody(
        attempt.status,
        _REASON_NUMBERS.get(attempt.reason, attempt.reason),
        attempt.took_ms,
        _phases_packed(attempt.phases),
        attempt.answer,
        attempt.detail,
    )
    return *key_columns(attempt.key), attempt.number, attempt.at_ms, _pack(body)


def attempt_of(row: Row) -> Attempt:
    """Return a row's attempt."""
    body = _read_attempt(row[6])
    return Attempt(
        Key(*row[:4]),
        row[4],
        row[5],
        body.status,
        _reason(body.reason),
        body.took_ms,
        Phases(*body.phases),
        body.answer,
        body.detail,
    )


def _reason(stored: int | str) -> str:
    return str(_REASONS[stored]) if isinstance(stored, int) else stored


def _phases_packed(phases: Phases) -> tuple[int, ...]:
    if not phases.total_us:
        return ()
    return phases.dns_us, phases.connect_us, phases.tls_us, phases.first_byte_us, phases.total_us


def _deltas(ascending: Sequence[int]) -> tuple[int, ...]:
    if not ascending:
        return ()
    return ascending[0], *(after - before for before, after in pairwise(ascending))


def _from_deltas(deltas: Sequence[int]) -> tuple[int, ...]:
    return tuple(accumulate(deltas))
