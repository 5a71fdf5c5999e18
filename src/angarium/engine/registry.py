"""Keep in memory what the subscriptions of recently seen tenants want, by version.

What is kept answers for any offset: an event is matched with the version that was in force where it stands in the log.
Whoever changes a subscription says so (`forget`); a marker that tells of a version which is not known has its tenant
loaded again before anything after it is matched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from angarium.core.matching import Index, Tally, in_force, matcher
from angarium.core.partitioning import partition_of
from angarium.model.event import Kind
from angarium.model.subscription import Owed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.model.event import Entry, Event
    from angarium.model.registry import Project
    from angarium.model.subscription import Subscription, Version
    from angarium.store.contract import Store

SUBSCRIPTIONS_MAX = 200_000
"""How many subscriptions are kept, all tenants together; the least recently seen tenant goes first."""


class TenantSubscriptions:
    """All living subscriptions of one tenant, with their versions."""

    def __init__(
        self,
        project: Project | None,
        tenant: str,
        subscriptions: Sequence[Subscription],
        versions: Sequence[Version],
        tally: Tally | None = None,
    ) -> None:
        self.project = project
        self.tenant = tenant
        self._tally = tally or Tally()
        self.subscriptions: Mapping[int, Subscription] = {each.number: each for each in subscriptions}
        self._versions: dict[int, list[Version]] = {each.number: [] for each in subscriptions}
        for version in versions:
            if version.subscription in self._versions:
                self._versions[version.subscription].append(version)
        self._latest = max((version.from_offset for version in versions), default=0)
        self._index = self._index_at(self._latest)
        self._past: tuple[int, int, Index] = (0, 0, self._index)

    def matched(self, events: Sequence[Event]) -> int:
        """Count the pairs of these new events and subscriptions that will be sent."""
        count = self._index.count_push
        return sum([count(event) for event in events])

    def push(self, entry: Entry) -> Sequence[int]:
        """Return the numbers of the subscriptions that an entry is to be pushed to."""
        event = entry.event
        if event is None:
            return ()
        if entry.kind != Kind.EVENT:
            return (entry.target,) if self.owed(entry.target, entry) is Owed.PUSH else ()
        if entry.offset > self._latest:
            return self._index.push(event)
        return self._index_of(entry.offset).push(event)

    def owed(self, number: int, entry: Entry) -> Owed:
        """Say what a subscription is owed of an entry, by the version in force at its offset."""
        event = entry.event
        version = in_force(self._versions.get(number, ()), entry.offset)
        if event is None or version is None:
            return Owed.NOTHING
        if entry.kind != Kind.EVENT:
            return version.owed if entry.target == number else Owed.NOTHING
        return version.owed if version.owed and matcher(version.rule).matches(event) else Owed.NOTHING

    def latest(self, number: int) -> Version | None:
        """Return a subscription's latest version."""
        versions = self._versions.get(number)
        return versions[-1] if versions else None

    def latest_of(self, number: int) -> int:
        """Return the offset from which on a subscription's latest version is in force; 0 when it has none."""
        latest = self.latest(number)
        return latest.from_offset if latest else 0

    def knows(self, version: Version) -> bool:
        """Say whether a marker's version is known, or of a subscription that has been deleted since."""
        known = self._versions.get(version.subscription)
        return known is not None and any(each.from_offset == version.from_offset for each in known)

    def _index_of(self, offset: int) -> Index:
        low, high, index = self._past
        if not low <= offset < high:
            turns = sorted({version.from_offset for versions in self._versions.values() for version in versions})
            low = max((turn for turn in turns if turn <= offset), default=0)
            high = min((turn for turn in turns if turn > offset), default=offset + 1)
            index = self._index_at(offset)
            self._past = (low, high, index)
        return index

    def _index_at(self, offset: int) -> Index:
        found = (in_force(versions, offset) for versions in self._versions.values())
        return Index([version for version in found if version is not None], self._tally)


