"""Read and list what lies packed in rows: the parts that keep projects, keys, apps and the like share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from angarium.store import bodies
from angarium.store.paging import cut
from angarium.store.postgres.server import Server
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from angarium.model.registry import ApiKey, App, Grant, Job
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Listing
    from angarium.store.paging import Cursor, Window
    from angarium.store.postgres.statements import Connection
    from angarium.store.postgres.transaction import Transaction

T = TypeVar("T", bound=Struct)

END = 2**63 - 1
"""Above all numbers."""


class Packed(Server):
    """A part of the store whose rows hold packed values."""

    async def _run(self, name: str, /, **values: Any) -> None:  # noqa: ANN401  the block says what
        async with self._reading() as connection:
            await run(connection, name, **values)

    async def _alter(self, name: str, /, **values: Any) -> bool:  # noqa: ANN401  the block says what
        """Change what all processes remember; say whether the block returned a row."""

        async def alter(transaction: Transaction) -> bool:
            found = bool(await run(transaction.connection, name, **values))
            await transaction.count_change()
            return found

        return await self._change(alter)

    async def _first(self, kind: type[T], name: str, /, **values: Any) -> T | None:  # noqa: ANN401  the block says what
        async with self._reading() as connection:
            return bodies.unpack_first(kind, map(tuple, await run(connection, name, **values)))

    async def _all(self, kind: type[T], name: str, /, **values: Any) -> list[T]:  # noqa: ANN401  the block says what
        async with self._reading() as connection:
            return bodies.unpack_all(kind, map(tuple, await run(connection, name, **values)))

    async def _list(
        self, kind: type[T], name: str, wanted: Window, asked: dict[str, Any], key: Callable[[T], Cursor]
    ) -> Listing[T]:
        """Read a page: one item more than it holds says whether there are more."""
        found = await self._all(kind, f"{name}_{way(wanted)}", limit=wanted.limit + 1, **asked)
        return cut(wanted, found, key)

    async def _tenant_number(self, connection: Connection, project: str, tenant: str) -> int | None:
        """Return a tenant's number; None finds nothing."""
        found = await self._names.find(connection, project, tenant)
        return found.tenant if found else None

    async def _scope(self, connection: Connection, project: str, tenant: str | None) -> int | None:
        """Return the number of a tenant or else of a project; None finds nothing."""
        if tenant is None:
            number: int | None = await value(connection, "project_number", name=project.encode())
            return number
        return await self._tenant_number(connection, project, tenant)


def way(wanted: Window) -> str:
    """Return in which order the items nearest to a page's cursor are asked for."""
    return "up" if wanted.is_backward else "down"


def by_number(wanted: Window) -> dict[str, Any]:
    """Return between which numbers a page lies."""
    return {
        "above": wanted.before[0] if wanted.before else 0,
        "below": wanted.after[0] if wanted.after else END,
    }


def by_name(wanted: Window) -> dict[str, Any]:
    """Return between which moments, and names of one moment, a page lies."""
    above_ms, above = wanted.before or (-END, "")
    below_ms, below = wanted.after or (END, "")
    return {
        "above_ms": above_ms,
        "above": str(above).encode(),
        "below_ms": below_ms,
        "below": str(below).encode(),
    }


def number_of(numbered: ApiKey | App | Grant | Job | Subscription) -> Cursor:
    """Return what a numbered thing is ordered by."""
    return (numbered.number,)
