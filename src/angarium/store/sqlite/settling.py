"""Write flushes: what several of them say of one row comes down to what the last one says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from angarium.model.delivery import TEST_OFFSET
from angarium.store import bodies
from angarium.store.flushing import Flushes
from angarium.store.rows import (
    STATE_NUMBERS,
    attempt_row,
    key_columns,
    member_values,
    open_row,
    settled_row,
    weight_of,
)
from angarium.store.sqlite.statements import run, run_each, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from angarium.model.delivery import Key
    from angarium.store.sqlite.ledger import Ledger


class Settling(Flushes):
    """What some flushes leave, and how it is written."""

    def write(self, connection: apsw.Connection, ledger: Ledger, lately: set[Key]) -> set[Key]:
        """Write it all; return what is settled lately. `lately` is what this transaction has settled before."""
        owners = ledger.owners(key.subscription for key in (*self._settled, *self._opens))
        self._write_opens(connection, owners)
        self._write_lanes(connection)
        if self._settled:
            self._write_settled(connection, ledger, lately, owners)
        run_each(connection, "add_attempts", _flat(attempt_row(each) for each in self._attempts.values()))
        run_each(connection, "put_watermarks", _flat(self._watermarks.items()))
        return set(self._settled)

    def _write_opens(self, connection: apsw.Connection, owners: dict[int, tuple[int, int]]) -> None:
        run_each(connection, "close", _flat(key_columns(key) for key, open_ in self._opens.items() if open_ is None))
        opened = [open_ for open_ in self._opens.values() if open_ is not None]
        run_each(connection, "put_opens", _flat(open_row(open_, owners[open_.key.subscription]) for open_ in opened))
        run_each(connection, "add_members", _flat(member_values(open_) for open_ in opened))

    def _write_lanes(self, connection: apsw.Connection) -> None:
        run_each(connection, "delete_lanes", _flat(key for key, lane in self._lanes.items() if lane is None))
        lanes = [lane for lane in self._lanes.values() if lane is not None]
        rows = ((lane.partition, lane.subscription, lane.cursor, bodies.pack(lane)) for lane in lanes)
        run_each(connection, "put_lanes", _flat(rows))

    def _write_settled(
        self, connection: apsw.Connection, ledger: Ledger, lately: set[Key], owners: dict[int, tuple[int, int]]
    ) -> None:
        recent, moved_to = ledger.lately, ledger.moved_to
        counts = delete_settled(
            connection,
            lately=[key for key in self._settled if key in recent or key in lately],
            longer_ago=[
                key
                for key in self._settled
                if key.last_offset <= moved_to.get(key.partition, 0) or key.last_offset >= TEST_OFFSET
            ],
        )
        values: list[Any] = []
        for key, settled in self._settled.items():
            owner = owners[key.subscription]
            values += settled_row(settled, owner)
            counts[owner[0], STATE_NUMBERS[settled.state]] += settled.count or 1
        run_each(connection, "add_settled", values)
        run_each(
            connection, "add_members", [each for settled in self._settled.values() for each in member_values(settled)]
        )
        write_counts(connection, counts)


def delete_settled(
    connection: apsw.Connection, *, lately: Iterable[Key] = (), longer_ago: Iterable[Key] = ()
) -> Counter[tuple[int, int]]:
    """Delete how some deliveries ended; return what that takes from the counts of each project and state."""
    deleted = run_each(connection, "delete_settled_lately", _flat(map(key_columns, lately)))
    deleted += run_each(connection, "delete_settled", _flat(map(key_columns, longer_ago)))
    counts: Counter[tuple[int, int]] = Counter()
    for project, state, record, _ in deleted:
        counts[project, state] -= weight_of(record)
    for lot, count in Counter(lot for *_, lot in deleted if lot is not None).items():
        if value(connection, "release_lot", (count, lot)) == 0:
            run(connection, "drop_lot", (lot,))
            run(connection, "drop_lot_index", (lot,))
    return counts


def write_counts(connection: apsw.Connection, counts: Counter[tuple[int, int]]) -> None:
    """Add to the counts of each project and state."""
    run_each(connection, "count_settled", _flat((*key, total) for key, total in counts.items()))


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return [each for row in rows for each in row]
