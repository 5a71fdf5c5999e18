"""Know of the file what the writer would else have to ask it for: heads, numbers, owners, what is not indexed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from angarium.core.partitioning import partition_of
from angarium.errors import StoreDamaged
from angarium.model.delivery import TEST_OFFSET, Key
from angarium.store.sqlite.fresh import Fresh
from angarium.store.sqlite.statements import run, run_each, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

_REMEMBERED = 100_000
"""How many tenants, and how many subscriptions' owners, are remembered."""


class Numbers(NamedTuple):
    """A tenant's number, its project's, and its partition."""

    tenant: int
    project: int
    partition: int


NOBODY = (0, 0)
"""The project and tenant of a subscription that never was."""


class Ledger:
    """What is known of a file. Only the writer's thread changes it; what it says was committed."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.heads: dict[int, int] = {}
        self.floors: dict[int, int] = {}
        self.registry: dict[int, int] = {}
        self.sequence = 0
        self.folded_to = 0
        self.fresh = Fresh()
        self.lately: set[Key] = set()
        self.moved_to: dict[int, int] = {}
        self._tenants: dict[tuple[str, str], Numbers] = {}
        self._owners: dict[int, tuple[int, int]] = {}

    def load(self) -> None:
        """Index what is not, and read where everything stands. `StoreDamaged` when offsets are missing from the log."""
        with self._connection:
            self._check_offsets()
            self.index()
        for partition, head, floor, registry in run(self._connection, "partitions"):
            self.floors[partition] = floor
            self.heads |= {partition: head} if head else {}
            self.registry |= {partition: registry} if registry else {}
        self.sequence = value(self._connection, "last_sequence")
        self.folded_to = value(self._connection, "folded_to")
        self.moved_to = {
            partition: offset
            for partition, offset in run(self._connection, "moved_to", {"tests": TEST_OFFSET})
            if offset is not None
        }

    def _check_offsets(self) -> None:
        """Hold what is not indexed yet against where the index ends: a file that lost something in between shows it."""
        heads = {partition: head for partition, head, *_ in run(self._connection, "partitions")}
        for partition, first, last, count in run(
            self._connection, "unindexed", (value(self._connection, "indexed_to"),)
        ):
            if first != heads[partition] + 1 or last - first + 1 != count:
                raise StoreDamaged(
                    f"partition {partition} goes on from offset {first} to {last} with {count} entries, expected all "
                    f"from {heads[partition] + 1} on; restore the file from a copy"
                )

    def index(self) -> None:
        """Bring the indexes up to date, inside a transaction. Once it is committed, `indexed` says so."""
        indexed_to = (value(self._connection, "indexed_to"),)
        for name in ("index_places", "index_projects", "add_zone"):
            run(self._connection, name, indexed_to)
        run(self._connection, "move_heads")
        lot = (value(self._connection, "next_lot"),)
        for name in ("move_lately", "index_lot", "add_lot"):
            run(self._connection, name, lot)
        run(self._connection, "empty_lately")

    def indexed(self) -> None:
        """Take note that everything is indexed."""
        self.fresh = Fresh()
        for key in self.lately:
            if key.last_offset < TEST_OFFSET:
                self.moved_to[key.partition] = max(self.moved_to.get(key.partition, 0), key.last_offset)
        self.lately = set()

    @property
    def unindexed_count(self) -> int:
        """Say how many rows are to be indexed."""
        return self.fresh.count + len(self.lately)

    # -- numbers ----------------------------------------------------------------------------------------------------

    def tenant(self, project: str, name: str) -> Numbers | None:
        """Return the numbers of a tenant that is registered, if they are remembered."""
        return self._tenants.get((project, name))

    def remember_tenant(self, project: str, name: str, tenant: int, project_number: int) -> Numbers:
        """Remember a tenant that is registered; what a transaction remembers is forgotten when that fails."""
        if len(self._tenants) >= _REMEMBERED:
            self._tenants.clear()
        numbers = self._tenants[project, name] = Numbers(tenant, project_number, partition_of(project, name))
        return numbers

    def owners(self, subscriptions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return the project and tenant of each of these subscriptions."""
        asked = set(subscriptions)
        found = {number: owner for number in asked if (owner := self._owners.get(number))}
        if unknown := list(asked - found.keys()):
            read = {number: owner for number, *owner in run_each(self._connection, "owners", unknown)}
            if len(self._owners) + len(read) > _REMEMBERED:
                self._owners.clear()
            self._owners |= (known := {number: (owner[0], owner[1]) for number, owner in read.items()})
            found |= dict.fromkeys(unknown, NOBODY) | known
        return found

    def remember_owner(self, subscription: int, owner: tuple[int, int]) -> None:
        """Remember whose a subscription is."""
        self._owners[subscription] = owner

    def forget(self) -> None:
        """Forget tenants and owners: a transaction that found some has failed, or deleted them."""
        self._tenants.clear()
        self._owners.clear()
