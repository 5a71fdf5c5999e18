"""Read and list what lies packed in rows: the parts that keep projects, keys, apps and the like share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from angarium.store import bodies
from angarium.store.paging import cut
from angarium.store.sqlite.file import File
from angarium.store.sqlite.statements import first, run, value

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from angarium.model.registry import ApiKey, App, Grant, Job
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Listing
    from angarium.store.paging import Cursor, Window

T = TypeVar("T", bound=Struct)

_END = 2**63 - 1


class Packed(File):
    """A part of the store whose rows hold packed values."""

    async def _run(self, name: str, *values: object) -> None:
        await self._change(lambda transaction: run(transaction.connection, name, values))

    async def _delete(self, name: str, number: int) -> bool:
        return await self._change(lambda transaction: first(transaction.connection, name, (number,)) is not None)

    async def _first(self, kind: type[T], name: str, *values: object) -> T | None:
        return await self._read(lambda connection: bodies.unpack_first(kind, run(connection, name, values)))

    async def _list(
        self, kind: type[T], name: str, wanted: Window, asked: dict[str, Any], key: Callable[[T], Cursor]
    ) -> Listing[T]:
        return await self._read(lambda connection: read_page(connection, kind, name, wanted, asked, key))

    async def _all_of(self, kind: type[T], name: str, project: str, tenant: str) -> list[T]:
        return await self._read(
            lambda connection: bodies.unpack_all(kind, run(connection, name, (scope_of(connection, project, tenant),)))
        )


def read_page(
    connection: apsw.Connection,
    kind: type[T],
    name: str,
    wanted: Window,
    asked: dict[str, Any],
    key: Callable[[T], Cursor],
) -> Listing[T]:
    """Read a page: one item more than it holds says whether there are more."""
    way = "up" if wanted.is_backward else "down"
    found = bodies.unpack_all(kind, run(connection, f"{name}_{way}", {"limit": wanted.limit + 1, **asked}))
    return cut(wanted, found, key)


def scope_of(connection: apsw.Connection, project: str, tenant: str | None) -> int | None:
    """Return the number of a tenant or else of a project; None finds nothing."""
    if tenant is None:
        number: int | None = value(connection, "project_number", (project,))
        return number
    found = first(connection, "tenant_number", (project, tenant))
    return found[0] if found else None


def by_number(wanted: Window) -> dict[str, Any]:
    """Return between which numbers a page lies."""
    return {
        "above": wanted.before[0] if wanted.before else 0,
        "below": wanted.after[0] if wanted.after else _END,
    }


def by_name(wanted: Window) -> dict[str, Any]:
    """Return between which moments, and names of one moment, a page lies."""
    above_ms, above = wanted.before or (-_END, "")
    below_ms, below = wanted.after or (_END, "")
    return {"above_ms": above_ms, "above": above, "below_ms": below_ms, "below": below}


def number_of(numbered: ApiKey | App | Grant | Job | Subscription) -> Cursor:
    """Return what a numbered thing is ordered by."""
    return (numbered.number,)