class Registry:
    """The tenants that are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tally = Tally()
        self._kept: OrderedDict[tuple[str, str], TenantSubscriptions] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[TenantSubscriptions]] = {}
        self._turn: dict[tuple[str, str], int] = {}
        self._projects: dict[str, Project] = {}
        self._of_partition: dict[int, set[tuple[str, str]]] = {}
        self._count = 0

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        """Return a tenant's subscriptions if they are in memory."""
        found = self._kept.get((project, tenant))
        if found is not None:
            self._kept.move_to_end((project, tenant))
        return found

    async def load(self, project: str, tenant: str) -> TenantSubscriptions:
        """Return a tenant's subscriptions, from the store when they are not in memory."""
        owner = (project, tenant)
        held = self.held(project, tenant)
        if held is not None:
            return held
        if owner not in self._loading:
            self._loading[owner] = asyncio.ensure_future(self._load(owner))
        return await asyncio.shield(self._loading[owner])

    async def _load(self, owner: tuple[str, str]) -> TenantSubscriptions:
        try:
            return await self._read(owner)
        finally:
            # At once: whoever forgets the tenant from here on must not be given what was read before.
            del self._loading[owner]
            self._turn.pop(owner, None)

    async def _read(self, owner: tuple[str, str]) -> TenantSubscriptions:
        while True:
            turn = self._turn.get(owner, 0)
            project = self._projects.get(owner[0]) or await self._store.project(owner[0])
            subscriptions = await self._store.subscriptions_of(*owner)
            versions = await self._store.versions_of(*owner)
            if turn == self._turn.get(owner, 0):
                break  # Nothing has changed while it was read.
        if project is not None:
            project = self._projects.setdefault(owner[0], project)  # One for all its tenants.
        found = TenantSubscriptions(project, owner[1], subscriptions, versions, self.tally)
        self._keep(owner, found)
        return found

    def _keep(self, owner: tuple[str, str], found: TenantSubscriptions) -> None:
        self._kept[owner] = found
        self._of_partition.setdefault(partition_of(*owner), set()).add(owner)
        self._count += len(found.subscriptions) + 1
        while self._count > SUBSCRIPTIONS_MAX and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, owner: tuple[str, str]) -> None:
        gone = self._kept.pop(owner, None)
        if gone is not None:
            self._of_partition[partition_of(*owner)].discard(owner)
            self._count -= len(gone.subscriptions) + 1

    def forget(self, project: str, tenant: str) -> None:
        """Drop a tenant, so that it is read again."""
        owner = (project, tenant)
        if owner in self._loading:
            self._turn[owner] = self._turn.get(owner, 0) + 1
        self._drop(owner)

    def forget_partition(self, partition: int) -> Sequence[tuple[str, str]]:
        """Drop all tenants of a partition, project and name, so that they are read again; return which."""
        held = self._of_partition.get(partition, ())
        loading = (owner for owner in self._loading if partition_of(*owner) == partition)
        owners = [*{*held, *loading}]
        for owner in owners:
            self.forget(*owner)
        return owners

    def forget_project(self, project: str) -> Sequence[str]:
        """Drop all tenants of a project; return which."""
        self._projects.pop(project, None)
        tenants = [tenant for name, tenant in {*self._kept, *self._loading} if name == project]
        for tenant in tenants:
            self.forget(project, tenant)
        return tenants

    async def outdated(self) -> Sequence[str]:
        """Return which projects in memory are not what the store has by now."""
        return [name for name, held in list(self._projects.items()) if await self._store.project(name) != held]

    async def learn(self, version: Version) -> None:
        """See to it that a marker's version is known before anything after it is matched."""
        subscription = await self._store.subscription(version.subscription)
        if subscription is None:
            return  # Deleted since: what is dropped with it need not be matched.
        held = self.held(subscription.project, subscription.tenant)
        if held is None or not held.knows(version):
            self.forget(subscription.project, subscription.tenant)
            await self.load(subscription.project, subscription.tenant)


def partition_of_tenant(subscriptions: TenantSubscriptions) -> int:
    """Return the partition that a tenant's log is in."""
    project = subscriptions.project
    return partition_of(project.name if project else "", subscriptions.tenant)
