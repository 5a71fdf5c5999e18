"""Hold what every store promises of ownership, of registries that move, and of locks by name."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.model.delivery import Origin
from angarium.model.event import PARTITIONS
from angarium.store.contract import Balance, Settlement
from tests.store.values import (
    NOON,
    PARTITION,
    attempt,
    key,
    lane,
    opened,
    settled,
    subscribe,
    subscription,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store

ALL = frozenset(range(PARTITIONS))
DEADLINE_S = 20
ELSEWHERE = next(name for name in map(str, range(2, 99)) if key(1, tenant=name).partition != PARTITION)
"""A tenant of another partition."""


async def heard(registries: asyncio.Queue[Collection[int]]) -> set[int]:
    """Wait for partitions whose registry has grown."""
    return set(await asyncio.wait_for(registries.get(), DEADLINE_S))


async def test_who_is_alone_owns_everything(store: Store) -> None:
    assert store.owner.owned == ALL
    assert await store.owner.balance() == Balance()
    assert store.owner.may_send()


async def test_what_was_released_can_be_settled_by_its_next_owner(store: Store) -> None:
    await store.owner.retire()
    assert (await store.owner.balance()).excess == ALL
    await store.owner.release([PARTITION])
    assert store.owner.owned == ALL - {PARTITION}
    assert await store.owner.balance() == Balance(frozenset(), ALL - {PARTITION})
    await store.owner.join()
    assert (await store.owner.balance()).gained == {PARTITION}
    await store.settle(Settlement(watermarks={PARTITION: 1}))
    assert await store.watermarks() == {PARTITION: 1}


async def test_who_left_owns_nothing_until_it_joins_again(store: Store) -> None:
    await store.owner.leave()
    assert not store.owner.owned
    await store.owner.join()
    assert (await store.owner.balance()).gained == ALL


async def test_joining_twice_changes_nothing(store: Store) -> None:
    await store.owner.join()
    assert await store.owner.balance() == Balance()
    assert store.owner.owned == ALL


async def test_open_rows_and_lanes_of_some_partitions_are_read(store: Store) -> None:
    here, there = key(1), key(2, 2, tenant=ELSEWHERE)
    await store.settle(Settlement(opened=[opened(here), opened(there)], lanes=[lane(), lane(2, tenant=ELSEWHERE)]))
    assert [open_.key for open_ in await store.opens({PARTITION})] == [here]
    assert [row.subscription for row in await store.lanes([there.partition])] == [2]
    assert [open_.key for open_ in await store.opens()] == [here, there]
    assert len(await store.lanes({PARTITION, there.partition})) == len(await store.lanes()) == 2
    assert await store.opens([]) == []
    assert await store.lanes([]) == []


async def test_what_was_asked_for_is_found_among_what_is_open(store: Store) -> None:
    origins = enumerate((Origin.LANE, Origin.REDELIVER, Origin.TEST), 1)
    rows = [replace(opened(key(offset)), origin=origin) for offset, origin in origins]
    elsewhere = replace(opened(key(9, 2, tenant=ELSEWHERE)), origin=Origin.TEST)
    await store.settle(Settlement(opened=[*rows, elsewhere]))
    assert list(await store.asked_for({PARTITION})) == rows[1:]
    assert len(await store.asked_for({PARTITION, elsewhere.key.partition})) == 3
    assert list(await store.asked_for([])) == []


async def test_a_changed_subscription_is_heard_of(store: Store) -> None:
    registries: asyncio.Queue[Collection[int]] = asyncio.Queue()
    store.listen_registry(registries.put_nowait)
    await subscribe(store)
    assert await heard(registries) == {PARTITION}
    await store.change(subscription(), None, revision=1)
    assert await heard(registries) == {PARTITION}
    await store.remove(subscription())
    assert await heard(registries) == {PARTITION}


async def test_a_reopened_delivery_is_heard_of_with_its_last_attempt(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(settled=[settled(key(1))]))
    registries: asyncio.Queue[Collection[int]] = asyncio.Queue()
    store.listen_registry(registries.put_nowait)
    before = (await store.registry())[PARTITION]
    assert await store.reopen(opened(key(1)), attempt(key(1), 2))
    assert await heard(registries) == {PARTITION}
    assert (await store.registry())[PARTITION] == before + 1
    assert await store.attempts(key(1)) == [attempt(key(1), 2)]
    assert [open_.key for open_ in await store.opens({PARTITION})] == [key(1)]


async def test_what_is_open_already_is_not_reopened(store: Store) -> None:
    await subscribe(store)
    await store.settle(Settlement(opened=[opened(key(1))]))
    before = await store.registry()
    assert not await store.reopen(opened(key(1), attempts=9), attempt(key(1), 2))
    assert await store.attempts(key(1)) == []
    assert await store.registry() == before
    assert [open_.attempts for open_ in await store.opens()] == [1]


async def test_one_at_a_time_is_alone_with_a_name(store: Store) -> None:
    inside: list[int] = []

    async def enter(number: int) -> None:
        async with store.alone("granting"):
            inside.append(number)
            await store.put_meta("n", b"%d" % number)
            assert inside == [number]
            inside.remove(number)

    await asyncio.gather(*(enter(number) for number in range(20)))


async def test_names_do_not_wait_for_each_other(store: Store) -> None:
    async with store.alone("granting"), store.alone("resyncing"):
        assert await store.meta("n") is None


async def test_whoever_fails_inside_lets_others_in(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.alone("granting"):
            _ = NOON // 0
    async with store.alone("granting"):
        pass


async def test_waiting_to_be_alone_can_be_given_up(store: Store) -> None:
    async with store.alone("granting"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_enter(store), 0.05)
    await asyncio.wait_for(_enter(store), DEADLINE_S)


async def _enter(store: Store) -> None:
    async with store.alone("granting"):
        pass
