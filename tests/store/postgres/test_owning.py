"""Hold that a partition has one owner at most, whatever becomes of processes and connections."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio import gather
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from angarium.errors import OwnershipLost
from angarium.model.event import PARTITIONS
from angarium.store.contract import Settlement
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.fencing import SENDS_S
from tests.store.conftest import own_all
from tests.store.values import (
    PARTITION,
    attempt,
    key,
    lane,
    opened,
    settled,
    subscribe,
    subscription,
    watermark,
)

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60
TAKEN, HELD, GIVEN = 1, 2, 3
"""What an owner settles when it has come to own a partition, while it does, and before it releases it."""

RECORD = """
    CREATE TABLE held (number bigserial PRIMARY KEY, "partition" smallint, pid integer, watermark bigint);
    CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT "partition"::integer FROM fresh EXCEPT
            SELECT objid::bigint::integer FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 2 AND pid = pg_backend_pid() AND classid::bigint
                = hashtext('angarium partition ' || current_schema())::bigint & 4294967295
        ) THEN
            RAISE EXCEPTION 'a partition is settled by who does not hold it';
        END IF;
        INSERT INTO held ("partition", pid, watermark) SELECT "partition", pg_backend_pid(), watermark FROM fresh;
        RETURN NULL;
    END $$;
    CREATE TRIGGER record AFTER INSERT ON progress REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION record();
    CREATE TRIGGER record_again AFTER UPDATE ON progress REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION record();
"""
"""Record who settles partitions, under their rows' locks, and refuse it to whoever does not hold them."""
SETTLED_AFTER = "SELECT DISTINCT pid FROM held WHERE number > $1"
END_OWNERS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
        AND classid::bigint = hashtext('angarium worker ' || current_schema())::bigint & 4294967295
"""
UNLOCK = """
    CREATE FUNCTION unlock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_unlock_all();
        RETURN NULL;
    END $$;
    CREATE TRIGGER unlock AFTER INSERT OR UPDATE ON progress FOR EACH ROW EXECUTE FUNCTION unlock();
"""
WARN = """
    CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE WARNING 'canceling wait for synchronous replication due to user request' USING ERRCODE = '01000';
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON progress DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION warn();
"""


class Worker:
    """A worker in a process of its own, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, heard: asyncio.Event) -> None:
        self.process = process
        self.owns = 0
        self.said: list[str] = []
        self.listening = asyncio.create_task(self._listen(heard))

    async def _listen(self, heard: asyncio.Event) -> None:
        """Take in what it says, to its end."""
        assert self.process.stdout
        async for line in self.process.stdout:
            word, *rest = line.decode().split()
            self.said.append(word)
            self.owns = int(rest[0]) if rest else self.owns * (word != "lost")
            heard.set()

    async def end(self) -> None:
        """Let it leave in order."""
        assert self.process.stdin
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), DEADLINE_S)
        await self.listening
        self.owns = 0

    async def kill(self) -> None:
        """End it, if it has not ended."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.listening
        self.owns = 0


class Crew:
    """Workers on one database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._heard = asyncio.Event()
        self.workers: list[Worker] = []

    async def start(self) -> Worker:
        """Start one more."""
        pipe = asyncio.subprocess.PIPE
        module = ("-m", "tests.store.postgres.worker", self._dsn)
        process = await asyncio.create_subprocess_exec(sys.executable, *module, stdin=pipe, stdout=pipe, cwd=ROOT)
        self.workers.append(Worker(process, self._heard))
        return self.workers[-1]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, which changes with what they say."""
        async with asyncio.timeout(DEADLINE_S):
            while not is_so():
                self._heard.clear()
                await self._heard.wait()

    async def share(self, *counts: int) -> None:
        """Wait until they own so many partitions, whoever of them owns how many."""
        await self.until(lambda: sorted(each.owns for each in self.workers if each.owns) == sorted(counts))


@pytest.fixture
async def crew(dsn: str) -> AsyncIterator[Crew]:
    """Make a crew, and end those of it that are left."""
    made = Crew(dsn)
    yield made
    for worker in made.workers:
        await worker.kill()


@pytest.fixture
async def looking(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection to look behind the stores, where what is settled is recorded."""
    made = await asyncpg.connect(dsn)
    await made.execute(RECORD)
    yield made
    await made.close()


# -- processes --------------------------------------------------------------------------------------------------------


async def test_workers_share_evenly_as_they_come_and_leave(crew: Crew, looking: asyncpg.Connection) -> None:
    await crew.start()
    await crew.share(256)
    await crew.start()
    await crew.share(128, 128)
    third = await crew.start()
    await crew.share(85, 85, 86)
    await third.end()
    await crew.share(128, 128)
    assert {word for worker in crew.workers for word in worker.said} == {"owns"}
    assert await looking.fetchval('SELECT count(DISTINCT "partition") FROM held') == PARTITIONS


