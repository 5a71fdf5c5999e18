"""Gather what one commit writes: rows of the log and of lanes, so that many of them go into one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from angarium.model.event import Kind, Place
from angarium.model.registry import Tenant
from angarium.store import bodies
from angarium.store.rows import Row, entry_columns, entry_row, event_columns
from angarium.store.sqlite.fresh import Appended
from angarium.store.sqlite.settling import Settling
from angarium.store.sqlite.statements import first, run, run_each, value

if TYPE_CHECKING:
    import apsw

    from angarium.model.delivery import Key
    from angarium.model.event import Entry, Event
    from angarium.store.contract import Settlement
    from angarium.store.sqlite.ledger import Ledger, Numbers


class Transaction:
    """What a commit that is being made has gathered. The ledger learns of it when it has been committed."""

    def __init__(self, connection: apsw.Connection, ledger: Ledger) -> None:
        self.connection = connection
        self.ledger = ledger
        self.heads: dict[int, int] = {}
        self.floors: dict[int, int] = {}
        self.registry: dict[int, int] = {}
        self.sequence = ledger.sequence
        self.folded_to = ledger.folded_to
        self.appended: list[Appended] = []
        self.lately: set[Key] = set()
        self._events: list[Any] = []
        self._settling = Settling()

    # -- log --------------------------------------------------------------------------------------------------------

    def accept(self, event: Event, now_ms: int) -> Place:
        """Append an event; its tenant comes into being."""
        numbers = self.ledger.tenant(event.project, event.tenant) or self.tenant(event.project, event.tenant, now_ms)
        return self._append(numbers, now_ms, Kind.EVENT, event_columns(event))

    def append(self, entry: Entry, numbers: Numbers) -> Place:
        """Append an entry that is no published event."""
        return self._append(numbers, entry.accepted_ms, entry.kind, entry_columns(entry))

    def _append(self, numbers: Numbers, now_ms: int, kind: Kind, columns: Row) -> Place:
        tenant, project, partition = numbers
        offset = self.heads[partition] = self.head(partition) + 1
        self.sequence += 1
        self._events += entry_row(self.sequence, (partition, offset, tenant, now_ms, kind.value), columns)
        self.appended.append(Appended(partition, offset, self.sequence, tenant, project, kind is Kind.EVENT))
        return Place(partition, offset, now_ms)

    def head(self, partition: int) -> int:
        """Return a partition's last offset."""
        return self.heads.get(partition) or self.ledger.heads.get(partition, 0)

    def touch(self, partition: int) -> None:
        """Raise a partition's registry counter."""
        counted = self.registry.get(partition) or self.ledger.registry.get(partition, 0)
        self.registry[partition] = counted + 1
        run(self.connection, "move_registry", (counted + 1, partition))

    # -- numbers ----------------------------------------------------------------------------------------------------

    def tenant(self, project: str, name: str, now_ms: int) -> Numbers:
        """Return a tenant's numbers; it is registered when it is not yet."""
        found = first(self.connection, "tenant_number", (project, name))
        number, project_number, is_registered = found or (*self.give_numbers(project, name), False)
        if not is_registered:
            run(self.connection, "put_tenant", (now_ms, bodies.pack(Tenant(project, name, now_ms)), number))
        return self.ledger.remember_tenant(project, name, number, project_number)

    def give_numbers(self, project: str, name: str) -> tuple[int, int]:
        """Return a tenant's number and its project's, giving them some when they have none."""
        project_number = value(self.connection, "give_project_number", (project,))
        return value(self.connection, "give_tenant_number", (project_number, name)), project_number

    # -- lanes ------------------------------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> None:
        """Take in a flush."""
        self._settling.add(settlement)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._events:
            run_each(self.connection, "add_events", self._events)
            self._events = []
        if not self._settling.is_empty:
            self.lately |= self._settling.write(self.connection, self.ledger, self.lately)
            self._settling = Settling()

    def committed(self) -> None:
        """Let the ledger know of everything."""
        ledger = self.ledger
        ledger.sequence = self.sequence
        ledger.folded_to = self.folded_to
        ledger.heads |= self.heads
        ledger.floors |= self.floors
        ledger.registry |= self.registry
        ledger.lately |= self.lately
        ledger.fresh.add(self.appended)

    @property
    def moved(self) -> dict[int, int]:
        """Return the partitions whose head or registry has moved, and their heads."""
        return {partition: self.head(partition) for partition in sorted(self.heads.keys() | self.registry.keys())}
