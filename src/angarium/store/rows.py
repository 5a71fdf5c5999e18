"""Turn values into rows and back.

Rarely used members are packed into one column, numbers that lie near others are kept as their distance. What the
columns are for stands beside the schema.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

from msgspec import Struct, json, msgpack

from angarium.errors import StoreDamaged
from angarium.model.delivery import Attempt, Key, Open, Origin, Settled, State
from angarium.model.event import Entry, Event, Kind, Place
from angarium.model.subscription import Version
from angarium.model.wire import Phases, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = tuple[Any, ...]

STATES = (State.DELIVERED, State.EXHAUSTED, State.EXPIRED, State.CANCELLED, State.MERGED)
"""Settled states, by the number that stands for each."""
STATE_NUMBERS = {state: number for number, state in enumerate(STATES)}
ORIGINS = (Origin.LANE, Origin.TEST, Origin.REDELIVER)
ORIGIN_NUMBERS = {origin: number for number, origin in enumerate(ORIGINS)}

# Texts that most records hold have numbers; the order is what stored rows mean, so new ones go to the end.
_REASONS: tuple[str, ...] = (
    "",
    Reason.ACCEPTED,
    Reason.STATUS,
    Reason.GONE,
    Reason.TIMEOUT,
    Reason.REFUSED,
    Reason.RESET,
    Reason.DNS,
    Reason.TLS,
    Reason.BLOCKED,
    Reason.BAD_ANSWER,
    Reason.INTERNAL,
)
_REASON_NUMBERS: dict[str, int] = {str(reason): number for number, reason in enumerate(_REASONS)}


class Extra(Struct, array_like=True, frozen=True):
    """What few entries have."""

    url: str = ""
    actor: bytes = b""
    attributes: bytes = b""
    occurred_us: int = 0
    target: int = 0
    of: int = 0
    of_ms: int = 0


class _SettledRecord(Struct, array_like=True, frozen=True):
    """A settled delivery without its key, state and origin; moments are counted from the last event's."""

    settled_after_ms: int
    at_after_ms: int
    attempts: int
    status: int
    reason: int | str
    took_ms: int
    phases: tuple[int, ...] = ()
    answer: bytes = b""
    members: tuple[int, ...] = ()
    first_offset: int = 0
    count: int = 0


class _OpenRecord(Struct, array_like=True, frozen=True):
    """An open delivery without its key and origin."""

    members: tuple[int, ...]
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
_read_extra = msgpack.Decoder(Extra).decode
_read_settled = msgpack.Decoder(_SettledRecord).decode
_read_open = msgpack.Decoder(_OpenRecord).decode
_read_attempt = msgpack.Decoder(_AttemptBody).decode
_read_places = msgpack.Decoder(list[tuple[int, int, int]]).decode
_read_version = json.Decoder(Version).decode
_NO_EXTRA = Extra()


# -- entries ----------------------------------------------------------------------------------------------------------


def event_columns(event: Event) -> Row:
    """Return a published event's columns: object, action, object_id, extra, data."""
    extra = None
    if event.url or event.actor or event.attributes or event.occurred_us:
        extra = _pack(Extra(event.url, event.actor, event.attributes, event.occurred_us))
    return event.object, event.action, event.object_id, extra, event.data


def entry_columns(entry: Entry) -> Row:
    """Return the same columns of an entry that is no published event."""
    if entry.version is not None:
        return "", "", "", None, json.encode(entry.version)
    event = entry.event if entry.kind == Kind.RESYNC and entry.event else Event("", "", "", "", "")
    extra = Extra(event.url, event.actor, event.attributes, event.occurred_us, entry.target, entry.of, entry.of_ms)
    return event.object, event.action, event.object_id, _pack(extra), event.data


def entry_row(sequence: int, place: tuple[int, int, int, int, int], columns: Row) -> Row:
    """Return an entry's row; `place` is its partition, offset, tenant's number, moment and kind."""
    object_, action, object_id, extra, data = columns
    return sequence, *place, object_, action, object_id, checksum(place, columns), extra, data


def checksum(place: tuple[int, int, int, int, int], columns: Row) -> int:
    """Return the checksum of an entry's row: of all its columns but the number in commit order."""
    *rest, data = columns
    return crc32(data, crc32(_pack((place, rest))))


def entry_of(row: Row) -> Entry:
    """Return a row's entry, a replay's without its event; `StoreDamaged` when it is not as it was written.

    The row is one that `entry_row` made, without its number, and with the names of project and tenant behind it.
    """
    partition, offset, number, accepted_ms, kind, object_, action, object_id, crc, packed, data, project, tenant = row
    if crc != checksum((partition, offset, number, accepted_ms, kind), (object_, action, object_id, packed, data)):
        raise StoreDamaged(
            f"entry {offset} of partition {partition} is not as it was written; restore the file from a copy"
        )
    return entry_from((partition, offset, accepted_ms, kind, object_, action, object_id, packed, data), project, tenant)


