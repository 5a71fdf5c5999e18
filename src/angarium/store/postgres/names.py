"""Remember which numbers stand for which names: they never change, so that every process may keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from angarium.core.partitioning import partition_of
from angarium.store.postgres.connection import writing
from angarium.store.postgres.statements import run

if TYPE_CHECKING:
    from angarium.store.postgres.statements import Connection

Owner = tuple[str, str]

REMEMBERED = 200_000
"""How many tenants and how many subscriptions are remembered; when there are more, all are asked for anew."""
NOBODY = (0, 0)
"""Whose a subscription is that never was."""


class Numbers(NamedTuple):
    """A tenant's number, its project's, and its partition."""

    tenant: int
    project: int
    partition: int


class Names:
    """What stands for what, as far as it was needed."""

    def __init__(self) -> None:
        self._numbers: dict[Owner, Numbers] = {}
        self._names: dict[int, Owner] = {}
        self._owners: dict[int, tuple[int, int]] = {}
        self._sessions: set[int] = set()

    def _meet(self, connection: Connection) -> None:
        """Forget all when a session is new: the server may be another one than before, which lost a number's giving."""
        session = connection.get_server_pid()
        if session not in self._sessions:
            self._sessions.add(session)
            self._numbers.clear()
            self._names.clear()
            self._owners.clear()

    async def find(self, connection: Connection, project: str, tenant: str) -> Numbers | None:
        """Return a tenant's numbers, None when it has none."""
        self._meet(connection)
        owner = (project, tenant)
        return self._numbers.get(owner) or (await self._ask(connection, [owner])).get(owner)

    async def give(self, connection: Connection, owners: Iterable[Owner]) -> Mapping[Owner, Numbers]:
        """Return tenants' numbers, giving them some. To be called outside of a transaction: numbers stay given."""
        self._meet(connection)
        asked = set(owners)
        found = {owner: self._numbers[owner] for owner in asked & self._numbers.keys()}
        if missing := asked - found.keys():
            found |= await self._ask(connection, list(missing))
        if new := list(asked - found.keys()):
            projects, tenants = _columns(new)
            with writing(connection) as checked:
                await run(connection, "give_projects", names=sorted(set(projects)))
                await run(connection, "give_tenants", projects=projects, tenants=tenants)
            checked()
            found |= await self._ask(connection, new)
        return found

    async def _ask(self, connection: Connection, owners: list[Owner]) -> dict[Owner, Numbers]:
        projects, tenants = _columns(owners)
        rows = await run(connection, "numbers_of", projects=projects, tenants=tenants)
        found = {
            (owner := (project.decode(), tenant.decode())): Numbers(number, of, partition_of(*owner))
            for project, tenant, number, of in rows
        }
        if len(self._numbers) > REMEMBERED:
            self._numbers.clear()
        self._numbers |= found
        return found

    async def names_of(self, connection: Connection, numbers: Iterable[int]) -> Mapping[int, Owner]:
        """Return the names that tenants' numbers stand for."""
        self._meet(connection)
        asked = set(numbers)
        found = {number: self._names[number] for number in asked & self._names.keys()}
        if missing := asked - found.keys():
            rows = await run(connection, "names_of", numbers=list(missing))
            new = {number: (project.decode(), tenant.decode()) for number, project, tenant in rows}
            if len(self._names) > REMEMBERED:
                self._names.clear()
            self._names |= new
            found |= new
        return found

    async def owners_of(self, connection: Connection, subscriptions: Iterable[int]) -> Mapping[int, tuple[int, int]]:
        """Return the numbers of the project and tenant that subscriptions belong or belonged to, or `NOBODY`."""
        self._meet(connection)
        asked = set(subscriptions)
        found = {number: self._owners[number] for number in asked & self._owners.keys()}
        if missing := asked - found.keys():
            rows = await run(connection, "owners", numbers=list(missing))
            new = {number: (project, tenant) for number, project, tenant in rows}
            if len(self._owners) > REMEMBERED:
                self._owners.clear()
            self._owners |= new
            found |= dict.fromkeys(missing, NOBODY) | new
        return found


def _columns(owners: list[Owner]) -> tuple[list[bytes], list[bytes]]:
    return [project.encode() for project, _ in owners], [tenant.encode() for _, tenant in owners]
