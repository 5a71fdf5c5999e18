"""A commit that is on one machine only is not accepted: what the server calls a success, with a warning, is none."""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio import Future
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from angarium.errors import OwnershipLost, StoreAway
from angarium.store.contract import Publish
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.connection import connect
from tests.cluster.nodes import Cluster
from tests.cluster.relay import Relay
from tests.store.values import PARTITION, event, publish, subscribe, watermark

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'angarium'"
CANCEL = WAITING.replace("pid", "pg_cancel_backend(pid)", 1)
WANTED = publish(event(), key="key", digest=b"d")


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(database)
    await store.open()
    yield store
    await store.close()


async def _cancel_until(cluster: Cluster, done: Future[Any]) -> None:
    """Cancel what waits for the replicas, as an administrator who loses patience."""
    while not done.done():
        await asyncio.to_thread(cluster.sql, CANCEL)


@pytest.mark.parametrize("wanted", [publish(event()), WANTED])
async def test_a_publish_whose_wait_for_the_replicas_is_cancelled_is_not_accepted(
    cluster: Cluster, store: PostgresStore, wanted: Publish
) -> None:
    await store.accept(publish(event()))
    with cluster.replicas_paused():
        accepted = store.accept(wanted)
        await _cancel_until(cluster, accepted)

        with pytest.raises(StoreAway, match="one machine only") as told:
            await accepted
        assert told.value.is_unknown
        assert [entry.offset for entry in await store.read(PARTITION, after=0, limit=10)] == [1, 2]


async def test_a_tenant_s_first_publish_waits_for_its_number_to_be_on_two_machines(
    cluster: Cluster, store: PostgresStore
) -> None:
    with cluster.replicas_paused():
        accepted = store.accept(WANTED)
        await _cancel_until(cluster, accepted)

        with pytest.raises(StoreAway, match="one machine only"):
            await accepted
        assert await store.heads() == {}


async def test_the_key_of_a_publish_on_one_machine_answers_once_it_is_on_two(
    cluster: Cluster, store: PostgresStore
) -> None:
    await store.accept(publish(event()))
    with cluster.replicas_paused():
        first = store.accept(WANTED)
        await _cancel_until(cluster, first)
        with pytest.raises(StoreAway):
            await first
        again = store.accept(WANTED)
        while not await asyncio.to_thread(cluster.sql, WAITING):
            assert not again.done()
        assert not again.done()

    assert (await again).is_replay


async def test_a_change_whose_wait_for_the_replicas_is_cancelled_is_not_made(
    cluster: Cluster, store: PostgresStore
) -> None:
    with cluster.replicas_paused():
        changed = asyncio.ensure_future(subscribe(store))
        await _cancel_until(cluster, changed)

        with pytest.raises(StoreAway, match="one machine only"):
            await changed


async def test_replicas_that_do_not_answer_make_a_publish_unknown_and_no_hang(
    cluster: Cluster, store: PostgresStore
) -> None:
    await store.accept(publish(event()))
    with cluster.replicas_paused():
        with pytest.raises(StoreAway) as told:
            await asyncio.wait_for(store.accept(WANTED), 30)
        assert told.value.is_unknown

    assert (await store.accept(WANTED)).is_replay


async def test_a_flush_whose_wait_for_the_replicas_is_cancelled_ends_all_ownership(
    cluster: Cluster, store: PostgresStore
) -> None:
    await store.owner.join()
    await store.owner.balance()
    assert PARTITION in store.owner.owned
    assert store.owner.may_send()
    with cluster.replicas_paused():
        flushed = store.settle(watermark(1))
        await _cancel_until(cluster, flushed)

        with pytest.raises(OwnershipLost, match="one machine only"):
            await flushed
        assert not store.owner.owned
        assert not store.owner.may_send()
    await store.owner.leave()


async def test_a_database_that_falls_silent_makes_no_publish_hang_and_is_used_again(
    cluster: Cluster, database: str
) -> None:
    relay = Relay([node.port for node in cluster.nodes])
    store = PostgresStore(cluster.through(database, relay))
    await store.open()
    await store.accept(publish(event()))
    relay.cut()

    for _ in range(3):
        with pytest.raises(StoreAway):
            await asyncio.wait_for(store.accept(publish(event())), 30)
    await asyncio.to_thread(relay.mend)
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreAway):
                await store.accept(publish(event()))
                break

    await store.close()
    await asyncio.to_thread(relay.close)


async def test_the_kernel_ends_a_connection_to_a_machine_that_is_gone(database: str) -> None:
    connection = await connect(database)
    opened = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # asyncpg shows it nowhere else
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    await connection.close()
