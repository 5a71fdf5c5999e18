"""Measure what PostgreSQL pays for each event and each record of a delivery: `python -m bench.growing`.

Events of 300 bytes are accepted and the records of their deliveries settled through the store itself, in groups as a
busy server makes them, a chunk for each number of subscriptions. CPU is that of all of the server's processes,
checkpoints and clean-up included; disk is what tables and indexes grow by.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

from angarium.model.delivery import Key, Phases, Settled, State
from angarium.model.event import Place
from angarium.store.contract import LaneRow, Settlement
from angarium.store.postgres import PostgresStore
from bench.moving import GROUP, publish, server, tenants

_TICKS_S = os.sysconf("SC_CLK_TCK")
_FLUSH = 1024
DAY_NS = 86_400 * 10**9
_SIZE = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind IN ('r', 'S') AND relnamespace = 'public'::regnamespace
"""


class Paid(NamedTuple):
    """What the server has paid: CPU, log and disk."""

    cpu_s: float
    log_bytes: int
    disk_bytes: int

    def each(self, before: Paid, count: int) -> str:
        """Return the difference for each of a count, as cells of a row."""
        cpu_us = (self.cpu_s - before.cpu_s) / count * 1e6
        parts = (self.log_bytes - before.log_bytes, self.disk_bytes - before.disk_bytes)
        return f"{cpu_us:.1f} | " + " | ".join(f"{part / count:,.0f}" for part in parts)


class Meter:
    """Read what the server has paid."""

    def __init__(self, connection: asyncpg.Connection, postmaster: int) -> None:
        self._connection = connection
        self._postmaster = postmaster

    async def read(self) -> Paid:
        log = await self._connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'")
        disk = await self._connection.fetchval(_SIZE)
        return Paid(self._cpu_s(), int(log), disk)

    def _cpu_s(self) -> float:
        """Return the CPU of the server's processes, and of those that have ended."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.parent.name) == self._postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == self._postmaster:
                ticks += sum(map(int, fields[11:13]))
        return ticks / _TICKS_S


async def measure(folder: Path, *, events: int, longer: int) -> None:
    """Print a row for each step."""
    async with server(folder / "server") as dsn:
        store = PostgresStore(dsn)
        await store.open()
        await store.owner.join()
        await store.owner.balance()
        living = asyncio.create_task(live(store))
        connection = await asyncpg.connect(dsn)
        postmaster = int((folder / "server" / "data" / "postmaster.pid").read_text().split()[0])
        meter = Meter(connection, postmaster)
        print("| step | for each | CPU, µs | log, bytes | disk, bytes | a second |\n|---|---|---|---|---|---|")
        # A day that retention can drop whole; and nothing is measured for the first time.
        await connection.execute("SELECT make_day($1)", time.time_ns() // DAY_NS - 1)
        await settle(store, await accept(store, events, days_ago=1), 1)
        for fan_out in (1, 10):
            await chunk(store, meter, events // fan_out, fan_out)
        await settle(store, await accept(store, longer * events), 1)
        await chunk(store, meter, events, 1, f", {longer * events:,} later")
        before, began_s = await meter.read(), time.monotonic()
        await alone(store, events)
        after, rate = await meter.read(), events / (time.monotonic() - began_s)
        print(f"| accept, one tenant alone | event | {after.each(before, events)} | {rate:,.0f} |")
        await age(store, meter, events)
        before = await meter.read()
        await probe(store, events // 10)
        after = await meter.read()
        print(f"| a dead receiver's probe | probe | {after.each(before, events // 10)} | |")
        living.cancel()
        await connection.close()
        await store.close()


async def live(store: PostgresStore) -> None:
    """Say each second that we live, as a worker does; the server ends the session of who is silent."""
    while True:
        await asyncio.sleep(1)
        await store.owner.balance()


async def chunk(store: PostgresStore, meter: Meter, events: int, fan_out: int, when: str = "") -> None:
    """Accept events, settle their deliveries, and print what each cost."""
    before, began_s = await meter.read(), time.monotonic()
    places = await accept(store, events)
    between, accepted_s = await meter.read(), time.monotonic()
    await settle(store, places, fan_out)
    after, settled_s = await meter.read(), time.monotonic()
    count, records = len(places), len(places) * fan_out
    rate = count / (accepted_s - began_s)
    print(f"| accept, {fan_out} subscribed{when} | event | {between.each(before, count)} | {rate:,.0f} |")
    rate = records / (settled_s - accepted_s)
    print(f"| settle, {fan_out} subscribed{when} | record | {after.each(between, records)} | {rate:,.0f} |")
    print(f"| both | event | {after.each(before, count)} | |", flush=True)


async def accept(store: PostgresStore, events: int, *, days_ago: int = 0) -> list[Place]:
    """Accept so many events, of all tenants at once; return where they are."""
    who = tenants()
    places: list[Place] = []
    for _ in range(events // GROUP // (1 + len(who.others))):
        group = [publish(each, days_ago=days_ago) for each in (who.moving, *who.others)]
        receipts = await asyncio.gather(*map(store.accept, group))
        places += [place for receipt in receipts for place in receipt.places]
    return places


async def alone(store: PostgresStore, events: int) -> None:
    """Accept so many events of one tenant, sixteen publishes at a time: all wait for one row."""
    moving = tenants().moving
    for _ in range(events // GROUP // 16):
        await asyncio.gather(*(store.accept(publish(moving)) for _ in range(16)))


async def settle(store: PostgresStore, places: Sequence[Place], fan_out: int) -> None:
    """Settle the deliveries of events to so many subscriptions, a flush at a time."""
    ends = [(place, subscription) for place in places for subscription in range(1, fan_out + 1)]
    for begin in range(0, len(ends), _FLUSH):
        rows = [settled(place, subscription) for place, subscription in ends[begin : begin + _FLUSH]]
        heads = {row.key.partition: row.key.last_offset for row in rows}
        await store.settle(Settlement(settled=rows, watermarks=heads))


def settled(place: Place, subscription: int) -> Settled:
    """Return the end of an event's delivery, at the first attempt."""
    return Settled(
        Key(place.partition, place.offset, subscription, place.accepted_ms),
        State.DELIVERED,
        place.accepted_ms + 40,
        attempts=1,
        status=200,
        reason="accepted",
        at_ms=place.accepted_ms + 7,
        took_ms=33,
        phases=Phases(1, 2, 3, 30_000, 33_000),
    )


async def probe(store: PostgresStore, count: int) -> None:
    """Write what a dead receiver's probes leave: its lane's row, again and again, a hundred lanes to a flush."""
    for turn in range(count // 100):
        lanes = [LaneRow(lane, 10_000 + lane, 1, failures=turn, waiting=1_000_000) for lane in range(100)]
        await store.settle(Settlement(lanes=lanes))


async def age(store: PostgresStore, meter: Meter, events: int) -> None:
    """Drop yesterday, as retention does: so many events with their records."""
    before = await meter.read()
    midnight_ms = time.time_ns() // DAY_NS * DAY_NS // 1_000_000
    while await store.retain(before_ms=midnight_ms, limit=500, now_ms=midnight_ms):
        pass
    after = await meter.read()
    print(f"| retention | event, with its record | {after.each(before, events)} | |")


def main() -> int:
    """Measure in a folder that goes afterwards."""
    parser = argparse.ArgumentParser(prog="bench.growing", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="in each chunk")
    parser.add_argument("--longer", type=int, default=10, help="by how many chunks the log grows before the third")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="angarium-"))
    folder.chmod(0o755)
    try:
        asyncio.run(measure(folder, events=given.events, longer=given.longer))
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
