"""Keep what tenants want by version, and read it again whenever it changes, even while it is being read."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.engine import registry as registries
from angarium.engine.registry import Registry, TenantSubscriptions
from angarium.errors import StoreAway
from angarium.model.event import PARTITIONS, Entry, Event, Kind
from angarium.model.registry import Project
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.store.memory import MemoryStore
from tests.engine.faults import FrailStore

if TYPE_CHECKING:
    from collections.abc import Sequence

TENANT = "1"
PARTITION = partition_of("p", TENANT)


def _subscription(number: int, *, tenant: str = TENANT, **changes: object) -> Subscription:
    partition = partition_of("p", tenant)
    return replace(Subscription(number, f"sub_{number}", "p", tenant, partition, 0, 0, Status.ACTIVE), **changes)


async def _write(store: MemoryStore, subscription: Subscription, owed: Owed | None = Owed.PUSH) -> int | None:
    stored = await store.subscription(subscription.number)
    version = None if owed is None else Version(subscription.number, 0, owed, subscription.rule, "standard")
    return await store.change(subscription, version, revision=stored.revision if stored else 0)


def _entry(offset: int, action: str = "update") -> Entry:
    return Entry(PARTITION, offset, 0, Event("p", TENANT, "item", "1", action))


def _tenant(*versions: tuple[int, int, Owed, tuple[str, ...]]) -> TenantSubscriptions:
    """Return a tenant: (subscription, from offset, owed, types)."""
    numbers = sorted({number for number, _, _, _ in versions})
    made = [Version(number, offset, owed, Rule(types), "standard") for number, offset, owed, types in versions]
    return TenantSubscriptions(None, TENANT, [_subscription(number) for number in numbers], made)


@pytest.mark.parametrize(
    ("offset", "action", "expected"),
    [
        (9, "update", []),
        (10, "update", [1]),
        (19, "update", [1]),
        (20, "update", [1, 2]),
        (20, "create", [1]),
        (30, "update", [2]),
        (39, "create", []),
        (40, "create", [1]),
        (10**9, "update", [2]),
        (10**9, "create", [1]),
    ],
)
def test_the_version_at_an_event_s_offset_says_who_wants_it(offset: int, action: str, expected: list[int]) -> None:
    tenant = _tenant(
        (1, 10, Owed.PUSH, ()),
        (1, 30, Owed.NOTHING, ()),
        (1, 40, Owed.PUSH, ("item.create",)),
        (2, 20, Owed.PUSH, ("item.update",)),
        (3, 15, Owed.FEED, ()),
    )
    assert sorted(tenant.push(_entry(offset, action))) == expected
    assert [number for number in (1, 2, 3) if tenant.owed(number, _entry(offset, action)) is Owed.PUSH] == expected


def test_a_feed_is_owed_and_not_pushed() -> None:
    tenant = _tenant((3, 15, Owed.FEED, ()))
    assert (tenant.owed(3, _entry(15)), tenant.push(_entry(15)), tenant.owed(3, _entry(14))) == (
        Owed.FEED,
        (),
        Owed.NOTHING,
    )


def test_a_replay_is_for_its_target_alone_while_that_is_pushed_to() -> None:
    """It was pushed whatever its target was owed: a lane was made for one that was disabled, and never ended."""
    tenant = _tenant((1, 10, Owed.PUSH, ("other.*",)), (2, 10, Owed.PUSH, ()), (1, 30, Owed.NOTHING, ()))
    replay = replace(_entry(20), kind=Kind.REPLAY, target=1, of=12)
    assert (tenant.push(replay), tenant.owed(1, replay), tenant.owed(2, replay)) == ((1,), Owed.PUSH, Owed.NOTHING)
    assert tenant.push(replace(replay, offset=30)) == ()
    assert tenant.push(replace(replay, target=9)) == ()


def test_publishes_are_matched_with_what_is_in_force_now() -> None:
    tenant = _tenant((1, 10, Owed.PUSH, ()), (2, 20, Owed.PUSH, ("item.update",)), (3, 5, Owed.FEED, ()))
    events = [entry.event for entry in (_entry(0), _entry(0, "create")) if entry.event is not None]
    assert tenant.matched(events) == 3


def test_a_version_is_known_by_its_offset() -> None:
    tenant = _tenant((1, 10, Owed.PUSH, ()))
    rule = Rule()
    assert tenant.knows(Version(1, 10, Owed.PUSH, rule, "standard"))
    assert not tenant.knows(Version(1, 11, Owed.PUSH, rule, "standard"))
    assert not tenant.knows(Version(2, 10, Owed.PUSH, rule, "standard"))
    assert (tenant.latest_of(1), tenant.latest_of(2)) == (10, 0)


async def test_a_tenant_is_read_once_for_all_who_ask_at_the_same_time() -> None:
    store = MemoryStore()
    await _write(store, _subscription(1))
    registry = Registry(FrailStore(store, Random(1)).as_store)
    assert registry.held("p", TENANT) is None
    found = await asyncio.gather(*(registry.load("p", TENANT) for _ in range(5)))
    assert len(set(map(id, found))) == 1
    assert registry.held("p", TENANT) is found[0]


async def test_what_is_forgotten_is_read_again() -> None:
    store = MemoryStore()
    registry = Registry(store)
    assert not (await registry.load("p", TENANT)).subscriptions
    await _write(store, _subscription(1))
    assert not (await registry.load("p", TENANT)).subscriptions
    registry.forget("p", TENANT)
    assert list((await registry.load("p", TENANT)).subscriptions) == [1]


async def test_what_changes_while_it_is_read_is_read_once_more() -> None:
    store = MemoryStore()
    await _write(store, _subscription(1, url="http://old"))
    for seed in range(30):
        registry = Registry(FrailStore(store, Random(seed)).as_store)
        loading = asyncio.ensure_future(registry.load("p", TENANT))
        for _ in range(Random(seed).randrange(12)):
            await asyncio.sleep(0)
        await _write(store, _subscription(1, url=f"http://new/{seed}"), None)
        registry.forget("p", TENANT)
        await loading
        assert (await registry.load("p", TENANT)).subscriptions[1].url == f"http://new/{seed}"


async def test_who_forgets_as_reading_ends_is_not_given_what_was_read() -> None:
    """Between the end of the reading and the next turn of the loop it was."""
    store = MemoryStore()
    await _write(store, _subscription(1, url="http://old"))
    registry = Registry(store)
    loading = asyncio.ensure_future(registry.load("p", TENANT))
    for _ in range(100):
        if registry.held("p", TENANT) is not None:
            break
        await asyncio.sleep(0)
    await _write(store, _subscription(1, url="http://new"), None)
    registry.forget("p", TENANT)
    assert (await registry.load("p", TENANT)).subscriptions[1].url == "http://new"
    await loading


async def test_a_project_that_changes_while_its_tenant_is_read_is_read_once_more() -> None:
    """The old one was kept for all tenants, for good."""
    store = MemoryStore()
    for seed in range(30):
        await store.put_project(Project("p", "standard", 0, 0))
        registry = Registry(FrailStore(store, Random(seed)).as_store)
        loading = asyncio.ensure_future(registry.load("p", TENANT))
        for _ in range(Random(seed).randrange(12)):
            await asyncio.sleep(0)
        await store.put_project(Project("p", "standard", 0, 1 + seed))
        registry.forget_project("p")
        await loading
        project = (await registry.load("p", TENANT)).project
        assert project is not None
        assert project.updated_ms == 1 + seed


async def test_a_project_is_one_for_all_its_tenants() -> None:
    store = MemoryStore()
    await store.put_project(Project("p", "standard", 0, 0))
    registry = Registry(store)
    one, two = await registry.load("p", "1"), await registry.load("p", "2")
    assert one.project is two.project is not None
    assert sorted(registry.forget_project("p")) == ["1", "2"]
    assert (registry.held("p", "1"), registry.held("p", "2")) == (None, None)


async def test_a_partition_s_tenants_are_forgotten_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SUBSCRIPTIONS_MAX", 6)
    store = MemoryStore()
    registry = Registry(store)
    for tenant in map(str, range(9)):
        await registry.load("p", tenant)
    owners = {("p", str(number)) for number in range(9) if registry.held("p", str(number)) is not None}
    assert len(owners) == 6
    forgotten = [owner for partition in range(PARTITIONS) for owner in registry.forget_partition(partition)]
    assert sorted(forgotten) == sorted(owners)
    assert not any(registry.held(*owner) for owner in owners)


async def test_a_partition_that_is_forgotten_while_a_tenant_of_it_is_read_is_read_once_more() -> None:
    store = MemoryStore()
    await _write(store, _subscription(1, url="http://old"))
    registry = Registry(FrailStore(store, Random(1)).as_store)
    loading = asyncio.ensure_future(registry.load("p", TENANT))
    for _ in range(4):
        await asyncio.sleep(0)
    await _write(store, _subscription(1, url="http://new"), None)
    assert registry.forget_partition(partition_of("p", TENANT)) == [("p", TENANT)]
    assert (await loading).subscriptions[1].url == "http://new"


async def test_projects_that_others_have_changed_are_found() -> None:
    store = MemoryStore()
    for name in ("p", "q", "r"):
        await store.put_project(Project(name, "standard", 0, 0))
    registry = Registry(store)
    for name in ("p", "q", "r"):
        await registry.load(name, TENANT)
    await store.put_project(Project("q", "standard", 0, 1))
    await store.delete_project("r")
    assert await registry.outdated() == ["q", "r"]


async def test_a_failed_read_is_everybody_s_and_the_next_one_begins_anew() -> None:
    store = MemoryStore()
    await _write(store, _subscription(1))
    frail = FrailStore(store)
    registry = Registry(frail.as_store)
    frail.is_away = True
    found = await asyncio.gather(*(registry.load("p", TENANT) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [StoreAway] * 3
    frail.is_away = False
    assert list((await registry.load("p", TENANT)).subscriptions) == [1]


async def test_who_was_not_seen_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SUBSCRIPTIONS_MAX", 10)
    store = MemoryStore()
    number = 0
    for tenant in ("1", "2", "3"):
        for _ in range(3):
            number += 1
            await _write(store, _subscription(number, tenant=tenant))
    registry = Registry(store)
    await registry.load("p", "1")
    await registry.load("p", "2")
    assert registry.held("p", "1") is not None  # It counts as seen.
    await registry.load("p", "3")
    assert [registry.held("p", tenant) is not None for tenant in ("1", "2", "3")] == [True, False, True]


async def test_one_tenant_larger_than_all_room_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SUBSCRIPTIONS_MAX", 2)
    store = MemoryStore()
    for number in range(1, 6):
        await _write(store, _subscription(number))
    registry = Registry(store)
    await registry.load("p", "2")
    await registry.load("p", TENANT)
    assert registry.held("p", TENANT) is not None
    assert registry.held("p", "2") is None


async def test_a_marker_s_version_is_known_before_what_comes_after_it() -> None:
    store = MemoryStore()
    registry = Registry(store)
    await _write(store, _subscription(1))
    before = await registry.load("p", TENANT)
    offset = await _write(store, _subscription(1), Owed.NOTHING)
    assert offset is not None
    version = Version(1, offset, Owed.NOTHING, Rule(), "standard")
    await registry.learn(version)
    after = registry.held("p", TENANT)
    assert after is not None
    assert after is not before
    assert (after.push(_entry(offset - 1)), after.push(_entry(offset + 1))) == ((1,), ())
    await registry.learn(version)
    assert registry.held("p", TENANT) is after  # It is known by now.


async def test_a_deleted_subscription_s_marker_is_nothing_to_learn() -> None:
    store = MemoryStore()
    registry = Registry(store)
    held = await registry.load("p", TENANT)
    await registry.learn(Version(9, 5, Owed.NOTHING, Rule(), "standard"))
    assert registry.held("p", TENANT) is held


VERSIONS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 30), st.sampled_from(Owed), st.sampled_from([(), ("item.update",)])),
    unique_by=lambda version: version[1],
    max_size=12,
)


@given(VERSIONS, st.lists(st.integers(1, 35), min_size=1, max_size=30))
@settings(max_examples=100)
def test_whatever_the_order_of_offsets_it_says_the_same_as_each_version_alone(
    versions: list[tuple[int, int, Owed, tuple[str, ...]]], offsets: list[int]
) -> None:
    versions.sort(key=lambda version: version[1])
    tenant = _tenant(*versions)
    for offset in offsets:
        for action in ("update", "create"):
            expected = sorted(_plain(versions, offset, action))
            assert sorted(tenant.push(_entry(offset, action))) == expected


def _plain(versions: Sequence[tuple[int, int, Owed, tuple[str, ...]]], offset: int, action: str) -> set[int]:
    last = {number: (owed, types) for number, start, owed, types in versions if start <= offset}
    return {
        number
        for number, (owed, types) in last.items()
        if owed is Owed.PUSH and (not types or f"item.{action}" in types)
    }
