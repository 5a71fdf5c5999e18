"""Look at deliveries: which there are, what became of one attempt by attempt, and how they change while one looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from angarium.errors import FieldError, NotFound
from angarium.model.delivery import TEST_OFFSET, Attempt, Key, Open, Settled, State
from angarium.model.event import Entry, Event, Kind, Place
from angarium.operations.windows import Window, read_window
from angarium.operations.writing import PREFIX as SUBSCRIPTION
from angarium.store.contract import DeliveryQuery, Listing, Page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from angarium.model.ids import Ids
    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach

CHANGES_MAX: Final = 10_000
"""How many changes wait for a reader of a stream before it is told to begin anew."""
_QUIET_S: Final = 15.0
_NAMES_MAX: Final = 10_000


class Asked(Struct, frozen=True):
    """Which deliveries are asked for, in the words of the HTTP API."""

    subscription: str | None = None
    tenant: str | None = None
    state: str | None = None
    event: str | None = None
    since: str | None = None
    until: str | None = None


class Named(Struct, frozen=True):
    """A delivery with what it is about.

    `subscription` is None when it has been deleted. `events` are the ids of what it settles, as far as they are known
    (a list knows the last one only), `last` is the last event's entry while the log holds it.
    """

    delivery: Settled | Open
    id: str
    subscription: Subscription | None
    tenant: str
    events: tuple[str, ...]
    last: Entry | None = None


class Detailed(Struct, frozen=True):
    """A delivery with all of its failed attempts, oldest first."""

    named: Named
    attempts: Sequence[Attempt]


class Deliveries:
    """Look at deliveries."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ids = context.ids
        self._store = context.store

    async def listed(self, reach: Reach, asked: Asked, page: Page) -> Listing[Named]:
        """List deliveries, open and settled, the newest first."""
        found = await self._store.deliveries(query_of(self._ids, reach, asked), page)
        return Listing(await self._named(found.data), found.next, found.prev)

    async def get(self, reach: Reach, id_: str) -> Detailed:
        """Return one delivery with its attempts."""
        delivery = await self.find(reach, id_)
        [named] = await self._named([delivery])
        offsets = (*delivery.members, delivery.key.last_offset)
        entries = await self._store.entries(delivery.key.partition, offsets) if delivery.members else ()
        if entries:
            named = Named(
                named.delivery,
                named.id,
                named.subscription,
                named.tenant,
                tuple(event_id(self._ids, entry) for entry in entries),
                named.last,
            )
        return Detailed(named, await self._store.attempts(delivery.key))

    async def find(self, reach: Reach, id_: str) -> Settled | Open:
        """Return the delivery that an id names; `NotFound` unless it lies within reach."""
        key = self._ids.key(id_)
        found = await self._store.delivery(key) if key is not None else None
        if found is None or found.key != key or not await self._holds(reach, found.key):
            raise NotFound(f"there is no delivery {id_[:80]!r} here; it may be older than what is kept")
        return found

    async def of_event(self, reach: Reach, entry: Entry) -> Sequence[Named]:
        """Return the deliveries that settle an event, the newest first, at most 250."""
        place = Place(entry.partition, entry.offset, entry.accepted_ms)
        query = DeliveryQuery(reach.project, tenant=reach.filter(None), event=place)
        return await self._named((await self._store.deliveries(query, Page(limit=250))).data)

    async def named(self, delivery: Settled | Open) -> Named:
        """Return one delivery with what it is about."""
        [named] = await self._named([delivery])
        return named

    def changes(self, reach: Reach, asked: Asked) -> AsyncGenerator[Named | None, None]:
        """Return deliveries as they are opened and settled from now on; None says that it has been quiet for a while.

        The stream ends when its reader falls so far behind that it should begin anew with the list.
        """
        return self._changes(query_of(self._ids, reach, asked))

    # -- naming -----------------------------------------------------------------------------------------------------

    async def _named(self, deliveries: Sequence[Settled | Open]) -> list[Named]:
        subscriptions = {
            number: await self._store.subscription(number) for number in {each.key.subscription for each in deliveries}
        }
        entries = await self._last_entries(deliveries)
        return [
            self._name(each, subscriptions.get(each.key.subscription), entries.get(_place(each.key)))
            for each in deliveries
        ]

    async def _last_entries(self, deliveries: Iterable[Settled | Open]) -> Mapping[tuple[int, int], Entry]:
        offsets: dict[int, list[int]] = {}
        for each in deliveries:
            if each.key.last_offset < TEST_OFFSET:
                offsets.setdefault(each.key.partition, []).append(each.key.last_offset)
        found = [await self._store.entries(partition, those) for partition, those in offsets.items()]
        return {(entry.partition, entry.offset): entry for entries in found for entry in entries}

    def _name(self, delivery: Settled | Open, subscription: Subscription | None, last: Entry | None) -> Named:
        key = delivery.key
        event: Event | None = last.event if last is not None else None
        tenant = subscription.tenant if subscription is not None else event.tenant if event is not None else ""
        last_id = (
            event_id(self._ids, last)
            if last is not None
            else self._ids.event(key.partition, key.last_offset, key.last_ms)
        )
        return Named(delivery, self._ids.delivery(key), subscription, tenant, (last_id,), last)

    async def _holds(self, reach: Reach, key: Key) -> bool:
        """Say whether a delivery lies within reach, also when its subscription has been deleted."""
        subscription = await self._store.subscription(key.subscription)
        if subscription is not None:
            return reach.holds(project=subscription.project, tenant=subscription.tenant)
        place = Place(key.partition, key.last_offset, key.last_ms)
        query = DeliveryQuery(reach.project, reach.filter(None), key.subscription, event=place)
        return any(each.key == key for each in (await self._store.deliveries(query, Page(limit=250))).data)

    # -- changes ----------------------------------------------------------------------------------------------------

    async def _changes(self, query: DeliveryQuery) -> AsyncGenerator[Named | None, None]:
        waiting: asyncio.Queue[Settled | Open] = asyncio.Queue(CHANGES_MAX)
        is_behind = False

        def changed(opened: Sequence[Open], settled: Sequence[Settled]) -> None:
            nonlocal is_behind
            both: list[Settled | Open] = [*opened, *settled]
            for each in both:
                if query.subscription not in (None, each.key.subscription) or is_behind:
                    continue
                try:
                    waiting.put_nowait(each)
                except asyncio.QueueFull:
                    is_behind = True

        stop = self._context.engine.watch(changed, project=query.project)
        try:
            while not is_behind:
                try:
                    delivery = await asyncio.wait_for(waiting.get(), _QUIET_S)
                except TimeoutError:
                    yield None
                    continue
                named = await self.named(delivery)
                if _is_asked(named, query):
                    yield named
        finally:
            stop()


