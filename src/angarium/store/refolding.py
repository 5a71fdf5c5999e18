"""Fold one partition's log anew, and compare what comes out with its objects' rows, as far as the log still reaches.

A project may have kept no objects for a while, and nobody knows until when: what an existing row consists of was
certainly folded, so rows are missed, and data in them, only from the oldest such event of their project on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from angarium.model.event import Kind
from angarium.store.copying import BY_NAME, Table
from angarium.store.rows import Row

if TYPE_CHECKING:
    from angarium.store.wrong import Wrong

_AT_ONCE: Final = 500
_NEVER: Final = 2**62

_Name = tuple[int, str, str]


class _Made(Struct):
    """What the log makes of an object."""

    project: int
    partition: int
    offset: int
    at_ms: int
    is_deleted: bool
    data_offset: int = 0
    data_at_ms: int = 0


class _Kept(Struct, frozen=True):
    """What its row says."""

    offset: int
    data_offset: int
    is_deleted: bool


class Refold:
    """One partition's objects. `keeps` says which projects keep theirs, by number; `floor` what has been dropped."""

    def __init__(self, keeps: Mapping[int, bool], floor: int) -> None:
        self._keeps, self._floor = keeps, floor
        self._made: dict[_Name, _Made] = {}

    def add(self, row: Row) -> None:
        """Fold the next entry."""
        partition, offset, _, tenant, project, at_ms, kind, object_, action, object_id, _, data = row
        if kind != Kind.EVENT or not self._keeps.get(project, False):
            return
        name = (tenant, object_, object_id)
        made = _Made(project, partition, offset, at_ms, action == "delete")
        before = self._made.get(name)
        if data:
            made.data_offset, made.data_at_ms = offset, at_ms
        elif before:
            made.data_offset, made.data_at_ms = before.data_offset, before.data_at_ms
        self._made[name] = made

    async def check(self, find: Callable[[Table, Sequence[Row]], Awaitable[Sequence[Row]]], wrong: Wrong) -> None:
        """Hold the rows against it."""
        names = list(self._made)
        kept: dict[_Name, _Kept] = {}
        for start in range(0, len(names), _AT_ONCE):
            for row in await find(BY_NAME["object"], names[start : start + _AT_ONCE]):
                tenant, object_, object_id, _, offset, data_offset, is_deleted = row
                kept[tenant, object_, object_id] = _Kept(offset, data_offset, bool(is_deleted))
        since = self._since(kept)
        for name, made in self._made.items():
            held = kept.get(name)
            _compare(name, made, held, since.get(made.project, _NEVER), wrong)
            if held and held.data_offset > max(made.data_offset, self._floor):
                wrong.add("data", **_whose(name, made), expected=made.data_offset or "none", found=held.data_offset)

    def _since(self, kept: Mapping[_Name, _Kept]) -> dict[int, int]:
        """Return from which moment on each project has certainly kept its objects."""
        since: dict[int, int] = {}
        for name, row in kept.items():
            made = self._made[name]
            if row.offset == made.offset:
                is_folded = row.data_offset and row.data_offset == made.data_offset
                at_ms = made.data_at_ms if is_folded else made.at_ms
                since[made.project] = min(since.get(made.project, at_ms), at_ms)
        return since


def _compare(name: _Name, made: _Made, kept: _Kept | None, since_ms: int, wrong: Wrong) -> None:
    whose = _whose(name, made)
    if kept is None:
        if made.at_ms >= since_ms:
            wrong.add("object", **whose, expected=made.offset, found="none")
    elif kept.offset != made.offset:
        wrong.add("object", **whose, expected=made.offset, found=kept.offset)
    elif kept.is_deleted != made.is_deleted:
        wrong.add("ended", **whose, expected="deleted" if made.is_deleted else "there", offset=made.offset)
    elif made.data_offset > kept.data_offset and made.data_at_ms >= since_ms:
        wrong.add("data", **whose, expected=made.data_offset, found=kept.data_offset)


def _whose(name: _Name, made: _Made) -> dict[str, Any]:
    tenant, object_, object_id = name
    return {"tenant": tenant, "object": f"{object_} {object_id!r}", "partition": made.partition}
