"""Measure the server on PostgreSQL against the server with its store in a file, and what PostgreSQL does for it."""

from __future__ import annotations

import asyncio
import base64
import sys
import threading
import time
from typing import Any

from angarium.core.partitioning import partition_of
from angarium.model.delivery import Attempt, Key, LaneRow, Open
from angarium.model.event import Place
from angarium.model.subscription import Status, Subscription
from angarium.store.contract import Settlement
from angarium.store.postgres import PostgresStore
from bench import wrk
from bench.database import Database, lend
from bench.figures import Figure
from bench.growing import live, settled
from bench.options import Options
from bench.stage import KEY, PROJECT, Stage, set_stage
from bench.throughput import Run, load
from bench.wrk import Shape

SECRET_KEY = base64.b64encode(bytes(32)).decode()
_WARM_UP_S = 2.0
_TURNS = 3
_WAITING = 1_000_000
_ROUNDS = 500
_AT_ONCE = 50
_OTHERS = 100
"""How many deliveries of others end meanwhile: a flush is written for all."""
_COMMIT_US = 5000
_TENANT = "0000"
_IDLE_S = 3.0
_CONNECTIONS = 4
"""So few that commits are waited for, not processors."""
_MANY = 1000
"""So many tenants that few of what two processes write together is of one partition."""
_ACCEPTED = "INSERT INTO event ("


def measure(options: Options) -> list[Figure]:
    """Return the figures of a server, of fan-out, of a dead receiver and of a second process."""
    with lend(options.folder) as database:
        return [
            *_against_a_file(database, options),
            *_fan_out(database, options),
            _dead(database, options),
            _second(database, options),
        ]


def _shared(database: Database, options: Options) -> dict[str, Any]:
    return {**options.stage(), "store": database.make(), "secret_key": SECRET_KEY}


# -- against a file ---------------------------------------------------------------------------------------------------


def _against_a_file(database: Database, options: Options) -> list[Figure]:
    """Load a server on each kind of store, in turns, and take the best of each."""
    shapes = {
        "singles": Shape(options.seconds, tenants=options.tenants),
        "arrays": Shape(options.seconds, 8, per_request=100, tenants=options.tenants),
    }
    figures: list[Figure] = []
    with (
        set_stage(**options.stage()) as embedded,
        set_stage(**_shared(database, options)) as shared,
    ):
        for stage in (embedded, shared):
            stage.subscribe(options.tenants)
            load(stage, Shape(_WARM_UP_S, tenants=options.tenants))
        for name, shape in shapes.items():
            figures += _compared(name, embedded, shared, database, shape)
        figures.append(_statements(shared, database, shapes["arrays"]))
    return figures


def _compared(name: str, embedded: Stage, shared: Stage, database: Database, shape: Shape) -> list[Figure]:
    ours: list[Run] = []
    theirs: list[tuple[Run, float]] = []
    for _ in range(_TURNS):
        ours.append(load(embedded, shape))
        before_s = database.cpu_s()
        run = load(shared, shape)
        theirs.append((run, (database.cpu_s() - before_s) / run.delivered * 1e6))
    embedded_per_s = max(run.delivered_per_s for run in ours)
    best = max((run for run, _ in theirs), key=lambda run: run.delivered_per_s)
    note = f"{best.told()}; in a file {embedded_per_s:,.0f}/s"
    least_us = min(cpu_us for _, cpu_us in theirs)
    all_us = ", ".join(f"{cpu_us:.0f}" for _, cpu_us in theirs)
    return [
        Figure(
            f"{name}, of a store in a file", best.delivered_per_s / embedded_per_s, 0.7, is_at_least=True, note=note
        ),
        Figure(f"PostgreSQL's CPU per event, {name}", least_us, 40, " µs", note=f"the least of {all_us}"),
    ]


def _statements(shared: Stage, database: Database, shape: Shape) -> Figure:
    """Count the statements of a load for each group of publishes that was accepted, but those that go on anyhow."""
    database.set(log_statement="all", log_parameter_max_length="0")
    idle, began_s = database.statements(), time.monotonic()
    time.sleep(_IDLE_S)
    idle_per_s = (database.statements() - idle) / (time.monotonic() - began_s)
    before, groups_before, began_s = database.statements(), database.statements(_ACCEPTED), time.monotonic()
    run = load(shared, shape)
    database.set(log_statement="", log_parameter_max_length="")
    count = database.statements() - before - idle_per_s * (time.monotonic() - began_s)
    groups = database.statements(_ACCEPTED) - groups_before
    note = f"{count:,.0f} statements, {groups:,} groups of publishes, {run.delivered:,} events"
    return Figure("statements for each batch", count / groups, 6, note=note)


# -- fan-out ----------------------------------------------------------------------------------------------------------


def _fan_out(database: Database, options: Options) -> list[Figure]:
    """Count the rows that are written for an event with one subscription, and with ten."""
    rows = {fan_out: _rows_written(database, options, fan_out) for fan_out in (1, 10)}
    more = (rows[10] - rows[1]) / 9
    note = f"{rows[1]:.2f} rows an event with one subscription, {rows[10]:.2f} with ten"
    return [Figure("rows written for each further subscription", more, 1.1, note=note)]


def _rows_written(database: Database, options: Options, fan_out: int) -> float:
    shared = _shared(database, options)
    with set_stage(**shared) as stage:
        for _ in range(fan_out):
            stage.subscribe(options.tenants)
        load(stage, Shape(_WARM_UP_S, 8, per_request=100, tenants=options.tenants))
        before = database.rows_written(shared["store"])
        said = wrk.run(stage.publish_url, Shape(3, 4, per_request=100, tenants=options.tenants), key=KEY)
        events = said.requests * 100
        stage.drained(at_least=events * fan_out)
        return (database.rows_written(shared["store"]) - before) / events


