"""Keep lanes and deliveries, and list them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from angarium.model.delivery import LaneRow, Open, Settled, State
from angarium.model.event import PARTITIONS
from angarium.store import bodies
from angarium.store.contract import DeliveryQuery, Listing, Page
from angarium.store.paging import cut, select, window
from angarium.store.postgres.names import NOBODY
from angarium.store.postgres.packed import END, Packed, way
from angarium.store.postgres.settling import ATTEMPT, KEY, columns
from angarium.store.postgres.statements import first, run, value
from angarium.store.rows import (
    STATE_NUMBERS,
    STATES,
    Row,
    attempt_of,
    attempt_row,
    key_columns,
    open_of,
    open_row,
    settled_of,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.model.delivery import Attempt, Key
    from angarium.model.event import Place
    from angarium.store.paging import Cursor, Window
    from angarium.store.postgres.statements import Connection
    from angarium.store.postgres.transaction import Transaction

Delivery = Settled | Open


class _Scope(NamedTuple):
    """Whose deliveries are listed: `project`, `tenant` or `subscription`, and its number."""

    name: str
    number: int


class Deliveries(Packed):
    """The part of the store that settling and inspection use."""

    async def watermarks(self) -> Mapping[int, int]:
        """Return the watermarks above 0."""
        async with self._reading() as connection:
            return dict(map(tuple, await run(connection, "watermarks")))

    async def lanes(self, partitions: Collection[int] | None = None) -> Sequence[LaneRow]:
        """Return the rows of all behind lanes, or those of some partitions."""
        return await self._all(LaneRow, "lanes", partitions=_asked(partitions))

    async def lane(self, partition: int, subscription: int) -> LaneRow | None:
        """Return a behind lane's row."""
        return await self._first(LaneRow, "lane", partition=partition, subscription=subscription)

    async def failing(self, project: str) -> Sequence[int]:
        """Return the subscriptions of a project whose receivers may be failing."""
        async with self._reading() as connection:
            number = await self._scope(connection, project, None)
            rows = bodies.unpack_all(LaneRow, map(tuple, await run(connection, "lanes_of_project", project=number)))
            failed = {each for (each,) in await run(connection, "failed_of_project", project=number)}
        return sorted(failed.union(row.subscription for row in rows if row.failing_since_ms))

    async def opens(self, partitions: Collection[int] | None = None) -> Sequence[Open]:
        """Return all deliveries that are not settled, or those of some partitions."""
        async with self._reading() as connection:
            return [open_of(tuple(row)) for row in await run(connection, "opens", partitions=_asked(partitions))]

    async def asked_for(self, partitions: Collection[int]) -> Sequence[Open]:
        """Return the open tests and redeliveries of some partitions."""
        async with self._reading() as connection:
            rows = await run(connection, "asked_for", partitions=list(partitions))
        return [open_of(tuple(row)) for row in rows]

    async def settled_after(self, partition: int, offset: int) -> Sequence[Settled]:
        """Return what was settled above an offset."""
        async with self._reading() as connection:
            rows = await run(connection, "settled_after", partition=partition, offset=offset)
        return [settled_of(tuple(row)) for row in rows]

    async def reopen(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Move a settled delivery back to the open ones, or add a new one."""

        async def reopen(transaction: Transaction) -> bool:
            connection, key = transaction.connection, open_.key
            await transaction.lock([key.partition])
            owner = (await self._names.owners_of(connection, [key.subscription])).get(key.subscription, NOBODY)
            *_, project, tenant, origin, first_offset, record = open_row(open_, owner)
            given = {"project": project, "tenant": tenant, "origin": origin}
            if not await run(connection, "add_open", first_offset=first_offset, record=record, **given, **_named(key)):
                return False
            await run(connection, "add_members", members=list(open_.members), **_named(key))
            await run(connection, "delete_settled", **columns(KEY, [key_columns(key)]))
            if attempt is not None:
                await run(connection, "add_attempts", **columns(ATTEMPT, [attempt_row(attempt)]))
            await transaction.touch(key.partition)
            return True

        return await self._change(reopen)

    async def delivery(self, key: Key) -> Delivery | None:
        """Return a delivery, the open one if there are both."""
        async with self._reading() as connection:
            if row := await first(connection, "open", **_named(key)):
                return open_of(tuple(row))
            row = await first(connection, "settled", **_named(key))
            return settled_of(tuple(row)) if row else None

    async def attempts(self, key: Key) -> Sequence[Attempt]:
        """Return a delivery's failed attempts, oldest first."""
        async with self._reading() as connection:
            return [attempt_of(tuple(row)) for row in await run(connection, "attempts", **_named(key))]

    async def counts(self, project: str) -> Mapping[str, int]:
        """Count a project's deliveries by state."""
        async with self._reading() as connection:
            number = await self._scope(connection, project, None)
            counts = {STATES[state].value: total for state, total in await run(connection, "counts", project=number)}
            if opened := await value(connection, "count_open", project=number):
                counts[State.RETRYING.value] = opened
        return counts

    async def deliveries(self, query: DeliveryQuery, page: Page) -> Listing[Delivery]:
        """List deliveries, open and settled, newest first."""
        wanted = window("deliveries", page)
        async with self._reading() as connection:
            scope = await self._delivery_scope(connection, query)
            if scope is None:
                return Listing([])
            if query.event is not None:
                event = query.event
                days = self._days.of(event.partition, event.offset)
                tenant = await value(connection, "tenant_at", partition=event.partition, offset=event.offset, **days)
                return await _list_of_event(connection, query, event, scope, wanted, tenant)
            return await _list(connection, query, scope, wanted)

    async def _delivery_scope(self, connection: Connection, query: DeliveryQuery) -> _Scope | None:
        """Return the narrowest scope that a query names; None when that does not lie in the others."""
        project = await self._scope(connection, query.project, None)
        tenant = None
        if query.tenant is not None:
            tenant = await self._tenant_number(connection, query.project, query.tenant)
            if tenant is None:
                return None
        if query.subscription is not None:
            owner = (await self._names.owners_of(connection, [query.subscription]))[query.subscription]
            is_inside = owner[0] == project and tenant in (None, owner[1])
            return _Scope("subscription", query.subscription) if is_inside else None
        if tenant is not None:
            return _Scope("tenant", tenant)
        return None if project is None else _Scope("project", project)


# -- listing ----------------------------------------------------------------------------------------------------------


async def _list(connection: Connection, query: DeliveryQuery, scope: _Scope, wanted: Window) -> Listing[Delivery]:
    """Read the nearest deliveries of each kind, and cut a page of them together."""
    asked = {"scope": scope.number, "limit": wanted.limit + 1, **_bounds(query, wanted)}
    found: list[Delivery] = []
    if query.state in (None, State.RETRYING):
        rows = await run(connection, f"list_opens_{scope.name}_{way(wanted)}", **asked)
        found += [open_of(tuple(row)) for row in rows]
    if query.state != State.RETRYING:
        block = {None: "list_settled", State.DELIVERED: "list_delivered"}.get(query.state, "list_failed")
        state = STATE_NUMBERS.get(query.state) if query.state else None
        rows = await run(connection, f"{block}_{scope.name}_{way(wanted)}", state=state, **asked)
        found += [settled_of(tuple(row)) for row in rows]
    nearest = sorted(found, key=_by_moment, reverse=not wanted.is_backward)[: wanted.limit + 1]
    return cut(wanted, nearest, _by_moment)


async def _list_of_event(
    connection: Connection, query: DeliveryQuery, event: Place, scope: _Scope, wanted: Window, tenant: int | None
) -> Listing[Delivery]:
    """Read all deliveries of one event, whose tenant it is: they are as many as it has subscriptions."""
    place = {"partition": event.partition, "offset": event.offset}
    held: list[tuple[Record, Delivery]] = [
        (row, open_of(_after_owner(row))) for row in await run(connection, "opens_of_event", **place)
    ]
    held += [
        (row, settled_of(_after_owner(row)))
        for row in await run(connection, "settled_of_event", tenant=tenant, **place)
    ]
    found = [
        delivery
        for row, delivery in held
        if row[scope.name] == scope.number
        and _is_asked(delivery, query)
        and _settles(delivery, event.offset, is_own=row["tenant"] == tenant)
    ]
    return select(wanted, found, _by_moment)


def _after_owner(row: Record) -> Row:
    _, _, *columns = row
    return tuple(columns)


def _is_asked(delivery: Delivery, query: DeliveryQuery) -> bool:
    state = State.RETRYING if isinstance(delivery, Open) else delivery.state
    since_ms, until_ms = _times(query)
    return query.state in (None, state) and since_ms <= delivery.key.last_ms < until_ms


def _settles(delivery: Delivery, offset: int, *, is_own: bool) -> bool:
    """Say whether a delivery settles an event: what was a member of an earlier one with the same key may not be now."""
    if offset == delivery.key.last_offset or offset in delivery.members:
        return True
    if isinstance(delivery, Open) or not delivery.count:
        return False
    return is_own and delivery.first_offset <= offset <= delivery.key.last_offset


def _bounds(query: DeliveryQuery, wanted: Window) -> dict[str, Any]:
    """Return the keys, both excluded, between which a page may lie."""
    since_ms, until_ms = _times(query)
    above = max((since_ms, -1, -1, -1), _numbers(wanted.before, (-END, 0, 0, 0)))
    below = min((until_ms, -1, -1, -1), _numbers(wanted.after, (END, 0, 0, 0)))
    names = ("ms", "partition", "offset")
    return {
        **{f"above_{name}": value for name, value in zip(names, above, strict=False)},
        **{f"below_{name}": value for name, value in zip(names, below, strict=False)},
        "above": above[3],
        "below": below[3],
    }


def _numbers(cursor: Iterable[int | str] | None, instead: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Return a cursor's numbers, a partition among them that the server can hold."""
    if cursor is None:
        return instead
    last_ms, partition, offset, subscription = map(int, cursor)
    return last_ms, min(partition, 2**15 - 1), offset, subscription


def _times(query: DeliveryQuery) -> tuple[int, int]:
    """Return from which moment on, and before which, a query asks."""
    return (
        -END if query.since_ms is None else query.since_ms,
        END if query.until_ms is None else query.until_ms,
    )


def _by_moment(delivery: Delivery) -> Cursor:
    key = delivery.key
    return key.last_ms, key.partition, key.last_offset, key.subscription


def _asked(partitions: Collection[int] | None) -> list[int]:
    return list(range(PARTITIONS)) if partitions is None else sorted(partitions)


def _named(key: Key) -> dict[str, int]:
    return dict(zip(KEY, key_columns(key), strict=True))
