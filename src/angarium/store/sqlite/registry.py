"""Keep projects, tenants, keys and jobs, and subscriptions with their versions and markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from angarium.errors import Conflict
from angarium.model.event import Entry, Kind
from angarium.model.registry import ApiKey, Job, Project, Tenant
from angarium.model.subscription import Owed, Subscription, Version
from angarium.store import bodies
from angarium.store.contract import Listing
from angarium.store.paging import window
from angarium.store.sqlite.folding import Folding, drop_objects, fold
from angarium.store.sqlite.ledger import Numbers
from angarium.store.sqlite.packed import Packed, by_name, by_number, number_of, read_page, scope_of
from angarium.store.sqlite.statements import first, run, value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from angarium.model.registry import JobState
    from angarium.model.subscription import Status
    from angarium.store.contract import Page
    from angarium.store.sqlite.transaction import Transaction


class Registry(Packed, Folding):
    """The registry's part of the store."""

    async def meta(self, name: str) -> bytes | None:
        """Return a named value."""
        found: bytes | None = await self._read(lambda connection: value(connection, "meta", (name,)))
        return found

    async def put_meta(self, name: str, value: bytes) -> None:
        """Keep a named value."""
        await self._run("put_meta", name, value)

    async def number(self, kind: str) -> int:
        """Give out the next number of a kind."""
        given: int = await self._change(lambda transaction: value(transaction.connection, "give_number", (kind,)))
        return given

    # -- projects and tenants ---------------------------------------------------------------------------------------

    async def put_project(self, project: Project) -> bool:
        """Create or replace a project; when it keeps no objects any more, or did not, none is kept of before."""
        found = await self.project(project.name)
        was_kept, is_kept = found is None or found.keeps_objects, project.keeps_objects
        if was_kept != is_kept:
            await self._fold_all()
        if is_kept and not was_kept:
            await self._drop_objects(project.name)  # What is there when the program ended while it was dropped.
        is_new = await self._change(lambda transaction: _put_project(transaction, project))
        if not is_kept:
            await self._drop_objects(project.name)
        return is_new

    async def project(self, name: str) -> Project | None:
        """Return a project."""
        return await self._first(Project, "project", name)

    async def projects(self, page: Page) -> Listing[Project]:
        """List projects, newest first."""
        wanted = window("projects", page)
        return await self._list(Project, "projects", wanted, by_name(wanted), lambda each: (each.created_ms, each.name))

    async def delete_project(self, name: str) -> None:
        """Delete a project's registry; its log stays."""
        await self._fold_all()
        await self._drop_objects(name)
        await self._change(lambda transaction: _delete_project(transaction, name), rows=500)

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Create or replace a tenant."""

        def put(transaction: Transaction) -> bool:
            found = first(transaction.connection, "tenant_number", (tenant.project, tenant.name))
            number = found[0] if found else transaction.give_numbers(tenant.project, tenant.name)[0]
            run(transaction.connection, "put_tenant", (tenant.created_ms, bodies.pack(tenant), number))
            return not (found and found[2])

        return await self._change(put)

    async def tenant(self, project: str, name: str) -> Tenant | None:
        """Return a tenant."""
        return await self._first(Tenant, "tenant", project, name)

    async def tenants(self, project: str, page: Page) -> Listing[Tenant]:
        """List a project's tenants, newest first."""
        wanted = window("tenants", page)

        def read(connection: apsw.Connection) -> Listing[Tenant]:
            asked = {"project": value(connection, "project_number", (project,)), **by_name(wanted)}
            return read_page(connection, Tenant, "tenants", wanted, asked, lambda each: (each.created_ms, each.name))

        return await self._read(read)

    # -- keys -------------------------------------------------------------------------------------------------------

    async def put_key(self, key: ApiKey) -> None:
        """Create or replace an API key."""
        await self._run("put_key", key.number, key.digest, key.project, bodies.pack(key))

    async def key_of(self, digest: bytes) -> ApiKey | None:
        """Return the API key with this digest."""
        return await self._first(ApiKey, "key_of", digest)

    async def key(self, number: int) -> ApiKey | None:
        """Return an API key."""
        return await self._first(ApiKey, "key", number)

    async def keys(self, project: str, page: Page) -> Listing[ApiKey]:
        """List a project's API keys, newest first."""
        wanted = window("keys", page)
        return await self._list(ApiKey, "keys", wanted, {"project": project, **by_number(wanted)}, number_of)

    async def delete_key(self, number: int) -> bool:
        """Delete an API key."""
        return await self._delete("delete_key", number)

    # -- subscriptions ----------------------------------------------------------------------------------------------

    async def change(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        """Write a subscription and, when there is one, its new version with a marker."""
        return await self._change(lambda transaction: _change(transaction, subscription, version, revision))

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription with a last marker."""

        def remove(transaction: Transaction) -> None:
            stored = _stored(transaction, subscription.number)
            if stored is not None:
                _remove(transaction, stored, subscription.updated_ms)

        await self._change(remove, rows=300)

    async def subscription(self, number: int) -> Subscription | None:
        """Return a subscription."""
        return await self._first(Subscription, "subscription", number)

    async def subscriptions(
        self, project: str, page: Page, *, tenant: str | None = None, status: Status | None = None
    ) -> Listing[Subscription]:
        """List a project's subscriptions, newest first."""
        wanted = window("subscriptions", page)
        name = "subscriptions_of_project" if tenant is None else "subscriptions_of_tenant"
        name, filters = (name, {}) if status is None else (f"{name}_in", {"status": status.value})

        def read(connection: apsw.Connection) -> Listing[Subscription]:
            asked = {"scope": scope_of(connection, project, tenant), **filters, **by_number(wanted)}
            return read_page(connection, Subscription, name, wanted, asked, number_of)

        return await self._read(read)

    async def subscriptions_of(self, project: str, tenant: str) -> Sequence[Subscription]:
        """Return all subscriptions of a tenant."""
        return await self._all_of(Subscription, "all_subscriptions_of_tenant", project, tenant)

    async def subscription_called(self, project: str, external_id: str) -> Subscription | None:
        """Return a project's subscription that an older API knows by this id."""
        return await self._first(Subscription, "subscription_called", project, external_id)

    async def versions_of(self, project: str, tenant: str) -> Sequence[Version]:
        """Return all versions of a tenant's living subscriptions."""
        return await self._all_of(Version, "versions_of", project, tenant)

    async def registry(self) -> Mapping[int, int]:
        """Return each partition's registry counter."""
        return dict(self._registry)

    # -- jobs -------------------------------------------------------------------------------------------------------

    async def put_job(self, job: Job) -> None:
        """Create or replace a job."""
        await self._run("put_job", job.number, job.project, job.tenant, job.state.value, bodies.pack(job))

    async def job(self, number: int) -> Job | None:
        """Return a job."""
        return await self._first(Job, "job", number)

    async def jobs(self, project: str, page: Page, *, tenant: str | None = None) -> Listing[Job]:
        """List a project's jobs, newest first."""
        wanted = window("jobs", page)
        asked: dict[str, Any] = {"project": project, **by_number(wanted)}
        if tenant is None:
            return await self._list(Job, "jobs", wanted, asked, number_of)
        return await self._list(Job, "jobs_of_tenant", wanted, {"tenant": tenant, **asked}, number_of)

    async def jobs_in(self, state: JobState) -> Sequence[Job]:
        """Return all jobs in a state, by number."""
        return await self._read(lambda connection: bodies.unpack_all(Job, run(connection, "jobs_in", (state.value,))))


# -- writing ----------------------------------------------------------------------------------------------------------


def _put_project(transaction: Transaction, project: Project) -> bool:
    connection = transaction.connection
    was_kept = value(connection, "keeps_objects", (project.name,))
    if (was_kept is None or bool(was_kept)) != project.keeps_objects:
        fold(transaction)  # What was published before is kept or not as was said then.
    is_new = first(connection, "has_project", (project.name,)) is None
    number = value(connection, "give_project_number", (project.name,))
    run(connection, "put_project", (project.created_ms, bodies.pack(project), project.keeps_objects, number))
    return is_new


def _change(transaction: Transaction, subscription: Subscription, version: Version | None, revision: int) -> int | None:
    stored = _stored(transaction, subscription.number)
    found = stored.revision if stored else 0
    if found != revision:
        raise Conflict(
            f"subscription {subscription.id} has revision {found}, expected {revision}; read it again and repeat"
        )
    numbers = _numbers(transaction, subscription)
    written = replace(subscription, revision=revision + 1)
    run(
        transaction.connection,
        "put_subscription",
        (
            written.number,
            numbers.project,
            numbers.tenant,
            written.status.value,
            written.external_id,
            bodies.pack(written),
        ),
    )
    run(transaction.connection, "put_owner", (written.number, numbers.project, numbers.tenant, written.partition))
    transaction.ledger.remember_owner(written.number, (numbers.project, numbers.tenant))
    transaction.touch(subscription.partition)
    return None if version is None else _mark(transaction, numbers, version, subscription.updated_ms)


def _mark(transaction: Transaction, numbers: Numbers, version: Version, now_ms: int) -> int:
    """Append a marker with a version that is in force from there on; return its offset."""
    version = replace(version, from_offset=transaction.head(numbers.partition) + 1)
    marker = Entry(numbers.partition, 0, now_ms, None, Kind.MARKER, version=version)
    place = transaction.append(marker, numbers)
    run(
        transaction.connection,
        "put_version",
        (version.subscription, version.from_offset, numbers.partition, bodies.pack(version)),
    )
    return place.offset


def _remove(transaction: Transaction, stored: Subscription, now_ms: int) -> None:
    last = Version(stored.number, 0, Owed.NOTHING, stored.rule, stored.dialect)
    _mark(transaction, _numbers(transaction, stored), last, now_ms)
    transaction.touch(stored.partition)
    run(transaction.connection, "delete_subscription", (stored.number,))
    run(transaction.connection, "delete_versions", (stored.number,))
    run(transaction.connection, "delete_lane_of", (stored.partition, stored.number))
    run(transaction.connection, "delete_opens_of", (stored.number,))


def _delete_project(transaction: Transaction, name: str) -> None:
    fold(transaction)
    while drop_objects(transaction, name):  # There is but what came since the rest was dropped.
        pass
    held = bodies.unpack_all(Subscription, run(transaction.connection, "all_subscriptions_of_project", (name,)))
    for subscription in held:
        _remove(transaction, subscription, subscription.updated_ms)
    for block in ("forget_tenants", "delete_keys", "delete_jobs", "delete_apps", "delete_grants", "forget_project"):
        run(transaction.connection, block, (name,))
    transaction.ledger.forget()  # Its tenants come into being anew.


def _stored(transaction: Transaction, number: int) -> Subscription | None:
    return bodies.unpack_first(Subscription, run(transaction.connection, "subscription", (number,)))


def _numbers(transaction: Transaction, subscription: Subscription) -> Numbers:
    """Return the numbers of a subscription's tenant, whether that is registered or not."""
    found = first(transaction.connection, "tenant_number", (subscription.project, subscription.tenant))
    tenant, project = found[:2] if found else transaction.give_numbers(subscription.project, subscription.tenant)
    return Numbers(tenant, project, subscription.partition)
