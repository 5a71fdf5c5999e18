"""Hold how publishes and flushes are grouped, and what those who wait are told when the server goes away."""

from __future__ import annotations

import asyncio
from asyncio import gather
from collections.abc import Mapping

import asyncpg
import pytest
from msgspec.structs import replace

from angarium.errors import StoreAway
from angarium.model.event import PARTITIONS, Event
from angarium.store.contract import Settlement
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.line import Lasting
from tests.receivers import raw_receiver
from tests.store.values import PARTITION, event, key, publish, settled, subscribe, watermark

DEADLINE_S = 20
BROKEN = Event("radio", "1", "item", "\ud800", "update")
"""An event that no store can keep: half a character."""
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
WARN = """
    CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE WARNING 'canceling wait for synchronous replication due to user request' USING ERRCODE = '01000';
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION warn();
"""


async def test_what_waits_together_is_committed_together(one: PostgresStore) -> None:
    heard: list[Mapping[int, int]] = []
    one.listen(heard.append)
    receipts = await gather(*(one.accept(publish(event(number))) for number in range(1000)))
    assert [receipt.places[0].offset for receipt in receipts] == list(range(1, 1001))
    assert len(heard) <= 20
    assert heard[-1] == {PARTITION: 1000}


async def test_futures_are_set_before_listeners_hear(one: PostgresStore) -> None:
    waiting = [one.accept(publish(event(number))) for number in range(100)]

    def hear(heads: Mapping[int, int]) -> None:
        assert all(future.done() for future in waiting[: heads[PARTITION]])

    one.listen(hear)
    await gather(*waiting)


async def test_a_publish_that_cannot_be_written_fails_alone(one: PostgresStore) -> None:
    good = [one.accept(publish(event(number))) for number in range(50)]
    bad = one.accept(publish(event(1), BROKEN))
    more = [one.accept(publish(event(number), key=str(number))) for number in range(50)]
    with pytest.raises(UnicodeEncodeError):
        await bad
    receipts = await gather(*good, *more)
    assert sorted(receipt.places[0].offset for receipt in receipts) == list(range(1, 101))
    assert await one.heads() == {PARTITION: 100}


async def test_a_flush_that_cannot_be_written_fails_alone(one: PostgresStore) -> None:
    await subscribe(one)
    broken = replace(settled(key(1)), answer="no bytes \ud800")
    bad = one.settle(Settlement(settled=[broken], watermarks={PARTITION: 5}))
    good = one.settle(Settlement(settled=[settled(key(2))]))
    with pytest.raises(UnicodeEncodeError):
        await bad
    await good
    assert await one.settled_after(PARTITION, 0) == [settled(key(2))]
    assert await one.watermarks() == {}


async def test_what_waits_when_the_store_is_closed_is_written(one: PostgresStore, dsn: str) -> None:
    waiting = [one.accept(publish(event(number))) for number in range(300)]
    flushed = one.settle(watermark(7))
    await one.close()
    assert len(await gather(*waiting)) == 300
    await flushed
    with pytest.raises(StoreAway, match="closed"):
        await one.accept(publish())
    with pytest.raises(StoreAway, match="closed"):
        await one.heads()
    again = PostgresStore(dsn)
    await again.open()
    assert (await again.heads(), await again.watermarks()) == ({PARTITION: 300}, {PARTITION: 7})
    await again.close()


@pytest.mark.parametrize("name", ["", "k"])
async def test_a_lost_connection_is_told_and_made_anew(
    one: PostgresStore, connection: asyncpg.Connection, name: str
) -> None:
    """Without a key the statement commits by itself: whether it did is not known. With one, the commit was not sent."""
    await one.accept(publish())
    async with connection.transaction():
        await connection.execute('SELECT 1 FROM "partition" FOR UPDATE')
        await connection.execute("LOCK TABLE progress")
        accepted, flushed = one.accept(publish(key=name)), one.settle(watermark(1))
        await _wait_for_locks(connection, 2)
        await connection.execute(END_OTHERS)
        answers = await gather(accepted, flushed, return_exceptions=True)
    for answer, is_unknown in zip(answers, (not name, True), strict=True):
        assert isinstance(answer, StoreAway)
        assert answer.is_unknown == is_unknown
    await one.accept(publish())
    assert len((await one.owner.balance()).gained) == PARTITIONS
    await one.settle(watermark(2))
    assert await one.heads() == {PARTITION: 2}
    assert await one.watermarks() == {PARTITION: 2}
    assert await one.check() == []


async def _wait_for_locks(connection: asyncpg.Connection, count: int) -> None:
    """Wait until so many others wait for what this connection holds."""
    async with asyncio.timeout(DEADLINE_S):
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)


async def test_listeners_hear_again_after_a_lost_connection(
    one: PostgresStore, other: PostgresStore, connection: asyncpg.Connection
) -> None:
    await connection.execute(END_OTHERS)
    heard: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
    other.listen(heard.put_nowait)
    while True:
        try:
            await one.accept(publish())
            break
        except StoreAway:
            await asyncio.sleep(0.01)
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == await one.heads()


@pytest.mark.parametrize("name", ["", "k"])
async def test_a_commit_that_did_not_wait_for_its_standbys_is_not_known_to_be_safe(
    one: PostgresStore, connection: asyncpg.Connection, name: str
) -> None:
    await connection.execute(WARN)
    with pytest.raises(StoreAway, match="one machine only") as raised:
        await one.accept(publish(key=name))
    assert raised.value.is_unknown


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreAway, match="cannot be used"):
        await PostgresStore("postgresql://nobody@/nothing?host=/nowhere").open()


async def test_who_listens_badly_stops_nobody(one: PostgresStore) -> None:
    heard: list[Mapping[int, int]] = []
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context["exception"])))

    def fail(_: Mapping[int, int]) -> None:
        raise ValueError("no ears")

    one.listen(fail)
    one.listen(heard.append)
    await one.accept(publish())
    await one.accept(publish())
    assert heard == [{PARTITION: 1}, {PARTITION: 2}]
    assert said == ["no ears", "no ears"]


async def test_large_publishes_are_divided_among_commits(one: PostgresStore) -> None:
    heard: list[Mapping[int, int]] = []
    one.listen(heard.append)
    large = replace(event(), data=b'"' + b"x" * 200_000 + b'"')
    await gather(*(one.accept(publish(large)) for _ in range(100)))
    assert len(heard) >= 3
    assert len(await one.read(PARTITION, after=0, limit=200)) == 100


async def test_who_waits_for_a_server_that_does_not_answer_is_told_to_come_back() -> None:
    """A machine without power refuses nothing: connecting to it takes as long as one waits."""

    async def be_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_receiver(be_silent) as silent:
        link = Lasting(f"postgresql://nobody@127.0.0.1:{silent.port}/nothing")
        for _ in range(2):
            with pytest.raises(StoreAway, match="not let us in yet"):
                await link.lend().__aenter__()
        await link.close()


async def test_what_failed_is_not_tried_again_at_once() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with raw_receiver(refuse) as refusing:
        link = Lasting(f"postgresql://nobody@127.0.0.1:{refusing.port}/nothing?sslmode=disable", rests_s=DEADLINE_S)
        for _ in range(100):
            with pytest.raises(StoreAway, match="cannot be used"):
                await link.lend().__aenter__()
        await link.close()
    assert refusing.connections == 1
