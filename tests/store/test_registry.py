"""Hold what the registry promises: what was put is returned, changes are markers, and nothing is lost to a race."""

from __future__ import annotations

from asyncio import gather
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import BadCursor, Conflict
from angarium.model.event import Kind
from angarium.model.registry import ApiKey, Job, JobState, Project, Scope, Tenant
from angarium.model.subscription import Owed, Status, Version
from angarium.store.contract import DeliveryQuery, EventQuery, Page, Settlement
from tests.store.values import (
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    event,
    fill,
    key,
    lane,
    opened,
    publish,
    resync,
    settled,
    subscribe,
    subscription,
    version,
    walk,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store


def project(name: str = PROJECT, *, created_ms: int = NOON) -> Project:
    return Project(name, "standard", created_ms, created_ms, {"item": {"window": "start"}}, {"retention_days": 7})


def api_key(number: int, *, of: str = PROJECT) -> ApiKey:
    return ApiKey(number, f"key_{number}", b"\x00digest-%d" % number, Scope.MANAGE, NOON, of, actor=b'{"user_id": 7}')


def job(number: int, *, tenant: str = TENANT, state: JobState = JobState.RUNNING) -> Job:
    return Job(number, f"job_{number}", PROJECT, tenant, "replay", state, NOON, NOON, spec={"from": "x"}, total=9)


async def test_named_values_of_the_store_are_kept(store: Store) -> None:
    assert await store.meta("ids") is None
    await store.put_meta("ids", b"\x00\x01")
    await store.put_meta("ids", b"\x02")
    assert await store.meta("ids") == b"\x02"


async def test_numbers_are_given_out_once(store: Store) -> None:
    given = await gather(*(store.number("key") for _ in range(20)))
    assert sorted(given) == list(range(1, 21))
    assert await store.number("job") == 1


async def test_a_project_is_created_and_replaced(store: Store) -> None:
    assert await store.project(PROJECT) is None
    assert await store.put_project(project())
    assert not await store.put_project(replace(project(), dialect="radiomanager"))
    found = await store.project(PROJECT)
    assert found == replace(project(), dialect="radiomanager")


async def test_projects_are_listed_newest_first(store: Store) -> None:
    for number, name in enumerate(("b", "a", "c", "d", "e")):
        await store.put_project(project(name, created_ms=NOON + number // 2))
    pages = await walk(store.projects)
    assert [[each.name for each in page] for page in pages] == [
        ["e", "d"],
        ["c", "b"],
        ["a"],
    ]


async def test_a_tenant_is_created_and_replaced(store: Store) -> None:
    made = Tenant(PROJECT, "9", NOON, "Nine", {"country": "NO"})
    assert await store.put_tenant(made)
    assert await store.tenant(PROJECT, "9") == made
    assert not await store.put_tenant(replace(made, title="No. 9"))
    await store.accept(publish(event(tenant="9"), now_ms=NOON + 99))
    assert await store.tenant(PROJECT, "9") == replace(made, title="No. 9")
    assert await store.tenant(PROJECT, "8") is None
    assert await store.tenant("cm", "9") is None


async def test_tenants_are_listed_newest_first_by_project(store: Store) -> None:
    for number in range(5):
        await store.put_tenant(Tenant(PROJECT, str(number), NOON + number // 2))
    await store.put_tenant(Tenant("cm", "9", NOON))
    pages = await walk(lambda page: store.tenants(PROJECT, page))
    assert [[each.name for each in page] for page in pages] == [
        ["4", "3"],
        ["2", "1"],
        ["0"],
    ]
    assert (await store.tenants("nobody", Page())).data == []


async def test_keys_are_found_by_digest_and_number(store: Store) -> None:
    await store.put_key(api_key(1))
    assert await store.key_of(b"\x00digest-1") == api_key(1)
    assert await store.key_of(b"\x00digest-2") is None
    assert await store.key(1) == api_key(1)
    assert await store.key(2) is None
    renewed = replace(api_key(1), digest=b"other", name="renewed")
    await store.put_key(renewed)
    assert await store.key_of(b"\x00digest-1") is None
    assert await store.key_of(b"other") == renewed
    assert await store.delete_key(1)
    assert not await store.delete_key(1)
    assert await store.key_of(b"other") is None


async def test_keys_are_listed_newest_first_by_project(store: Store) -> None:
    for number in range(1, 6):
        await store.put_key(api_key(number))
    await store.put_key(api_key(6, of=""))
    pages = await walk(lambda page: store.keys(PROJECT, page))
    assert [[each.number for each in page] for page in pages] == [[5, 4], [3, 2], [1]]
    assert [each.number for each in (await store.keys("", Page())).data] == [6]


async def test_jobs_are_listed_by_project_tenant_and_state(store: Store) -> None:
    for number in range(1, 6):
        await store.put_job(job(number, tenant=str(number % 2)))
    await store.put_job(job(2, tenant="0", state=JobState.DONE))
    assert await store.job(2) == job(2, tenant="0", state=JobState.DONE)
    assert await store.job(9) is None
    pages = await walk(lambda page: store.jobs(PROJECT, page))
    assert [[each.number for each in page] for page in pages] == [[5, 4], [3, 2], [1]]
    assert [each.number for each in (await store.jobs(PROJECT, Page(), tenant="1")).data] == [5, 3, 1]
    assert [each.number for each in await store.jobs_in(JobState.RUNNING)] == [1, 3, 4, 5]


async def test_a_subscription_comes_back_as_it_was_written(store: Store) -> None:
    marked = await store.change(subscription(), version(types=("item.*",)), revision=0)
    assert marked == 1
    assert await store.subscription(1) == subscription()
    assert await store.versions_of(PROJECT, TENANT) == [replace(version(types=("item.*",)), from_offset=1)]


async def test_a_change_of_what_is_sent_needs_no_marker(store: Store) -> None:
    await subscribe(store)
    assert await store.change(replace(subscription(), url="https://b"), None, revision=1) is None
    found = await store.subscription(1)
    assert found is not None
    assert (found.url, found.revision) == ("https://b", 2)
    assert await store.heads() == {PARTITION: 1}
    assert await store.registry() == {PARTITION: 2}


async def test_a_change_of_what_is_owed_is_a_marker_in_the_log(store: Store) -> None:
    await subscribe(store)
    await fill(store, 2)
    assert await store.change(subscription(), version(owed=Owed.NOTHING), revision=1) == 4
    first, *_, last = await store.read(PARTITION, after=0, limit=9)
    assert (first.kind, last.kind) == (Kind.MARKER, Kind.MARKER)
    assert last.version == Version(1, 4, Owed.NOTHING, version().rule, "standard")
    assert [each.from_offset for each in await store.versions_of(PROJECT, TENANT)] == [1, 4]


async def test_two_changes_of_one_revision_are_not_both_written(store: Store) -> None:
    await subscribe(store)
    answers = await gather(
        *(store.change(replace(subscription(), name=str(n)), version(), revision=1) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    assert await store.heads() == {PARTITION: 2}
    with pytest.raises(Conflict, match="has revision 2, expected 0; read it again and repeat"):
        await store.change(subscription(), version(), revision=0)
    with pytest.raises(Conflict, match="has revision 0, expected 1"):
        await store.change(subscription(2), version(2), revision=1)


async def test_subscriptions_are_listed_by_project_tenant_and_status(store: Store) -> None:
    for number in range(1, 6):
        status = Status.PAUSED if number % 2 else Status.ACTIVE
        await store.change(subscription(number, status=status), version(number), revision=0)
    await store.change(subscription(6, tenant="2"), version(6), revision=0)
    await store.change(subscription(7, project="cm"), version(7), revision=0)
    pages = await walk(lambda page: store.subscriptions(PROJECT, page))
    assert [len(page) for page in pages] == [2, 2, 2]

    async def listed(tenant: str | None, status: Status | None) -> list[int]:
        page = await store.subscriptions(PROJECT, Page(), tenant=tenant, status=status)
        return [each.number for each in page.data]

    assert await listed(None, None) == [6, 5, 4, 3, 2, 1]
    assert await listed(TENANT, None) == [5, 4, 3, 2, 1]
    assert await listed(None, Status.ACTIVE) == [6, 4, 2]
    assert await listed(TENANT, Status.ACTIVE) == [4, 2]
    assert await listed("3", None) == []
    assert [each.number for each in await store.subscriptions_of(PROJECT, TENANT)] == [1, 2, 3, 4, 5]
    assert await store.subscriptions_of(PROJECT, "3") == []
    assert await store.versions_of(PROJECT, "3") == []


async def test_a_subscription_is_found_by_what_an_older_api_calls_it(store: Store) -> None:
    for number, called in enumerate(("7", "", "8", "7"), start=1):
        await store.change(replace(subscription(number), external_id=called), version(number), revision=0)
    await store.change(replace(subscription(5, project="cm"), external_id="9"), version(5), revision=0)
    found = [await store.subscription_called(PROJECT, called) for called in ("7", "8", "9", "")]
    assert [each.number if each else None for each in found] == [1, 3, None, None]
    await store.change(replace(subscription(3), external_id="88"), None, revision=1)
    await store.remove(subscription(1))
    found = [await store.subscription_called(PROJECT, called) for called in ("7", "8", "88")]
    assert [each.number if each else None for each in found] == [4, None, 3]
    assert await store.subscription_called("nobody", "7") is None


async def test_removing_leaves_a_marker_and_what_was_settled(store: Store) -> None:
    await subscribe(store)
    await subscribe(store, 2)
    await store.settle(
        Settlement(settled=[settled(key(9))], opened=[opened(key(10)), opened(key(10, 2))], lanes=[lane(), lane(2)])
    )
    await store.remove(replace(subscription(), updated_ms=NOON + 50))
    await store.remove(subscription())
    assert await store.subscription(1) is None
    assert [each.subscription for each in await store.versions_of(PROJECT, TENANT)] == [2]
    assert await store.lanes() == [lane(2)]
    assert await store.opens() == [opened(key(10, 2))]
    (marker,) = await store.read(PARTITION, after=2, limit=9)
    assert marker.version == Version(1, 3, Owed.NOTHING, subscription().rule, "standard")
    assert marker.accepted_ms == NOON + 50
    assert await store.delivery(key(9)) == settled(key(9))
    assert [each.key for each in (await store.deliveries(DeliveryQuery(PROJECT), Page())).data] == [
        key(10, 2),
        key(9),
    ]
    assert await store.append([resync(event(1), now_ms=NOON)])


async def test_deleting_a_project_leaves_its_log(store: Store) -> None:
    await store.put_project(project())
    await fill(store, 2)
    await subscribe(store)
    await store.put_key(api_key(1))
    await store.put_job(job(1))
    await store.put_project(project("cm"))
    await store.put_key(api_key(2, of="cm"))
    await store.change(subscription(2, project="cm"), version(2), revision=0)
    await store.delete_project(PROJECT)
    await store.delete_project(PROJECT)
    assert await store.project(PROJECT) is None
    assert await store.tenant(PROJECT, TENANT) is None
    assert (await store.tenants(PROJECT, Page())).data == []
    assert await store.subscription(1) is None
    assert await store.key(1) is None
    assert await store.job(1) is None
    assert len((await store.events(EventQuery(PROJECT), Page())).data) == 2
    assert (await store.read(PARTITION, after=3, limit=9))[0].kind == Kind.MARKER
    assert await store.project("cm") is not None
    assert await store.key(2) is not None
    assert await store.subscription(2) is not None


async def test_a_deleted_project_s_tenants_come_into_being_again(store: Store) -> None:
    await fill(store, 1)
    await store.delete_project(PROJECT)
    await store.accept(publish(event(), now_ms=NOON + 5))
    made = await store.tenant(PROJECT, TENANT)
    assert made is not None
    assert made.created_ms == NOON + 5


async def test_names_are_told_apart_byte_for_byte(store: Store) -> None:
    names = ["é", "e\u0301", "a\u0000b", "a\u0000c", "A", "a", " a", ""]
    for number, name in enumerate(names, start=1):
        await store.change(subscription(number, tenant=name), version(number), revision=0)
        await store.accept(publish(event(number, tenant=name)))
    for number, name in enumerate(names, start=1):
        assert [each.number for each in await store.subscriptions_of(PROJECT, name)] == [number]
        found = await store.read_tenant(PROJECT, name, after=0, limit=9)
        assert [entry.event.object_id for entry in found.entries if entry.event] == [str(number)]
        assert found.scanned_to == (await store.heads())[partition_of(PROJECT, name)]


@pytest.mark.parametrize("cursor", ["", "x", "é", "kqRrZXlzzQEs", "4pyT"])
async def test_a_cursor_of_something_else_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await store.subscriptions(PROJECT, Page(after=cursor))
    with pytest.raises(BadCursor):
        await store.deliveries(DeliveryQuery(PROJECT), Page(before=cursor))
    with pytest.raises(BadCursor, match="both after and before"):
        await store.keys(PROJECT, Page(after="x", before="x"))
