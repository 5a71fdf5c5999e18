"""Make the values that the store's tests speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from angarium.core.partitioning import partition_of
from angarium.model.delivery import Attempt, Key, LaneRow, Open, Settled, State
from angarium.model.event import Entry, Event, Kind
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.model.wire import Phases
from angarium.store.contract import Page, Publish, Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.store.contract import Listing, Receipt, Store

T = TypeVar("T")

NOON = 1_790_000_000_000
"""The moment at which these tests begin, in milliseconds."""
HOUR = 3_600_000
PROJECT = "radio"
TENANT = "1"
PARTITION = partition_of(PROJECT, TENANT)
NEIGHBOUR = next(name for name in map(str, range(2, 5000)) if partition_of(PROJECT, name) == PARTITION)
"""Another tenant that shares the partition."""


def event(number: int = 1, *, tenant: str = TENANT, project: str = PROJECT, action: str = "update") -> Event:
    """Return an event of an item."""
    return Event(project, tenant, "item", str(number), action, data=b'{"n":%d}' % number)


def publish(*events: Event, now_ms: int = NOON, key: str = "", digest: bytes = b"", matched: int = 0) -> Publish:
    """Return a publish of these events, of one when none is given."""
    given = events or (event(),)
    return Publish(given[0].project, given, now_ms, key, digest, matched)


async def fill(store: Store, count: int, *, tenant: str = TENANT, now_ms: int = NOON) -> list[int]:
    """Publish so many events of a tenant, one a millisecond; return their offsets."""
    receipts: list[Receipt] = [
        await store.accept(publish(event(number, tenant=tenant), now_ms=now_ms + number)) for number in range(count)
    ]
    return [place.offset for receipt in receipts for place in receipt.places]


def subscription(
    number: int = 1,
    *,
    tenant: str = TENANT,
    project: str = PROJECT,
    status: Status = Status.ACTIVE,
    url: str = "https://a",
) -> Subscription:
    """Return a subscription of a tenant."""
    return Subscription(
        number=number,
        id=f"sub_{number}",
        project=project,
        tenant=tenant,
        partition=partition_of(project, tenant),
        created_ms=NOON + number,
        updated_ms=NOON + number,
        status=status,
        url=url,
        headers={"x-team": b"\x00\xff sealed"},
        overrides={"timeout_s": 7.5},
    )


def version(number: int = 1, *, owed: Owed = Owed.PUSH, types: tuple[str, ...] = ()) -> Version:
    """Return what is to be in force for a subscription."""
    return Version(number, 0, owed, Rule(types, b'{"a":1}'), "standard")


async def subscribe(store: Store, number: int = 1, *, tenant: str = TENANT, project: str = PROJECT) -> int:
    """Create a subscription; return its marker's offset."""
    made = await store.change(subscription(number, tenant=tenant, project=project), version(number), revision=0)
    assert made is not None
    return made


def key(offset: int, number: int = 1, *, tenant: str = TENANT, last_ms: int | None = None) -> Key:
    """Return the key of a delivery whose last event stands at an offset, accepted so many milliseconds after noon."""
    return Key(partition_of(PROJECT, tenant), offset, number, NOON + offset if last_ms is None else last_ms)


def settled(of: Key, state: State = State.DELIVERED, *, members: tuple[int, ...] = ()) -> Settled:
    """Return a delivery's end with every member filled in."""
    return Settled(
        of,
        state,
        settled_ms=of.last_ms + 40,
        members=members,
        attempts=2,
        status=200,
        reason="accepted",
        at_ms=of.last_ms + 7,
        took_ms=33,
        phases=Phases(1, 2, 3, 30_000, 33_000),
        answer=b"thanks",
    )


def exhausted_range(of: Key, *, first_offset: int, count: int) -> Settled:
    """Return the end of a range of events, none of which was sent."""
    return Settled(of, State.EXHAUSTED, settled_ms=of.last_ms + 9, first_offset=first_offset, count=count)


def opened(of: Key, *, members: tuple[int, ...] = (), attempts: int = 1) -> Open:
    """Return an open delivery after its first failure."""
    return Open(
        of,
        members=members,
        attempts=attempts,
        next_ms=of.last_ms + 5000,
        opened_ms=of.last_ms + 1,
        status=500,
        reason="status",
        body=b'{"n":1}',
        content_type="application/json",
    )


def attempt(of: Key, number: int = 1, *, at_ms: int | None = None) -> Attempt:
    """Return a failed attempt."""
    moment = of.last_ms + number if at_ms is None else at_ms
    return Attempt(of, number, moment, 500, "status", 12, Phases(1, 2, 3, 4, 5), b"oops", "it said 500")


def lane(number: int = 1, cursor: int = 0, *, tenant: str = TENANT) -> LaneRow:
    """Return a behind lane's row with every member filled in."""
    return LaneRow(
        partition_of(PROJECT, tenant),
        number,
        cursor,
        (cursor + 2, cursor + 5),
        7,
        cursor + 9,
        NOON,
        3,
        30.5,
        NOON + 1,
        NOON - 1,
    )


def replay(of: int, *, target: int = 1, now_ms: int = NOON, tenant: str = TENANT) -> Entry:
    """Return an entry that shows an older one again."""
    return Entry(partition_of(PROJECT, tenant), 0, now_ms, None, Kind.REPLAY, target=target, of=of, of_ms=NOON)


def resync(shown: Event, *, target: int = 1, now_ms: int = NOON) -> Entry:
    """Return an entry for one subscription alone."""
    return Entry(partition_of(shown.project, shown.tenant), 0, now_ms, shown, Kind.RESYNC, target=target)


def watermark(offset: int, *, tenant: str = TENANT) -> Settlement:
    """Return a flush that moves a watermark alone."""
    return Settlement(watermarks={partition_of(PROJECT, tenant): offset})


async def walk(read: Callable[[Page], Awaitable[Listing[T]]], *, limit: int = 2) -> list[list[T]]:
    """Walk through a list to its end and back, which must show the same; return the pages, newest first."""
    page = await read(Page(limit=limit))
    down = [list(page.data)]
    while page.next:
        page = await read(Page(limit=limit, after=page.next))
        down.append(list(page.data))
    up = list(page.data)
    while page.prev:
        page = await read(Page(limit=limit, before=page.prev))
        up = [*page.data, *up]
    assert up == [each for found in down for each in found]
    return down