def entry_from(row: Row, project: str, tenant: str) -> Entry:
    """Return the entry of a row without number, tenant and checksum; a replay's is without its event."""
    partition, offset, accepted_ms, kind, object_, action, object_id, packed, data = row
    extra = extra_of(packed)
    if kind == Kind.MARKER:
        return Entry(partition, offset, accepted_ms, None, Kind.MARKER, version=_read_version(data))
    if kind == Kind.REPLAY:
        return Entry(partition, offset, accepted_ms, None, Kind.REPLAY, extra.target, extra.of, extra.of_ms)
    event = Event(
        project, tenant, object_, object_id, action, data, extra.url, extra.actor, extra.attributes, extra.occurred_us
    )
    return Entry(partition, offset, accepted_ms, event, Kind(kind), extra.target, extra.of, extra.of_ms)


def extra_of(packed: bytes | None) -> Extra:
    """Return what few entries have, as it was packed."""
    return _NO_EXTRA if packed is None else _read_extra(packed)


def pack_places(places: Sequence[Place]) -> bytes:
    """Return the places of a receipt, packed."""
    return _pack([(place.partition, place.offset, place.accepted_ms) for place in places])


def unpack_places(packed: bytes) -> tuple[Place, ...]:
    """Return what `pack_places` packed."""
    return tuple(Place(*place) for place in _read_places(packed))


# -- deliveries -------------------------------------------------------------------------------------------------------


def key_columns(key: Key) -> tuple[int, int, int, int]:
    """Return a key's columns."""
    return key.partition, key.last_offset, key.subscription, key.last_ms


def settled_row(settled: Settled, owner: tuple[int, int]) -> Row:
    """Return how a delivery ended: its key's columns, project, tenant, state, origin, first_offset, record."""
    key = settled.key
    record = _SettledRecord(
        settled.settled_ms - key.last_ms,
        settled.at_ms - key.last_ms,
        settled.attempts,
        settled.status,
        _REASON_NUMBERS.get(settled.reason, settled.reason),
        settled.took_ms,
        _phases_packed(settled.phases),
        settled.answer,
        _deltas(settled.members),
        settled.first_offset,
        settled.count,
    )
    return (
        key.partition,
        key.last_offset,
        key.subscription,
        key.last_ms,
        *owner,
        STATE_NUMBERS[settled.state],
        ORIGIN_NUMBERS[settled.origin],
        settled.first_offset if settled.count else None,
        _pack(record),
    )


def settled_of(row: Row) -> Settled:
    """Return a row's settled delivery; the row holds the key's columns, state, origin and record."""
    partition, last_offset, subscription, last_ms, state, origin, packed = row
    record = _read_settled(packed)
    return Settled(
        Key(partition, last_offset, subscription, last_ms),
        STATES[state],
        record.settled_after_ms + last_ms,
        tuple(accumulate(record.members)),
        record.first_offset,
        record.count,
        record.attempts,
        record.status,
        _reason(record.reason),
        record.at_after_ms + last_ms,
        record.took_ms,
        Phases(*record.phases),
        record.answer,
        ORIGINS[origin],
    )


def weight_of(packed: bytes) -> int:
    """Return for how many deliveries a settled one's record counts."""
    return _read_settled(packed).count or 1


def open_row(open_: Open, owner: tuple[int, int]) -> Row:
    """Return an open delivery's row: its key's columns, project, tenant, origin, first_offset, record."""
    record = _OpenRecord(
        _deltas(open_.members),
        open_.attempts,
        open_.next_ms,
        open_.opened_ms,
        open_.status,
        _REASON_NUMBERS.get(open_.reason, open_.reason),
        open_.body,
        open_.content_type,
    )
    first_offset = min((open_.key.last_offset, *open_.members))
    return *key_columns(open_.key), *owner, ORIGIN_NUMBERS[open_.origin], first_offset, _pack(record)


def open_of(row: Row) -> Open:
    """Return a row's open delivery; the row holds the key's columns, origin and record."""
    partition, last_offset, subscription, last_ms, origin, packed = row
    record = _read_open(packed)
    return Open(
        Key(partition, last_offset, subscription, last_ms),
        tuple(accumulate(record.members)),
        ORIGINS[origin],
        record.attempts,
        record.next_ms,
        record.opened_ms,
        record.status,
        _reason(record.reason),
        record.body,
        record.content_type,
    )


def member_values(delivery: Open | Settled) -> Iterator[int]:
    """Yield, one after the other, the values of a row for each event of a delivery that is not its last."""
    key = delivery.key
    for member in delivery.members:
        yield from (key.partition, member, key.last_offset, key.subscription, key.last_ms)


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
    partition, last_offset, subscription, last_ms, number, at_ms, packed = row
    body = _read_attempt(packed)
    return Attempt(
        Key(partition, last_offset, subscription, last_ms),
        number,
        at_ms,
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
    packed = (phases.dns_us, phases.connect_us, phases.tls_us, phases.first_byte_us, phases.total_us)
    return packed if any(packed) else ()


def _deltas(ascending: Sequence[int]) -> tuple[int, ...]:
    if not ascending:
        return ()
    return ascending[0], *(after - before for before, after in pairwise(ascending))
