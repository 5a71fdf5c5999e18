"""Name what is published and how it stands in the log."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from angarium.model.subscription import Version

PARTITIONS = 256
"""How many partitions every store has, for ever."""


class Event(Struct, frozen=True, gc=False):
    """Something that happened to one object of one tenant, as it was published.

    `data`, `actor` and `attributes` are JSON text as published, byte for byte; empty when absent.
    `occurred_us` is microseconds since the epoch, 0 for "when it was accepted".
    """

    project: str
    tenant: str
    object: str
    object_id: str
    action: str
    data: bytes = b""
    url: str = ""
    actor: bytes = b""
    attributes: bytes = b""
    occurred_us: int = 0

    @property
    def type(self) -> str:
        """Return the event type, `object.action`."""
        return f"{self.object}.{self.action}"


class Kind(IntEnum):
    """What an entry of the log is."""

    EVENT = 0
    MARKER = 1
    RESYNC = 2
    REPLAY = 3


class Entry(Struct, frozen=True, gc=False):
    """One entry of the log.

    `event` is None for a marker, which carries the subscription's new `version` instead. A resync or replay entry has
    a `target`, the number of the one subscription that it is for; a replay entry also has `of` and `of_ms`, the
    original's place, and a store returns it with the original's event filled in (None when retention has dropped that).
    """

    partition: int
    offset: int
    accepted_ms: int
    event: Event | None
    kind: Kind = Kind.EVENT
    target: int = 0
    of: int = 0
    of_ms: int = 0
    version: Version | None = None


class ObjectState(Struct, frozen=True):
    """The current state of one object: its last event, with the data of the last one that had any.

    `offset` is its last event's, `data_offset` that of the event whose `data` it is (0: none had any yet). An object
    that was deleted keeps its last data, for whoever must still say what it was.
    """

    project: str
    tenant: str
    object: str
    object_id: str
    partition: int
    offset: int
    accepted_ms: int
    action: str
    data: bytes = b""
    data_offset: int = 0
    url: str = ""
    attributes: bytes = b""
    occurred_us: int = 0

    @property
    def is_deleted(self) -> bool:
        """Say whether its last event was its end."""
        return self.action == "delete"


class Place(Struct, frozen=True, gc=False):
    """Where an entry stands in the log, and when it was accepted: all that an event's id encodes."""

    partition: int
    offset: int
    accepted_ms: int
