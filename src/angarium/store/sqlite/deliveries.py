"""Keep lanes and deliveries, and list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from angarium.model.delivery import LaneRow, Open, Origin, Settled, State
from angarium.store import bodies
from angarium.store.contract import Listing
from angarium.store.paging import cut, select, window
from angarium.store.rows import (
    STATE_NUMBERS,
    STATES,
    Row,
    attempt_of,
    attempt_row,
    key_columns,
    member_values,
    open_of,
    open_row,
    settled_of,
)
from angarium.store.sqlite.file import File
from angarium.store.sqlite.places import find
from angarium.store.sqlite.settling import delete_settled, write_counts
from angarium.store.sqlite.statements import SQL, first, run, run_each, value

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import apsw

    from angarium.model.delivery import Attempt, Key
    from angarium.model.event import Place
    from angarium.store.contract import DeliveryQuery, Page, Settlement
    from angarium.store.paging import Cursor, Window
    from angarium.store.sqlite.fresh import Fresh
    from angarium.store.sqlite.transaction import Transaction

Delivery = Settled | Open

_END = 2**63 - 1


class _Scope(NamedTuple):
    """Whose deliveries are listed: `project`, `tenant` or `subscription`, its number, and its tenant's."""

    name: str
    number: int
    tenant: int


class Deliveries(File):
    """The part of the store that settling and inspection use."""

    def settle(self, settlement: Settlement) -> Future[None]:
        """Write one flush, grouped with what waits."""
        return self._writer.settle(settlement)

    async def watermarks(self) -> Mapping[int, int]:
        """Return the watermarks above 0."""
        return dict(await self._read(lambda connection: run(connection, "watermarks")))

    async def lanes(self, partitions: Collection[int] | None = None) -> Sequence[LaneRow]:
        """Return the rows of all behind lanes, or those of some partitions."""
        rows = await self._read(lambda connection: bodies.unpack_all(LaneRow, run(connection, "lanes")))
        return rows if partitions is None else [row for row in rows if row.partition in partitions]

    async def lane(self, partition: int, subscription: int) -> LaneRow | None:
        """Return a behind lane's row."""
        return await self._read(
            lambda connection: bodies.unpack_first(LaneRow, run(connection, "lane", (partition, subscription)))
        )

    async def failing(self, project: str) -> Sequence[int]:
        """Return the subscriptions of a project whose receivers may be failing."""

        def read(connection: apsw.Connection) -> list[int]:
            number = value(connection, "project_number", (project,))
            rows = bodies.unpack_all(LaneRow, run(connection, "lanes_of_project", (number,)))
            failed = {each for (each,) in run(connection, "failed_of_project", (number,))}
            return sorted(failed.union(row.subscription for row in rows if row.failing_since_ms))

        return await self._read(read)

    async def opens(self, partitions: Collection[int] | None = None) -> Sequence[Open]:
        """Return all deliveries that are not settled, or those of some partitions."""
        # The one owner has them all but when it takes up few: so no index is asked for what one more look finds.
        found = await self._read(lambda connection: [open_of(row) for row in run(connection, "opens")])
        return found if partitions is None else [each for each in found if each.key.partition in partitions]

    async def asked_for(self, partitions: Collection[int]) -> Sequence[Open]:
        """Return the open tests and redeliveries of some partitions: with one owner nobody need ask often."""
        return [each for each in await self.opens(partitions) if each.origin is not Origin.LANE]

    async def settled_after(self, partition: int, offset: int) -> Sequence[Settled]:
        """Return what was settled above an offset."""
        asked = {"partition": partition, "offset": offset}
        found = await self._read(
            lambda connection: [settled_of(row) for row in run(connection, "settled_after", asked)]
        )
        return sorted(found, key=lambda settled: key_columns(settled.key))

    async def reopen(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Move a settled delivery back to the open ones, or add a new one."""
        return await self._change(lambda transaction: _reopen(transaction, open_, attempt))

    async def deliveries(self, query: DeliveryQuery, page: Page) -> Listing[Delivery]:
        """List deliveries, open and settled, newest first."""
        wanted = window("deliveries", page)

        def read(connection: apsw.Connection) -> Listing[Delivery]:
            if query.event is not None:
                return _list_of_event(connection, self._ledger.fresh, query, query.event, wanted)
            return _list(connection, query, wanted)

        return await self._read(read)

    async def delivery(self, key: Key) -> Delivery | None:
        """Return a delivery, the open one if there are both."""
        return await self._read(lambda connection: _delivery(connection, key))

    async def attempts(self, key: Key) -> Sequence[Attempt]:
        """Return a delivery's failed attempts, oldest first."""
        return await self._read(
            lambda connection: [attempt_of(row) for row in run(connection, "attempts", key_columns(key))]
        )

    async def counts(self, project: str) -> Mapping[str, int]:
        """Count a project's deliveries by state."""
        return await self._read(lambda connection: _counts(connection, project))


def _reopen(transaction: Transaction, open_: Open, attempt: Attempt | None) -> bool:
    key = open_.key
    if first(transaction.connection, "open", key_columns(key)):
        return False
    write_counts(transaction.connection, delete_settled(transaction.connection, lately=[key], longer_ago=[key]))
    owner = transaction.ledger.owners([key.subscription])[key.subscription]
    run_each(transaction.connection, "put_opens", open_row(open_, owner))
    run_each(transaction.connection, "add_members", list(member_values(open_)))
    if attempt is not None:
        run_each(transaction.connection, "add_attempts", list(attempt_row(attempt)))
    transaction.touch(key.partition)
    return True


# -- reading ----------------------------------------------------------------------------------------------------------


def _delivery(connection: apsw.Connection, key: Key) -> Delivery | None:
    columns = key_columns(key)
    for row in run(connection, "open", columns):
        return open_of(row)
    for name in ("settled_lately", "settled"):
        for row in run(connection, name, columns):
            return settled_of(row)
    return None


def _counts(connection: apsw.Connection, project: str) -> dict[str, int]:
    number = value(connection, "project_number", (project,))
    counts = {STATES[state].value: total for state, total in run(connection, "counts", (number,))}
    if opened := value(connection, "count_open", (number,)):
        counts[State.RETRYING.value] = opened
    return counts


# -- listing ----------------------------------------------------------------------------------------------------------


def _list(connection: apsw.Connection, query: DeliveryQuery, wanted: Window) -> Listing[Delivery]:
    """Read the nearest deliveries of each kind, and cut a page of them together."""
    scope = _scope(connection, query)
    if scope is None:
        return Listing([])
    way = "up" if wanted.is_backward else "down"
    asked = {"scope": scope.number, "tenant": scope.tenant, "limit": wanted.limit + 1, **_bounds(query, wanted)}
    found: list[Delivery] = []
    if query.state in (None, State.RETRYING):
        found += [open_of(row) for row in run(connection, f"list_opens_{scope.name}_{way}", asked)]
    if query.state != State.RETRYING:
        asked["state"] = None if query.state is None else STATE_NUMBERS[query.state]
        found += _settled(run(connection, f"list_lately_{scope.name}_{way}", asked))
        found += _moved(connection, scope, asked, wanted)
    return cut(wanted, _nearest(found, wanted), _by_moment)


def _moved(
    connection: apsw.Connection, scope: _Scope, asked: dict[str, int | str | None], wanted: Window
) -> list[Delivery]:
    """Read what was settled longer ago, through the index that serves it in its order."""
    way = "up" if wanted.is_backward else "down"
    if asked["state"]:
        return _settled(run(connection, f"list_failed_{scope.name}_{way}", asked))
    if scope.name == "project":
        return _settled(run(connection, f"list_settled_{way}", asked))
    found: list[Delivery] = []
    block = "list_lot_of_tenant" if scope.name == "tenant" else "list_lot_of_subscription"
    for lot, nearest_ms in connection.execute(SQL["lots_up" if wanted.is_backward else "lots_down"], asked):
        if len(found) > wanted.limit:  # What this lot holds lies beyond, and so does what the next ones hold.
            last_ms = found[-1].key.last_ms
            if nearest_ms > last_ms if wanted.is_backward else nearest_ms < last_ms:
                break
        found = _nearest(found + _settled(run(connection, f"{block}_{way}", {"lot": lot, **asked})), wanted)
    return found


def _nearest(found: list[Delivery], wanted: Window) -> list[Delivery]:
    """Return those nearest to the cursor, one more than a page holds."""
    return sorted(found, key=_by_moment, reverse=not wanted.is_backward)[: wanted.limit + 1]


def _list_of_event(
    connection: apsw.Connection, fresh: Fresh, query: DeliveryQuery, event: Place, wanted: Window
) -> Listing[Delivery]:
    """Read all deliveries of one event: they are as many as it has subscriptions."""
    scope = _scope(connection, query)
    if scope is None:
        return Listing([])
    sequence = find(connection, fresh, event.partition, [event.offset]).get(event.offset)
    tenant = value(connection, "tenant_at", (sequence,))
    asked = {"partition": event.partition, "offset": event.offset, "tenant": tenant}
    held: list[tuple[Row, Delivery]] = [(row, open_of(row[2:])) for row in run(connection, "opens_of_event", asked)]
    held += [(row, settled_of(row[2:])) for row in run(connection, "settled_of_event", asked)]
    found = [
        delivery
        for (project, owner, *_), delivery in held
        if scope.number == {"project": project, "tenant": owner}.get(scope.name, delivery.key.subscription)
        and _is_asked(delivery, query)
        and _settles(delivery, event.offset, is_own=owner == tenant)
    ]
    return select(wanted, found, _by_moment)


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


def _settled(rows: Iterable[Row]) -> list[Delivery]:
    return [settled_of(row) for row in rows]


def _scope(connection: apsw.Connection, query: DeliveryQuery) -> _Scope | None:
    """Return the narrowest scope that a query names; None when that does not lie in the others."""
    project: int | None = value(connection, "project_number", (query.project,))
    tenant = None
    if query.tenant is not None:
        found = first(connection, "tenant_number", (query.project, query.tenant))
        if found is None:
            return None
        tenant = int(found[0])
    if query.subscription is not None:
        owner = next(iter(run_each(connection, "owners", [query.subscription])), None)
        if owner is None or owner[1] != project or tenant not in (None, owner[2]):
            return None
        return _Scope("subscription", query.subscription, owner[2])
    if tenant is not None:
        return _Scope("tenant", tenant, tenant)
    return None if project is None else _Scope("project", project, 0)


def _bounds(query: DeliveryQuery, wanted: Window) -> dict[str, int | str | None]:
    """Return the keys, both excluded, between which a page may lie."""
    since_ms, until_ms = _times(query)
    above = max((since_ms, -1, -1, -1), wanted.before or (-_END, 0, 0, 0))
    below = min((until_ms, -1, -1, -1), wanted.after or (_END, _END, _END, _END))
    names = ("ms", "partition", "offset")
    return {
        **{f"above_{name}": value for name, value in zip(names, above, strict=False)},
        **{f"below_{name}": value for name, value in zip(names, below, strict=False)},
        "above": above[3],
        "below": below[3],
    }


def _times(query: DeliveryQuery) -> tuple[int, int]:
    """Return from which moment on, and before which, a query asks."""
    return (
        -_END if query.since_ms is None else query.since_ms,
        _END if query.until_ms is None else query.until_ms,
    )


def _by_moment(delivery: Delivery) -> Cursor:
    key = delivery.key
    return key.last_ms, key.partition, key.last_offset, key.subscription