def query_of(ids: Ids, reach: Reach, asked: Asked) -> DeliveryQuery:
    """Return the query that is asked for; `FieldError` for an id that is none, `NotFound` for another's tenant."""
    window: Window = read_window(asked.since, asked.until)
    subscription = None if asked.subscription is None else ids.number(SUBSCRIPTION, asked.subscription)
    if asked.subscription is not None and subscription is None:
        raise FieldError("subscription", f"{asked.subscription[:80]!r} is no subscription's id")
    event = None if asked.event is None else ids.place(asked.event)
    if asked.event is not None and event is None:
        raise FieldError("event", f"{asked.event[:80]!r} is no event's id")
    return DeliveryQuery(
        reach.project,
        reach.filter(asked.tenant),
        subscription,
        None if asked.state is None else State(asked.state),
        event,
        window.since_ms,
        window.until_ms,
    )


def event_id(ids: Ids, entry: Entry) -> str:
    """Return the id of an entry's event: a replay's is the original's."""
    if entry.kind is Kind.REPLAY:
        return ids.event(entry.partition, entry.of, entry.of_ms)
    return ids.event(entry.partition, entry.offset, entry.accepted_ms)


def state_of(delivery: Settled | Open) -> State:
    """Return what a delivery is in."""
    return State.RETRYING if isinstance(delivery, Open) else delivery.state


def _is_asked(named: Named, query: DeliveryQuery) -> bool:
    """Say whether a delivery that has changed is one that a stream is about."""
    key, subscription = named.delivery.key, named.subscription
    return (
        subscription is not None
        and subscription.project == query.project
        and query.tenant in (None, named.tenant)
        and query.state in (None, state_of(named.delivery))
        and (query.since_ms is None or key.last_ms >= query.since_ms)
        and (query.until_ms is None or key.last_ms < query.until_ms)
        and (query.event is None or _settles(named.delivery, query.event))
    )


def _settles(delivery: Settled | Open, event: Place) -> bool:
    key = delivery.key
    if key.partition != event.partition:
        return False
    if isinstance(delivery, Settled) and delivery.count:
        return delivery.first_offset <= event.offset <= key.last_offset
    return event.offset == key.last_offset or event.offset in delivery.members


def _place(key: Key) -> tuple[int, int]:
    return key.partition, key.last_offset
