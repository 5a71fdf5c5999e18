"""Fold the log into the current state of its objects, and let go of what a project no longer keeps.

A fold is one statement over what was committed since the last one, in the order of commits. It copies no data: an
object's row names the events that it consists of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.store.sqlite.file import File
from angarium.store.sqlite.statements import run, run_each

if TYPE_CHECKING:
    from angarium.store.sqlite.transaction import Transaction

FOLDED_AT_ONCE = 2000
"""How many entries are folded between two commits when all are to be."""
DROPPED_AT_ONCE = 500
"""How many objects are dropped between two commits."""


class Folding(File):
    """What the parts of the store that need objects folded share."""

    async def fold_objects(self, *, limit: int) -> int:
        """Fold the next entries of the log, at most `limit`, into the current state of their objects."""
        waiting = self._ledger.sequence - self._ledger.folded_to
        if not waiting:
            return 0
        return await self._change(lambda transaction: fold(transaction, limit=limit), rows=min(limit, waiting))

    async def _fold_all(self) -> None:
        """Fold what is committed, a little at a time, so that publishes need not wait for it."""
        while await self.fold_objects(limit=FOLDED_AT_ONCE) == FOLDED_AT_ONCE:
            pass

    async def _drop_objects(self, project: str) -> None:
        """Drop the state of a project's objects, a little at a time."""
        while await self._change(lambda transaction: drop_objects(transaction, project), rows=DROPPED_AT_ONCE):
            pass


def fold(transaction: Transaction, *, limit: int | None = None, to: int | None = None) -> int:
    """Fold the next entries, at most so many, up to a number in commit order; return how many were looked at."""
    start, end = transaction.folded_to, transaction.sequence if to is None else to
    if limit is not None:
        end = min(end, start + limit)
    if end <= start:
        return 0
    run(transaction.connection, "fold", (start, end))
    run(transaction.connection, "move_folded", (end,))
    transaction.folded_to = end
    return end - start


def drop_objects(transaction: Transaction, project: str, limit: int = DROPPED_AT_ONCE) -> int:
    """Drop the state of some of a project's objects; return of how many."""
    found = run(transaction.connection, "objects_of_project", (project, limit))
    run_each(transaction.connection, "delete_objects", [each for row in found for each in row])
    return len(found)


def keep_named(transaction: Transaction, sequences: list[int]) -> None:
    """Keep those of some entries, about to be dropped from the log, that objects still consist of.

    An object that was deleted goes with its last event.
    """
    connection = transaction.connection
    named = run_each(connection, "old_objects", sequences)
    gone = [row for *row, is_gone in named if is_gone]
    run_each(connection, "delete_objects", [each for _, *row in gone for each in row])
    lost = {tuple(row) for _, *row in gone}
    run_each(connection, "keep_entries", sorted({sequence for sequence, *row, _ in named if tuple(row) not in lost}))
