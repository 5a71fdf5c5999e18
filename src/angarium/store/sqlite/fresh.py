"""Index in memory what the file does not index yet.

The writer adds to it after each commit and begins a new one after each indexing. Readers take it first and ask the file
then: whatever has been indexed in between is found twice, and nothing is missed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Appended(NamedTuple):
    """Where an entry stands in the log, its number in commit order, whose it is, and whether lists show it."""

    partition: int
    offset: int
    sequence: int
    tenant: int
    project: int
    is_event: bool


class Fresh:
    """The numbers in commit order of what is not indexed, by partition, tenant and project. Only ever added to."""

    def __init__(self) -> None:
        self.count = 0
        self._places: dict[int, tuple[int, list[int]]] = {}
        self._tenants: dict[int, list[int]] = {}
        self._projects: dict[int, list[int]] = {}

    def add(self, appended: Sequence[Appended]) -> None:
        """Take in the entries of a commit, in its order."""
        for partition, offset, sequence, tenant, project, is_event in appended:
            place = self._places.get(partition)
            if place is None:
                self._places[partition] = (offset, [sequence])
            else:
                place[1].append(sequence)
            self._tenants.setdefault(tenant, []).append(sequence)
            if is_event:
                self._projects.setdefault(project, []).append(sequence)
        self.count += len(appended)

    def first_offset(self, partition: int) -> int | None:
        """Return the lowest offset of a partition that is not indexed."""
        place = self._places.get(partition)
        return None if place is None else place[0]

    def after(self, partition: int, offset: int, limit: int) -> list[int]:
        """Return the numbers of a partition's next entries after an offset."""
        first, sequences = self._places.get(partition, (0, []))
        start = max(offset + 1 - first, 0)
        return sequences[start : start + limit]

    def at(self, partition: int, offset: int) -> int | None:
        """Return the number of the entry at a place."""
        first, sequences = self._places.get(partition, (0, []))
        return sequences[offset - first] if 0 <= offset - first < len(sequences) else None

    def of_tenant(self, tenant: int, *, above: int, limit: int) -> list[int]:
        """Return the numbers of a tenant's next entries above one of them."""
        sequences = self._tenants.get(tenant, [])
        start = bisect_right(sequences, above)
        return sequences[start : start + limit]

    def listed(self, scope: str, number: int, *, above: int, below: int) -> list[int]:
        """Return the numbers of a tenant's entries or a project's events between two, ascending."""
        sequences = (self._tenants if scope == "tenant" else self._projects).get(number, [])
        return sequences[bisect_right(sequences, above) : bisect_left(sequences, below)]
