"""Read a subscription's feed: in pages, waiting for what comes, or as a stream. What it shows `core.feeding` says."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from angarium.core.feeding import Feed, FeedItem, beginning, decode_cursor, encode_cursor
from angarium.dialects.dialect import Item
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import NotFound
from angarium.model.event import Kind
from angarium.operations.writing import find_subscription

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from angarium.model.event import Entry
    from angarium.model.subscription import Subscription, Version
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach

    Stream = AsyncGenerator["FeedEntry | None", None]

SCANS_MAX_S: Final = 5.0
"""How long one page looks for something that matches before it answers with nothing and where to go on."""
_FILLS_MAX_S: Final = 0.3
_CHUNK: Final = 250
_HELD_MAX: Final = 4_096
_QUIET_S: Final = 15.0
_PAUSE_S: Final = 0.05
_BYTES_MAX: Final = 8 * 1024 * 1024


class FeedEntry(Struct, frozen=True):
    """One event of a feed, as one item of its dialect, and the cursor that goes on after it."""

    cursor: str
    id: str
    type: str
    occurred_us: int
    body: bytes


class FeedShown(Struct, frozen=True):
    """A page of a feed, and the cursor to go on from, which moves past what did not match."""

    data: Sequence[FeedEntry]
    next: str


class Feeds:
    """Read feeds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._engine = context.engine
        self._held: OrderedDict[int, tuple[int, list[Version]]] = OrderedDict()

    async def page(
        self, reach: Reach, id_: str, *, after: str | None = None, limit: int = 50, wait_s: float = 0.0
    ) -> FeedShown:
        """Return what comes after a cursor (None: all that there is), waiting so long for something to come.

        `BadCursor` for another's cursor, `CursorGone` for one that is older than the log.
        """
        subscription = await find_subscription(self._context, reach, id_)
        offset = await self._start(subscription, after)
        ends_at = asyncio.get_running_loop().time() + wait_s
        is_again = False
        while True:
            items, offset = await self._scan(subscription, offset, limit)
            left = ends_at - asyncio.get_running_loop().time()
            if items or left <= 0:
                shown = [await self._entry(subscription, item) for item in items]
                return FeedShown(shown, self._cursor(subscription, offset))
            await self._moved(subscription, offset, within_s=left, is_again=is_again)
            subscription = await find_subscription(self._context, reach, id_)
            is_again = True

    async def stream(self, reach: Reach, id_: str, *, after: str | None = None) -> Stream:
        """Return what comes after a cursor, and goes on coming; None says that it has been quiet for a while.

        Errors are raised before the first of it; the stream ends when the subscription is deleted.
        """
        subscription = await find_subscription(self._context, reach, id_)
        offset = await self._start(subscription, after)
        return self._stream(reach, subscription, offset)

    async def _stream(self, reach: Reach, subscription: Subscription, offset: int) -> Stream:
        is_again = False
        while True:
            items, offset = await self._scan(subscription, offset, _CHUNK)
            for item in items:
                yield await self._entry(subscription, item)
            if not items and not await self._moved(subscription, offset, within_s=_QUIET_S, is_again=is_again):
                yield None
            is_again = not items
            try:
                subscription = await find_subscription(self._context, reach, subscription.id)
            except NotFound:
                return

    async def _moved(self, subscription: Subscription, offset: int, *, within_s: float, is_again: bool) -> bool:
        """Wait until the log goes on after an offset; False when the time is up first.

        Who has just looked in vain waits a little longer: others of its partition may be busy all the time.
        """
        if is_again:
            await asyncio.sleep(min(_PAUSE_S, within_s))
        return await self._engine.moved(subscription.partition, beyond=offset, within_s=within_s)

    async def _start(self, subscription: Subscription, after: str | None) -> int:
        """Return the offset to go on after."""
        partition = subscription.partition
        floor = (await self._store.floors())[partition]
        if after is None:
            return beginning(await self._versions(subscription), floor=floor)
        return decode_cursor(
            self._context.ids, after, partition=partition, subscription=subscription.number, floor=floor
        )

    async def _scan(self, subscription: Subscription, offset: int, limit: int) -> tuple[list[FeedItem], int]:
        """Return at most `limit` items after an offset, and how far was looked; stops early for time and bytes."""
        versions, room = list(await self._versions(subscription)), _BYTES_MAX
        items: list[FeedItem] = []
        began = asyncio.get_running_loop().time()
        while True:
            chunk = await self._store.read_tenant(subscription.project, subscription.tenant, after=offset, limit=_CHUNK)
            _learn(versions, subscription.number, chunk.entries)
            feed = Feed(subscription.number, versions)
            page = feed.page(chunk.entries, after=offset, scanned_to=chunk.scanned_to, limit=limit - len(items))
            for item in page.items:
                items.append(item)
                room -= len(item.event.data)
                if room < 0:
                    return items, item.offset
            offset = page.next_offset
            took_s = asyncio.get_running_loop().time() - began
            is_at_end = len(chunk.entries) < _CHUNK
            if is_at_end or len(items) == limit or took_s > (_FILLS_MAX_S if items else SCANS_MAX_S):
                return items, offset

    async def _versions(self, subscription: Subscription) -> Sequence[Version]:
        """Return a subscription's versions, ascending; they change with its revision only."""
        number, revision = subscription.number, subscription.revision
        held = self._held.get(number)
        if held is not None and held[0] == revision:
            return held[1]
        all_of_tenant = await self._store.versions_of(subscription.project, subscription.tenant)
        versions = [version for version in all_of_tenant if version.subscription == number]
        self._held[number] = (revision, versions)
        self._held.move_to_end(number)
        if len(self._held) > _HELD_MAX:
            self._held.popitem(last=False)
        return versions

    async def _entry(self, subscription: Subscription, item: FeedItem) -> FeedEntry:
        place, event = item.place, item.event
        id_ = self._context.ids.event(place.partition, place.offset, place.accepted_ms)
        dialect, state = dialect_of(subscription.dialect), None
        if dialect.traits.is_fat and not event.data:
            state = await self._store.data_at(
                event.project, event.tenant, event.object, event.object_id, offset=place.offset
            )
        shown = Item(id_, event, place.accepted_ms, place.offset, place.partition, state, item.is_resync)
        body = dialect.encode_item(shown, subscription.all_options)
        occurred_us = event.occurred_us or place.accepted_ms * 1000
        return FeedEntry(self._cursor(subscription, item.offset), id_, event.type, occurred_us, body)

    def _cursor(self, subscription: Subscription, offset: int) -> str:
        return encode_cursor(
            self._context.ids, partition=subscription.partition, offset=offset, subscription=subscription.number
        )


def _learn(versions: list[Version], number: int, entries: Sequence[Entry]) -> None:
    """Add the versions that markers tell of and that are newer than those known: what follows is read by them."""
    for entry in entries:
        version = entry.version
        if entry.kind is not Kind.MARKER or version is None or version.subscription != number:
            continue
        if not versions or version.from_offset > versions[-1].from_offset:
            versions.append(version)