async def test_the_share_of_who_is_killed_goes_to_others(crew: Crew) -> None:
    first, second, third = [await crew.start() for _ in range(3)]
    await crew.share(85, 85, 86)
    await third.kill()
    await crew.share(128, 128)
    assert {*first.said, *second.said} == {"owns"}


async def both_settle(looking: asyncpg.Connection, *, after: int) -> set[int]:
    """Wait until two sessions have settled something; return which."""
    async with asyncio.timeout(DEADLINE_S):
        while len(pids := await looking.fetch(SETTLED_AFTER, after)) < 2:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.05)
    return {pid for (pid,) in pids}


async def test_who_hangs_loses_its_share_and_settles_nothing_more(crew: Crew, looking: asyncpg.Connection) -> None:
    """Its kernel answers for it, so that only its silence tells the server."""
    first, second = [await crew.start() for _ in range(2)]
    await crew.share(128, 128)
    before = await both_settle(looking, after=0)
    second.process.send_signal(signal.SIGSTOP)
    await crew.until(lambda: first.owns == PARTITIONS)
    last = await looking.fetchval("SELECT max(number) FROM held")
    second.process.send_signal(signal.SIGCONT)
    await crew.until(lambda: "lost" in second.said and "refused" in second.said)
    await crew.share(128, 128)
    assert len(before & await both_settle(looking, after=last)) == 1
    assert "lost" not in first.said


# -- hand-overs -------------------------------------------------------------------------------------------------------


