"""Keep projects, tenants, keys and jobs, and subscriptions with their versions and markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from angarium.errors import Conflict
from angarium.model.event import PARTITIONS, Entry, Kind
from angarium.model.registry import ApiKey, Job, Project, Tenant
from angarium.model.subscription import Owed, Subscription, Version
from angarium.store import bodies
from angarium.store.contract import Listing
from angarium.store.paging import cut, window
from angarium.store.postgres.folding import Folding, fold
from angarium.store.postgres.names import Numbers
from angarium.store.postgres.packed import by_name, by_number, number_of, way
from angarium.store.postgres.statements import first, run, value

if TYPE_CHECKING:
    from asyncpg import Record

    from angarium.model.registry import JobState
    from angarium.model.subscription import Status
    from angarium.store.contract import Page
    from angarium.store.postgres.statements import Connection
    from angarium.store.postgres.transaction import Transaction


class Registry(Folding):
    """The registry's part of the store."""

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        async with self._reading() as connection:
            found: bytes | None = await value(connection, "meta", name=name)
        return found

    async def put_meta(self, name: str, value: bytes) -> None:
        """Keep a named value."""
        await self._run("put_meta", name=name, value=value)

    async def number(self, kind: str) -> int:
        """Give out the next number of a kind."""
        async with self._reading() as connection:
            given: int = await value(connection, "give_number", kind=kind)
        return given

    # -- projects and tenants ---------------------------------------------------------------------------------------

    async def put_project(self, project: Project) -> bool:
        """Create or replace a project; when it keeps no objects any more, or did not, none is kept of before."""
        await self._run("give_projects", names=[project.name.encode()])
        found = await self.project(project.name)
        if (found is None or found.keeps_objects) != project.keeps_objects:
            await self._fold_all()

        async def put(transaction: Transaction) -> bool:
            connection = transaction.connection
            stored = await first(connection, "lock_project", name=project.name.encode())
            assert stored
            if stored["keeps_objects"] != project.keeps_objects:
                await _forget_objects(connection, stored["number"])
            await run(
                connection,
                "put_project",
                number=stored["number"],
                created_ms=project.created_ms,
                body=bodies.pack(project),
                keeps_objects=project.keeps_objects,
            )
            await transaction.count_change()
            return stored["created_ms"] is None

        return await self._change(put)

    async def project(self, name: str) -> Project | None:
        """Return a project."""
        return await self._first(Project, "project", name=name.encode())

    async def projects(self, page: Page) -> Listing[Project]:
        """List projects, newest first."""
        wanted = window("projects", page)
        return await self._list(Project, "projects", wanted, by_name(wanted), lambda each: (each.created_ms, each.name))

    async def delete_project(self, name: str) -> None:
        """Delete a project's registry; its log stays."""
        await self._run("give_projects", names=[name.encode()])  # It may have keys and apps before all else.
        await self._fold_all()

        async def delete(transaction: Transaction) -> None:
            await transaction.lock(range(PARTITIONS))  # Whatever it has, it gets no more of it.
            stored = await first(transaction.connection, "lock_project", name=name.encode())
            assert stored
            await _delete_project(transaction, name.encode(), stored["number"])
            await transaction.count_change()

        await self._change(delete)

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Create or replace a tenant."""
        owner = (tenant.project, tenant.name)
        async with self._reading() as connection:
            number = (await self._names.give(connection, [owner]))[owner].tenant

        async def put(transaction: Transaction) -> bool:
            created_ms = await value(transaction.connection, "lock_tenant", number=number)
            given = {"number": number, "created_ms": tenant.created_ms, "body": bodies.pack(tenant)}
            await run(transaction.connection, "put_tenant", **given)
            await transaction.count_change()
            return created_ms is None

        return await self._change(put)

    async def tenant(self, project: str, name: str) -> Tenant | None:
        """Return a tenant."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, name)
            row = await first(connection, "tenant", number=number)
        return _tenant(project, row) if row else None

    async def tenants(self, project: str, page: Page) -> Listing[Tenant]:
        """List a project's tenants, newest first."""
        wanted = window("tenants", page)
        async with self._reading() as connection:
            number = await self._scope(connection, project, None)
            asked = {"project": number, "limit": wanted.limit + 1, **by_name(wanted)}
            rows = await run(connection, f"tenants_{way(wanted)}", **asked)
        return cut(wanted, [_tenant(project, row) for row in rows], lambda each: (each.created_ms, each.name))

    # -- keys -------------------------------------------------------------------------------------------------------

    async def put_key(self, key: ApiKey) -> None:
        """Create or replace an API key."""
        given = {"number": key.number, "digest": key.digest, "project": key.project.encode(), "body": bodies.pack(key)}
        await self._alter("put_key", **given)

    async def key_of(self, digest: bytes) -> ApiKey | None:
        """Return the API key with this digest."""
        return await self._first(ApiKey, "key_of", digest=digest)

    async def key(self, number: int) -> ApiKey | None:
        """Return an API key."""
        return await self._first(ApiKey, "key", number=number)

    async def keys(self, project: str, page: Page) -> Listing[ApiKey]:
        """List a project's API keys, newest first."""
        wanted = window("keys", page)
        return await self._list(ApiKey, "keys", wanted, {"project": project.encode(), **by_number(wanted)}, number_of)

    async def delete_key(self, number: int) -> bool:
        """Delete an API key."""
        return await self._alter("delete_key", number=number)

    # -- subscriptions ----------------------------------------------------------------------------------------------

    async def change(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        """Write a subscription and, when there is one, its new version with a marker."""
        owner = (subscription.project, subscription.tenant)
        async with self._reading() as connection:
            numbers = (await self._names.give(connection, [owner]))[owner]

        async def change(transaction: Transaction) -> int | None:
            await transaction.lock([subscription.partition])
            return await _change(transaction, numbers, subscription, version, revision)

        return await self._change(change)

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription with a last marker."""

        async def remove(transaction: Transaction) -> None:
            await transaction.lock([subscription.partition])
            stored = await _stored(transaction.connection, subscription.number)
            if stored is not None:
                await _remove(transaction, stored, subscription.updated_ms)

        await self._change(remove)

    async def subscription(self, number: int) -> Subscription | None:
        """Return a subscription."""
        return await self._first(Subscription, "subscription", number=number)

    async def subscriptions(
        self, project: str, page: Page, *, tenant: str | None = None, status: Status | None = None
    ) -> Listing[Subscription]:
        """List a project's subscriptions, newest first."""
        wanted = window("subscriptions", page)
        name = "subscriptions_of_project" if tenant is None else "subscriptions_of_tenant"
        name, filters = (name, {}) if status is None else (f"{name}_in", {"status": status.value})
        async with self._reading() as connection:
            scope = await self._scope(connection, project, tenant)
        asked = {"scope": scope, **filters, **by_number(wanted)}
        return await self._list(Subscription, name, wanted, asked, number_of)

    async def subscriptions_of(self, project: str, tenant: str) -> Sequence[Subscription]:
        """Return all subscriptions of a tenant."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
        return await self._all(Subscription, "all_subscriptions_of_tenant", tenant=number)

    async def subscription_called(self, project: str, external_id: str) -> Subscription | None:
        """Return a project's subscription that an older API knows by this id."""
        asked = {"name": project.encode(), "external_id": external_id.encode()}
        return await self._first(Subscription, "subscription_called", **asked)

    async def versions_of(self, project: str, tenant: str) -> Sequence[Version]:
        """Return all versions of a tenant's living subscriptions."""
        async with self._reading() as connection:
            number = await self._tenant_number(connection, project, tenant)
        return await self._all(Version, "versions_of", tenant=number)

    # -- jobs -------------------------------------------------------------------------------------------------------

    async def put_job(self, job: Job) -> None:
        """Create or replace a job."""
        await self._run(
            "put_job",
            number=job.number,
            project=job.project.encode(),
            tenant=job.tenant.encode(),
            state=job.state.value,
            body=bodies.pack(job),
        )

    async def job(self, number: int) -> Job | None:
        """Return a job."""
        return await self._first(Job, "job", number=number)

    async def jobs(self, project: str, page: Page, *, tenant: str | None = None) -> Listing[Job]:
        """List a project's jobs, newest first."""
        wanted = window("jobs", page)
        asked: dict[str, Any] = {"project": project.encode(), **by_number(wanted)}
        if tenant is None:
            return await self._list(Job, "jobs", wanted, asked, number_of)
        return await self._list(Job, "jobs_of_tenant", wanted, {"tenant": tenant.encode(), **asked}, number_of)

    async def jobs_in(self, state: JobState) -> Sequence[Job]:
        """Return all jobs in a state, by number."""
        return await self._all(Job, "jobs_in", state=state.value)


# -- writing ----------------------------------------------------------------------------------------------------------


async def _change(
    transaction: Transaction, numbers: Numbers, subscription: Subscription, version: Version | None, revision: int
) -> int | None:
    connection = transaction.connection
    stored = await _stored(connection, subscription.number)
    found = stored.revision if stored else 0
    if found != revision:
        raise Conflict(
            f"subscription {subscription.id} has revision {found}, expected {revision}; read it again and repeat"
        )
    written = replace(subscription, revision=revision + 1)
    await run(
        connection,
        "put_subscription",
        number=written.number,
        project=numbers.project,
        tenant=numbers.tenant,
        status=written.status.value,
        external_id=written.external_id.encode(),
        body=bodies.pack(written),
    )
    whose = {"project": numbers.project, "tenant": numbers.tenant, "partition": numbers.partition}
    await run(connection, "put_owner", number=written.number, **whose)
    await transaction.touch(subscription.partition)
    return None if version is None else await _mark(transaction, numbers, version, subscription.updated_ms)


async def _mark(transaction: Transaction, numbers: Numbers, version: Version, now_ms: int) -> int:
    """Append a marker with a version that is in force from there on; return its offset."""
    version = replace(version, from_offset=transaction.head(numbers.partition) + 1)
    marker = Entry(numbers.partition, 0, now_ms, None, Kind.MARKER, version=version)
    (place,) = await transaction.append([marker], [numbers])
    await run(
        transaction.connection,
        "put_version",
        number=version.subscription,
        from_offset=version.from_offset,
        partition=numbers.partition,
        body=bodies.pack(version),
    )
    return place.offset


async def _remove(transaction: Transaction, stored: Subscription, now_ms: int) -> None:
    connection, number = transaction.connection, stored.number
    numbers = await transaction.names.find(connection, stored.project, stored.tenant)
    assert numbers, "a subscription's tenant has numbers"
    await _mark(transaction, numbers, Version(number, 0, Owed.NOTHING, stored.rule, stored.dialect), now_ms)
    await transaction.touch(stored.partition)
    await run(connection, "delete_subscription", number=number)
    await run(connection, "delete_versions", number=number)
    await run(connection, "delete_opens_of", number=number)
    await run(connection, "delete_lane_of", partition=stored.partition, number=number)


async def _delete_project(transaction: Transaction, name: bytes, number: int) -> None:
    connection = transaction.connection
    await _forget_objects(connection, number)
    rows = await run(connection, "all_subscriptions_of_project", project=number)
    for subscription in bodies.unpack_all(Subscription, map(tuple, rows)):
        await _remove(transaction, subscription, subscription.updated_ms)
    for block in ("delete_keys", "delete_jobs", "delete_apps", "delete_grants"):
        await run(connection, block, project=name)
    await run(connection, "forget_tenants", number=number)
    await run(connection, "forget_project", number=number)


async def _forget_objects(connection: Connection, project: int) -> None:
    """Drop a project's objects, and fold nothing that was published before into new ones."""
    await run(connection, "lock_folded")
    await fold(connection)
    await run(connection, "drop_objects", project=project)


async def _stored(connection: Connection, number: int) -> Subscription | None:
    return bodies.unpack_first(Subscription, map(tuple, await run(connection, "subscription", number=number)))


def _tenant(project: str, row: Record) -> Tenant:
    name, created_ms, body = row
    return Tenant(project, name.decode(), created_ms) if body is None else bodies.unpack(Tenant, body)
