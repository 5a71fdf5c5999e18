"""Name what is delivered: sealed batches, their attempts, and what became of them."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from angarium.model.wire import Phases, Reason


class State(StrEnum):
    """What a delivery is in: open (`retrying`), or settled in one of five ways."""

    RETRYING = "retrying"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MERGED = "merged"


class Accepted(Struct, frozen=True, gc=False):
    """The receiver took it."""

    status: int = 200


class Refused(Struct, frozen=True):
    """The receiver answered that it will not take this one: a fault of this request, not of the receiver's health."""

    status: int


class Gone(Struct, frozen=True):
    """The receiver asked for no more, ever (410)."""

    status: int = 410


class Throttled(Struct, frozen=True):
    """The receiver asked us to wait (429, 503). `retry_after_s` is None where it named no sensible time."""

    status: int
    retry_after_s: float | None = None


class Silent(Struct, frozen=True):
    """The receiver did not answer properly: 5xx, time-outs, resets, no connection. `status` is 0 without an answer."""

    reason: Reason
    status: int = 0


Outcome = Accepted | Refused | Gone | Throttled | Silent
"""What the receiver did."""


class Key(Struct, frozen=True, gc=False):
    """What identifies a delivery: its last event's place and its subscription (all that its id encodes)."""

    partition: int
    last_offset: int
    subscription: int
    last_ms: int


TEST_OFFSET = 1 << 45
"""Tests are not in the log: the offsets in their keys are numbers above this one."""


class Origin(StrEnum):
    """How a delivery came to be: from its lane, or asked for outside the lane's order."""

    LANE = "lane"
    TEST = "test"
    REDELIVER = "redeliver"


class Open(Struct, frozen=True):
    """A delivery that is not settled and has a row.

    `members` are the offsets that it settles besides `last_offset`, ascending, those folded away included. `body` and
    `content_type` are what is sent on every attempt, None until the first failure (except for a test, whose event is
    not in the log). `next_ms` is when it is due, in wall-clock milliseconds.
    """

    key: Key
    members: tuple[int, ...] = ()
    origin: Origin = Origin.LANE
    attempts: int = 0
    next_ms: int = 0
    opened_ms: int = 0
    status: int = 0
    reason: str = ""
    body: bytes | None = None
    content_type: str = ""


class Attempt(Struct, frozen=True):
    """One POST of a delivery that failed: number from 1, when it began, and the first KiB of the answer."""

    key: Key
    number: int
    at_ms: int
    status: int
    reason: str
    took_ms: int
    phases: Phases = Phases()
    answer: bytes = b""
    detail: str = ""


class Settled(Struct, frozen=True, gc=False):
    """A delivery's end, written once.

    As a range (`count` > 0) it stands for `count` owed events from `first_offset` to `key.last_offset`, none of which
    was ever sent. `answer` is the head of a successful answer, when not empty.
    """

    key: Key
    state: State
    settled_ms: int
    members: tuple[int, ...] = ()
    first_offset: int = 0
    count: int = 0
    attempts: int = 0
    status: int = 0
    reason: str = ""
    at_ms: int = 0
    took_ms: int = 0
    phases: Phases = Phases()
    answer: bytes = b""
    origin: Origin = Origin.LANE


class LaneRow(Struct, frozen=True):
    """A behind lane's durable state.

    All up to `cursor` is settled or has an open row; so is every offset in `above`, ascending. `waiting` owed events
    lie above the cursor as far as `counted_to`.
    """

    partition: int
    subscription: int
    cursor: int
    above: tuple[int, ...] = ()
    waiting: int = 0
    counted_to: int = 0
    failing_since_ms: int = 0
    failures: int = 0
    probe_s: float = 0.0
    not_before_ms: int = 0
    last_delivered_ms: int = 0