class Sharer:
    """A store in this process that owns and releases, and settles what it does."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.owner = store.owner
        self.gains = 0

    async def step(self) -> None:
        """Take what is to be ours, hold it, and let go of what is too much."""
        balance = await self.owner.balance()
        await self.say(TAKEN, balance.gained)
        self.gains += len(balance.gained)
        await self.say(HELD, self.owner.owned)
        await self.say(GIVEN, balance.excess)
        await self.owner.release(balance.excess)

    async def say(self, what: int, partitions: Collection[int]) -> None:
        """Settle in some partitions what becomes of them."""
        if partitions:
            await self.store.settle(Settlement(watermarks=dict.fromkeys(partitions, what)))

    async def come_and_go(self, until: Callable[[], bool]) -> None:
        """Join and retire in turn, a few steps each."""
        while not until():
            await self.owner.join()
            await self.step()
            await self.step()
            await self.owner.retire()
            await self.step()
        while self.owner.owned:
            await self.step()


async def test_ten_thousand_hand_overs_leave_each_partition_with_one_owner(
    one: PostgresStore, other: PostgresStore, looking: asyncpg.Connection
) -> None:
    await one.owner.leave()
    sharers = [Sharer(one), Sharer(other)]

    def is_enough() -> bool:
        return sum(sharer.gains for sharer in sharers) >= 10_000

    await gather(*(sharer.come_and_go(is_enough) for sharer in sharers))
    assert all(sharer.gains > 1000 for sharer in sharers)
    owner: dict[int, int] = {}
    changes = 0
    for partition, pid, what in await looking.fetch('SELECT "partition", pid, watermark FROM held ORDER BY number'):
        if what == TAKEN:
            assert partition not in owner
            owner[partition] = pid
            changes += 1
        assert owner[partition] == pid
        if what == GIVEN:
            del owner[partition]
    assert owner == {}
    assert changes == sum(sharer.gains for sharer in sharers)


async def test_what_is_released_is_written_first_and_refused_after(
    one: PostgresStore, other: PostgresStore, looking: asyncpg.Connection
) -> None:
    before = one.settle(watermark(1))
    released = asyncio.ensure_future(one.owner.release([PARTITION]))
    await gather(before, released)
    after = await gather(one.settle(watermark(2)), return_exceptions=True)
    assert isinstance(after[0], OwnershipLost)
    assert not after[0].is_unknown
    await other.owner.join()
    assert (await other.owner.balance()).gained == {PARTITION}
    await other.settle(watermark(3))
    assert [said for (said,) in await looking.fetch("SELECT watermark FROM held ORDER BY number")] == [1, 3]


async def test_a_flush_that_is_partly_about_what_others_own_is_not_written(
    one: PostgresStore, other: PostgresStore
) -> None:
    await subscribe(one)
    await one.owner.release([PARTITION])
    flushes = [
        Settlement(settled=[settled(key(1))], watermarks={0: 7}),
        Settlement(attempts=[attempt(key(1))], watermarks={0: 7}),
        Settlement(opened=[opened(key(1))], watermarks={0: 7}),
        Settlement(closed=[key(1)], watermarks={0: 7}),
        Settlement(lanes=[lane()], watermarks={0: 7}),
        Settlement(lanes_gone=[(PARTITION, 1)], watermarks={0: 7}),
        Settlement(watermarks={PARTITION: 7, 0: 7}),
    ]
    good = one.settle(Settlement(watermarks={1: 8}))
    answers = await gather(*map(one.settle, flushes), return_exceptions=True)
    assert {type(answer) for answer in answers} == {OwnershipLost}
    await good
    assert await one.watermarks() == {1: 8}
    assert await other.opens() == []


async def test_who_has_not_joined_settles_nothing(other: PostgresStore) -> None:
    with pytest.raises(OwnershipLost, match="join"):
        await other.settle(watermark(1))
    assert not other.owner.may_send()
    assert (await other.owner.balance()).gained == frozenset()


async def test_stores_in_one_database_but_different_schemas_own_apart(
    one: PostgresStore, looking: asyncpg.Connection, dsn: str
) -> None:
    await looking.execute("CREATE SCHEMA second")
    second = PostgresStore(f"{dsn}{'&' if '?' in dsn else '?'}search_path=second")
    await second.open()
    await own_all(second)
    assert len(second.owner.owned) == len(one.owner.owned) == PARTITIONS
    async with one.alone("granting"), second.alone("granting"):
        pass
    await second.close()


# -- losses -----------------------------------------------------------------------------------------------------------


async def test_a_lost_session_is_told_at_once_and_owns_anew(one: PostgresStore, looking: asyncpg.Connection) -> None:
    lost = asyncio.Event()
    one.owner.lost(lost.set)
    async with looking.transaction():
        await looking.execute("LOCK TABLE progress")
        begun = one.settle(watermark(1))
        async with asyncio.timeout(DEADLINE_S):
            while not await looking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.01)
        waiting = [one.settle(watermark(number)) for number in range(2, 50)]
        await looking.execute(END_OWNERS)
        answers = await gather(begun, *waiting, return_exceptions=True)
    await asyncio.wait_for(lost.wait(), DEADLINE_S)
    assert {type(answer) for answer in answers} == {OwnershipLost}
    assert [answer.is_unknown for answer in answers if isinstance(answer, OwnershipLost)] == [True] + [False] * 48
    assert not one.owner.owned
    assert not one.owner.may_send()
    assert await one.watermarks() == {}
    assert len((await one.owner.balance()).gained) == PARTITIONS
    await one.settle(watermark(50))
    assert await one.watermarks() == {PARTITION: 50}


async def test_a_session_that_is_not_the_one_that_holds_the_locks_is_given_up(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    """A pooler that lends sessions by transaction does so."""
    lost = asyncio.Event()
    one.owner.lost(lost.set)
    await connection.execute(UNLOCK)
    await one.settle(watermark(1))
    with pytest.raises(OwnershipLost, match="pooler"):
        await one.owner.balance()
    await asyncio.wait_for(lost.wait(), DEADLINE_S)
    assert not one.owner.owned


async def test_requests_start_only_soon_after_an_acknowledged_commit(dsn: str) -> None:
    moment = 100.0
    store = PostgresStore(dsn, now=lambda: moment)
    await store.open()
    await store.owner.join()
    assert not store.owner.may_send()
    await store.owner.balance()
    moment += SENDS_S
    assert store.owner.may_send()
    moment += 0.001
    assert not store.owner.may_send()
    await store.settle(watermark(1))
    assert store.owner.may_send()
    moment += SENDS_S
    await store.settle(Settlement())  # Nothing was to be written, so nothing was acknowledged.
    moment += 0.001
    assert not store.owner.may_send()
    await store.owner.balance()
    assert store.owner.may_send()
    await store.owner.leave()
    assert not store.owner.may_send()
    await store.close()


async def test_a_commit_that_did_not_wait_for_its_standbys_ends_ownership(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    await connection.execute(WARN)
    with pytest.raises(OwnershipLost, match="one machine only") as raised:
        await one.settle(watermark(1))
    assert raised.value.is_unknown
    assert not one.owner.owned
    assert not one.owner.may_send()


async def test_flushes_and_removals_do_not_lock_each_other_out(
    one: PostgresStore, other: PostgresStore, connection: asyncpg.Connection
) -> None:
    """Both take the rows of open deliveries before those of lanes."""
    for number in range(1, 30):
        await subscribe(one, number)
        keys = [key(offset, number) for offset in range(1, 60)]
        await one.settle(Settlement(opened=[opened(each) for each in keys], lanes=[lane(number)]))
        await gather(
            one.settle(Settlement(opened=[opened(each, attempts=2) for each in keys], lanes=[lane(number, 9)])),
            other.remove(subscription(number)),
        )
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await connection.fetchval(query) == 0
