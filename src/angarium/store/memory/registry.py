"""Keep projects, tenants, keys and jobs, and subscriptions with their versions and markers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.errors import Conflict
from angarium.model.event import Entry, Kind
from angarium.model.subscription import Owed, Subscription, Version
from angarium.store.memory.held import Held
from angarium.store.paging import select, window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.model.registry import ApiKey, Job, JobState, Project, Tenant
    from angarium.model.subscription import Status
    from angarium.store.contract import Listing, Page


class Registry(Held):
    """The registry's part of the store."""

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        return self._meta.get(name)

    async def put_meta(self, name: str, value: bytes) -> None:
        """Keep a named value."""
        self._meta[name] = value

    async def put_project(self, project: Project) -> bool:
        """Create or replace a project."""
        found = self._projects.get(project.name)
        if (found is None or found.keeps_objects) != project.keeps_objects:
            self._fold()  # What was published before is kept or not as was said then.
            self._drop_objects(project.name)
        self._projects[project.name] = project
        return found is None

    def _drop_objects(self, project: str) -> None:
        for name in [each for each in self._objects if each[0] == project]:
            del self._objects[name]

    async def project(self, name: str) -> Project | None:
        """Return a project."""
        return self._projects.get(name)

    async def projects(self, page: Page) -> Listing[Project]:
        """List projects, newest first."""
        return select(
            window("projects", page), self._projects.values(), lambda project: (project.created_ms, project.name)
        )

    async def delete_project(self, name: str) -> None:
        """Delete a project's registry; its log stays."""
        self._fold()
        self._drop_objects(name)
        for subscription in [each for each in self._subscriptions.values() if each.project == name]:
            await self.remove(subscription)
        for tenant in [owner for owner in self._tenants if owner[0] == name]:
            del self._tenants[tenant]
        for number in [key.number for key in self._keys.values() if key.project == name]:
            del self._keys[number]
        for number in [job.number for job in self._jobs.values() if job.project == name]:
            del self._jobs[number]
        for number in [app.number for app in self._apps.values() if app.project == name]:
            del self._apps[number]
        for number in [grant.number for grant in self._grants.values() if grant.project == name]:
            del self._grants[number]
        self._projects.pop(name, None)

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Create or replace a tenant."""
        is_new = (tenant.project, tenant.name) not in self._tenants
        self._tenants[tenant.project, tenant.name] = tenant
        return is_new

    async def tenant(self, project: str, name: str) -> Tenant | None:
        """Return a tenant."""
        return self._tenants.get((project, name))

    async def tenants(self, project: str, page: Page) -> Listing[Tenant]:
        """List a project's tenants, newest first."""
        held = (tenant for tenant in self._tenants.values() if tenant.project == project)
        return select(window("tenants", page), held, lambda tenant: (tenant.created_ms, tenant.name))

    async def number(self, kind: str) -> int:
        """Give out the next number of a kind."""
        self._numbers[f"{kind} number"] += 1
        return self._numbers[f"{kind} number"]

    async def put_key(self, key: ApiKey) -> None:
        """Create or replace an API key."""
        self._keys[key.number] = key

    async def key_of(self, digest: bytes) -> ApiKey | None:
        """Return the API key with this digest."""
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def key(self, number: int) -> ApiKey | None:
        """Return an API key."""
        return self._keys.get(number)

    async def keys(self, project: str, page: Page) -> Listing[ApiKey]:
        """List a project's API keys, newest first."""
        held = (key for key in self._keys.values() if key.project == project)
        return select(window("keys", page), held, lambda key: (key.number,))

    async def delete_key(self, number: int) -> bool:
        """Delete an API key."""
        return self._keys.pop(number, None) is not None

    async def change(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        """Write a subscription and, when there is one, its new version with a marker."""
        stored = self._subscriptions.get(subscription.number)
        found = stored.revision if stored else 0
        if found != revision:
            raise Conflict(
                f"subscription {subscription.id} has revision {found}, expected {revision}; read it again and repeat"
            )
        self._subscriptions[subscription.number] = replace(subscription, revision=revision + 1)
        self._owners[subscription.number] = (subscription.project, subscription.tenant)
        self._touch(subscription.partition)
        offset = self._mark(subscription, version) if version else None
        self._wake({subscription.partition})
        return offset

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription with a last marker."""
        stored = self._subscriptions.pop(subscription.number, None)
        if stored is None:
            return
        self._touch(stored.partition)
        self._mark(
            replace(stored, updated_ms=subscription.updated_ms),
            Version(stored.number, 0, Owed.NOTHING, stored.rule, stored.dialect),
        )
        self._versions.pop(stored.number, None)
        self._lanes.pop((stored.partition, stored.number), None)
        for key in [key for key in self._opens if key.subscription == stored.number]:
            del self._opens[key]
        self._wake({stored.partition})

    def _mark(self, subscription: Subscription, version: Version) -> int:
        """Append a marker with a version that is in force from there on; return its offset."""
        offset = self._heads.get(subscription.partition, 0) + 1
        version = replace(version, from_offset=offset)
        marker = Entry(subscription.partition, 0, subscription.updated_ms, None, Kind.MARKER, version=version)
        self._write(marker, (subscription.project, subscription.tenant))
        self._versions.setdefault(subscription.number, []).append(version)
        return offset

    async def subscription(self, number: int) -> Subscription | None:
        """Return a subscription."""
        return self._subscriptions.get(number)

    async def subscriptions(
        self, project: str, page: Page, *, tenant: str | None = None, status: Status | None = None
    ) -> Listing[Subscription]:
        """List a project's subscriptions, newest first."""
        held = (
            each
            for each in self._subscriptions.values()
            if each.project == project and tenant in (None, each.tenant) and status in (None, each.status)
        )
        return select(window("subscriptions", page), held, lambda each: (each.number,))

    async def subscriptions_of(self, project: str, tenant: str) -> Sequence[Subscription]:
        """Return all subscriptions of a tenant."""
        held = (each for each in self._subscriptions.values() if (each.project, each.tenant) == (project, tenant))
        return sorted(held, key=lambda each: each.number)

    async def subscription_called(self, project: str, external_id: str) -> Subscription | None:
        """Return a project's subscription that an older API knows by this id."""
        held = (
            each for each in self._subscriptions.values() if (each.project, each.external_id) == (project, external_id)
        )
        return min(held, key=lambda each: each.number, default=None) if external_id else None

    async def versions_of(self, project: str, tenant: str) -> Sequence[Version]:
        """Return all versions of a tenant's living subscriptions."""
        held = await self.subscriptions_of(project, tenant)
        return [version for each in held for version in self._versions.get(each.number, [])]

    async def registry(self) -> Mapping[int, int]:
        """Return each partition's registry counter."""
        return dict(self._registry)

    async def put_job(self, job: Job) -> None:
        """Create or replace a job."""
        self._jobs[job.number] = job

    async def job(self, number: int) -> Job | None:
        """Return a job."""
        return self._jobs.get(number)

    async def jobs(self, project: str, page: Page, *, tenant: str | None = None) -> Listing[Job]:
        """List a project's jobs, newest first."""
        held = (job for job in self._jobs.values() if job.project == project and tenant in (None, job.tenant))
        return select(window("jobs", page), held, lambda job: (job.number,))

    async def jobs_in(self, state: JobState) -> Sequence[Job]:
        """Return all jobs in a state, by number."""
        return [self._jobs[number] for number in sorted(self._jobs) if self._jobs[number].state == state]