# -- a dead receiver --------------------------------------------------------------------------------------------------


def _dead(database: Database, options: Options) -> Figure:
    """Write and read what a dead receiver's rounds need, for which many events wait, among what others need anyhow."""
    waiting = int(_WAITING * options.scale)
    dsn = database.make()
    without_ms, with_ms = asyncio.run(_retry(database, dsn, waiting))
    note = (
        f"{waiting:,} events wait; {_OTHERS} records of others take {without_ms:.2f} ms, {with_ms:.2f} ms with a round"
    )
    return Figure("PostgreSQL's CPU per retry round", with_ms - without_ms, 1, " ms", note=note)


async def _retry(database: Database, dsn: str, waiting: int) -> tuple[float, float]:
    store = PostgresStore(dsn)
    await store.open()
    await store.owner.join()
    await store.owner.balance()
    partition = partition_of(PROJECT, _TENANT)
    living = asyncio.create_task(live(store))
    await store.change(
        Subscription(1, "sub_1", PROJECT, _TENANT, partition, created_ms=1, updated_ms=1, status=Status.ACTIVE),
        None,
        revision=0,
    )
    for sql in _filled(partition, waiting):
        await asyncio.to_thread(database.ask, sql, dsn)
    await _rounds(store, partition, waiting, _AT_ONCE)  # Plans are made, and what was filled is read once.
    cpu_s = [0.0, 0.0]
    for turn in range(2 * _ROUNDS // _AT_ONCE):
        is_dead = turn % 2
        before_s = database.cpu_s()
        await _rounds(store, partition, waiting, _AT_ONCE, is_dead=bool(is_dead))
        cpu_s[is_dead] += database.cpu_s() - before_s
    without_ms, with_ms = (each / _ROUNDS * 1000 for each in cpu_s)
    living.cancel()
    await store.close()
    return without_ms, with_ms


def _filled(partition: int, waiting: int) -> list[str]:
    """Return what appends so many events at once; nobody would wait for a million publishes."""
    now_ms, day = time.time_ns() // 1_000_000, time.time_ns() // 86_400_000_000_000
    return [
        f"""
        INSERT INTO event (
            "partition", kind, "offset", tenant, project, accepted_ms, object, action, object_id, data, day
        )
        SELECT {partition}, 0, each, t.number, t.project, {now_ms}, 'item', 'update', each::text::bytea,
            convert_to(repeat('x', 300), 'UTF8'), {day}
        FROM tenant AS t, generate_series(1, {waiting}) AS each
        """,
        f'UPDATE "partition" SET head = {waiting}, day = {day} WHERE "partition" = {partition}',
        "VACUUM ANALYZE event",
        "CHECKPOINT",
    ]


async def _rounds(store: PostgresStore, partition: int, waiting: int, rounds: int, *, is_dead: bool = True) -> None:
    """Settle what others were sent, flush by flush, and in each what a round of the dead receiver leaves.

    That is the attempt, the open delivery with its body, and the lane's row; then the event is read that is tried next.
    """
    now_ms = time.time_ns() // 1_000_000
    for number in range(1, rounds + 1):
        key = Key(partition, 1 + number % 256, 1, now_ms)
        others = [settled(Place((partition + 1) % 256, number, now_ms), each) for each in range(_OTHERS)]
        left = Settlement(
            attempts=[Attempt(key, number, now_ms, status=0, reason="refused", took_ms=1)],
            opened=[Open(key, next_ms=now_ms + 1000, attempts=number, body=b"x" * 500)],
            lanes=[LaneRow(partition, 1, 1, failures=number, waiting=waiting)],
        )
        if is_dead:
            await store.read_tenant(PROJECT, _TENANT, after=key.last_offset, limit=1)
        await asyncio.gather(store.settle(Settlement(settled=others)), *([store.settle(left)] if is_dead else []))


# -- a second process -------------------------------------------------------------------------------------------------


def _second(database: Database, options: Options) -> Figure:
    """Publish through one process and then through two, for the same tenants, while each commit takes 5 ms."""
    database.set(commit_delay=str(_COMMIT_US), commit_siblings="0")
    shape = Shape(options.seconds, _CONNECTIONS, tenants=_MANY)
    with set_stage(**_shared(database, options), role="api") as stage:
        stage.caller.call("PUT", "", {})
        urls = [stage.publish_url, stage.start_another()]
        _accepted(urls, shape._replace(seconds=_WARM_UP_S))
        one, two = (max(_accepted(urls[:many], shape) for _ in range(_TURNS)) for many in (1, 2))
    database.set(commit_delay="", commit_siblings="")
    note = f"{one:,.0f}/s accepted by one, {two:,.0f}/s by two; {_CONNECTIONS} connections each"
    return Figure("accepted by two processes, of one, commits of 5 ms", two / one, 1.2, is_at_least=True, note=note)


def _accepted(urls: list[str], shape: Shape) -> float:
    """Return how many publishes are accepted a second when all urls are published to at once."""
    said: list[wrk.Said] = []
    threads = [threading.Thread(target=lambda url=url: said.append(wrk.run(url, shape, key=KEY))) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    per_s = sum(each.per_s for each in said)
    print(f"{len(urls)} processes: {per_s:,.0f}/s accepted", file=sys.stderr)
    return per_s
