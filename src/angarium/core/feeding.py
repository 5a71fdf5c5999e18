"""Say what a subscription's feed shows of the log, page by page. Reading the log and encoding bodies happen elsewhere.

A feed is the events that the subscription was owed at their offsets, to be pushed or for the feed only, in the order of
the log and before coalescing. Resyncs that are for it are among them; replays, which show past events again, only when
asked for. A cursor says how far its reader has looked, so it moves past what did not match, on empty pages too:
however the log is cut into pages, going on from `next` shows each event once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from angarium.core.matching import in_force, matcher
from angarium.errors import BadCursor, CursorGone
from angarium.model.delivery import Key
from angarium.model.event import Entry, Event, Kind, Place
from angarium.model.ids import Ids
from angarium.model.subscription import Owed, Version

LIMIT_MAX: Final = 250
_PREFIX: Final = "cur_"
_AS_DELIVERY: Final = "dlv_000000000000"  # A cursor is the block of such an id, which names no delivery: its time is 0.
_SHOWN: Final = 80


class FeedItem(Struct, frozen=True):
    """One event of a feed: where its entry stands, what its id encodes (a replay has its original's), and itself."""

    offset: int
    place: Place
    event: Event
    is_replay: bool = False
    is_resync: bool = False


class FeedPage(Struct, frozen=True):
    """What one look at the log shows, and the offset to go on after."""

    items: tuple[FeedItem, ...]
    next_offset: int


class Feed(Struct, frozen=True):
    """One subscription's feed: its number, its versions, ascending, and whether replays are asked for."""

    subscription: int
    versions: Sequence[Version]
    with_replays: bool = False

    def page(self, entries: Sequence[Entry], *, after: int, scanned_to: int, limit: int = LIMIT_MAX) -> FeedPage:
        """Return what the feed shows of its tenant's entries after an offset, at most `limit` (from 1) items.

        `entries` are in order, and all that the tenant has from `after` up to `scanned_to`.
        """
        items: list[FeedItem] = []
        for entry in entries:
            item = self._item(entry) if entry.offset > after else None
            if item is not None:
                items.append(item)
                if len(items) == limit:
                    return FeedPage(tuple(items), entry.offset)
        return FeedPage(tuple(items), max(after, scanned_to))

    def _item(self, entry: Entry) -> FeedItem | None:
        """Return what is shown of one entry; None when it is not for this subscription."""
        event = entry.event
        if event is None:  # A marker, or a replay of what retention has dropped.
            return None
        version = in_force(self.versions, entry.offset)
        if version is None or version.owed is Owed.NOTHING:
            return None
        if entry.kind is Kind.EVENT:
            is_shown = matcher(version.rule).matches(event)
        else:
            is_shown = entry.target == self.subscription and (self.with_replays or entry.kind is not Kind.REPLAY)
        if not is_shown:
            return None
        if entry.kind is Kind.REPLAY:
            return FeedItem(entry.offset, Place(entry.partition, entry.of, entry.of_ms), event, is_replay=True)
        place = Place(entry.partition, entry.offset, entry.accepted_ms)
        return FeedItem(entry.offset, place, event, is_resync=entry.kind is Kind.RESYNC)


def beginning(versions: Sequence[Version], *, floor: int) -> int:
    """Return the offset after which a feed without a cursor begins; `floor` is the last that retention has dropped."""
    first = versions[0].from_offset if versions else 0
    return max(first, floor)


def encode_cursor(ids: Ids, *, partition: int, offset: int, subscription: int) -> str:
    """Return the cursor that goes on after an offset. It tells its reader nothing, and fits no other subscription."""
    return _PREFIX + ids.delivery(Key(partition, offset, subscription, 0)).removeprefix(_AS_DELIVERY)


def decode_cursor(ids: Ids, text: str, *, partition: int, subscription: int, floor: int = 0) -> int:
    """Return the offset that a cursor goes on after.

    `BadCursor` when it is none of this subscription's feed; `CursorGone` when it lies below `floor`, the last offset
    that retention has dropped, so that events may be missing after it.
    """
    key = ids.key(_AS_DELIVERY + text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else None
    if key is None or (key.partition, key.subscription) != (partition, subscription):
        raise BadCursor(
            f"{text[:_SHOWN]!r} is no cursor of this feed; take `next` or an item's `cursor` from it, "
            "or leave `after` out to begin with the oldest event"
        )
    if key.last_offset < floor:
        raise CursorGone(
            "the log no longer holds all that came after this cursor; leave `after` out to go on with the oldest event "
            "that is left, and resync to make good what was missed"
        )
    return key.last_offset
