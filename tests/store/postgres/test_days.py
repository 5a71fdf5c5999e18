"""Hold that days lie in tables of their own, are dropped whole, and that nothing is lost or searched for everywhere."""

from __future__ import annotations

import asyncpg
import pytest
from msgspec.structs import replace

from angarium.model.delivery import TEST_OFFSET, Origin, State
from angarium.store.contract import DeliveryQuery, EventQuery, Page, Settlement
from angarium.store.postgres import PostgresStore, retention
from angarium.store.postgres.days import DAY_MS, EVER, Days, make_days
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
    settled,
    subscribe,
    watermark,
)

DAY = NOON // DAY_MS
FIRST, SECOND = DAY * DAY_MS, (DAY + 1) * DAY_MS
LATER = (DAY + 3) * DAY_MS


@pytest.fixture
async def days(one: PostgresStore, connection: asyncpg.Connection) -> asyncpg.Connection:
    """Make tables for the day of the tests and the two after it; return a connection to look behind the store."""
    for day in range(DAY, DAY + 3):
        assert await connection.fetchval("SELECT make_day($1)", day)
    return connection


async def tables(connection: asyncpg.Connection) -> set[str]:
    """Return the names of all days' tables of the tests' days."""
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_[0-9]+$'")
    return {name for (name,) in rows if int(name.rpartition("_")[2]) < DAY + 30}


async def count(connection: asyncpg.Connection, table: str) -> int:
    found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  a name of the tests
    return found


async def an_hour_passes(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE day SET dropped_at = dropped_at - interval '1 hour'")


async def offsets(store: PostgresStore) -> list[int]:
    return [entry.offset for entry in await store.read(PARTITION, after=0, limit=100)]


# -- where things lie -------------------------------------------------------------------------------------------------


async def test_a_store_has_tables_of_today_and_the_next_day(connection: asyncpg.Connection) -> None:
    today = await connection.fetchval("SELECT floor(extract(epoch FROM now()) / 86400)::integer")
    assert [day for (day,) in await connection.fetch("SELECT day FROM day ORDER BY day")][-2:] == [today, today + 1]
    assert await connection.fetchval("SELECT make_day($1)", today) is False


async def test_entries_and_ends_lie_in_the_table_of_their_day(one: PostgresStore, days: asyncpg.Connection) -> None:
    await subscribe(one)
    await fill(one, 2, now_ms=SECOND)
    await one.settle(Settlement(settled=[settled(key(3, last_ms=SECOND), members=(2,)), settled(key(9, last_ms=0))]))
    for kind, counts in (("event", (1, 2, 0)), ("delivery", (0, 1, 1)), ("member", (0, 1, 0))):
        names = (f"{kind}_{DAY}", f"{kind}_{DAY + 1}", f"{kind}_default")
        assert tuple([await count(days, name) for name in names]) == counts


async def test_a_partition_s_day_never_goes_back(one: PostgresStore, days: asyncpg.Connection) -> None:
    await one.accept(publish(event(1), now_ms=SECOND + 5))
    await one.accept(publish(event(2), now_ms=SECOND - 5))
    assert await count(days, f"event_{DAY + 1}") == 2
    assert [entry.accepted_ms for entry in await one.read(PARTITION, after=0, limit=9)] == [SECOND + 5, SECOND - 5]


async def test_what_lies_in_several_days_is_read_in_order(one: PostgresStore, days: asyncpg.Connection) -> None:
    for day in range(5):  # The last two have no table.
        await fill(one, 3, now_ms=FIRST + day * DAY_MS)
    expected = list(range(1, 16))
    for after in (0, 4, 8, 14):
        assert [each.offset for each in await one.read(PARTITION, after=after, limit=99)] == expected[after:]
    slice_ = await one.read_tenant(PROJECT, TENANT, after=2, limit=99)
    assert [each.offset for each in slice_.entries] == expected[2:]
    assert [each.offset for each in await one.entries(PARTITION, [2, 5, 7, 15, 16])] == [2, 5, 7, 15]
    listed = await one.events(EventQuery(PROJECT, since_ms=SECOND), Page(limit=7))
    assert [each.offset for each in listed.data] == [15, 14, 13, 12, 11, 10, 9]


async def test_a_day_whose_rows_came_before_its_table_stays_where_it_is(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    await fill(one, 3)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("SELECT make_day($1)", DAY)
    assert f"event_{DAY}" not in await tables(connection)


async def test_a_large_default_table_is_looked_through_before_all_wait_for_a_day(
    one: PostgresStore, connection: asyncpg.Connection
) -> None:
    tomorrow = await connection.fetchval(
        "INSERT INTO event SELECT 7, 0, each, 1, 1, 0, each, 'o', 'a', 'i', NULL, $1, 0"
        " FROM generate_series(1, 20000) AS each RETURNING floor(extract(epoch FROM now()) / 86400)::integer + 1",
        b"x" * 900,
    )
    for kind in ("event", "delivery", "member"):
        await connection.execute(f"DROP TABLE {kind}_{tomorrow}")
    await connection.execute("DELETE FROM day WHERE day = $1", tomorrow)
    assert await connection.fetchval("SELECT make_day($1)", tomorrow) is None
    said: list[str] = []
    connection.add_log_listener(lambda _, message: said.append(message.message))
    await connection.execute("SET client_min_messages = debug1")
    await make_days(connection)
    assert await count(connection, f"event_{tomorrow}") == 0
    assert await connection.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = 'shield'") == 0
    assert sum("default" in each and "is implied by existing constraints" in each for each in said) == 3


# -- dropping ---------------------------------------------------------------------------------------------------------


async def test_a_day_that_is_not_all_old_stays_whole(one: PostgresStore, days: asyncpg.Connection) -> None:
    await fill(one, 6)
    await one.settle(watermark(6))
    assert await one.retain(before_ms=SECOND - 1, limit=100) == 0
    assert await offsets(one) == [1, 2, 3, 4, 5, 6]


async def test_an_old_day_goes_at_once_and_one_an_hour(one: PostgresStore, days: asyncpg.Connection) -> None:
    await subscribe(one)
    for day in range(3):
        await fill(one, 4, now_ms=FIRST + day * DAY_MS)
    ends = [settled(key(offset, last_ms=FIRST + (offset - 2) // 4 * DAY_MS)) for offset in range(2, 14)]
    await one.settle(Settlement(settled=ends, watermarks={PARTITION: 13}))
    assert await one.retain(before_ms=LATER, limit=100) == 5
    assert (await one.floors())[PARTITION] == 5
    assert not {f"event_{DAY}", f"delivery_{DAY}", f"member_{DAY}"} & await tables(days)
    assert await one.counts(PROJECT) == {"delivered": 8}
    assert await one.retain(before_ms=LATER, limit=100) == 0
    await an_hour_passes(days)
    assert await one.retain(before_ms=LATER, limit=2) == 4
    assert await offsets(one) == [10, 11, 12, 13]
    left = [each.key.last_offset for each in (await one.deliveries(DeliveryQuery(PROJECT), Page())).data]
    assert left == [13, 12, 11, 10]
    assert await one.check() == []


async def test_what_is_needed_of_a_day_outlives_its_table(one: PostgresStore, days: asyncpg.Connection) -> None:
    await subscribe(one)
    await fill(one, 5, now_ms=FIRST)
    ends = [settled(key(offset, last_ms=FIRST), State.EXHAUSTED, members=(offset - 1,)) for offset in (2, 5)]
    await one.settle(Settlement(watermarks={PARTITION: 9}, lanes=[lane(cursor=3)], settled=ends))
    await fill(one, 5, now_ms=SECOND)
    assert await one.retain(before_ms=SECOND, limit=100) == 3
    assert f"event_{DAY}" not in await tables(days)
    assert await offsets(one) == [4, 5, 6, 7, 8, 9, 10, 11]
    left = [each.key.last_offset for each in (await one.deliveries(DeliveryQuery(PROJECT), Page())).data]
    assert (left, await one.counts(PROJECT)) == ([5], {"exhausted": 1})
    assert await one.delivery(key(5, last_ms=FIRST)) is not None
    assert await one.check() == []
    await one.settle(Settlement(lanes_gone=[(PARTITION, 1)]))
    assert await one.retain(before_ms=SECOND, limit=100) == 3 + 1
    assert await offsets(one) == [7, 8, 9, 10, 11]
    assert await one.counts(PROJECT) == {}
    assert await count(days, "event_default") == await count(days, "delivery_default") == 0


async def test_a_day_of_which_much_is_needed_stays_and_loses_the_rest_row_by_row(
    one: PostgresStore, days: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOVED_MAX", 2)
    await fill(one, 6, now_ms=FIRST)
    await fill(one, 1, now_ms=SECOND)
    await one.settle(Settlement(watermarks={PARTITION: 6}, opened=[opened(key(6, last_ms=FIRST), members=(4,))]))
    assert await one.retain(before_ms=SECOND, limit=2) == 2
    assert await one.retain(before_ms=SECOND, limit=100) == 1
    assert f"event_{DAY}" in await tables(days)
    assert await offsets(one) == [4, 5, 6, 7]
    await one.settle(Settlement(closed=[key(6, last_ms=FIRST)], watermarks={PARTITION: 7}))
    assert await one.retain(before_ms=SECOND, limit=100) == 3
    assert f"event_{DAY}" not in await tables(days)
    assert await one.check() == []


async def test_objects_outlive_the_day_of_their_last_event(one: PostgresStore, days: asyncpg.Connection) -> None:
    said = [replace(event(number), data=b'{"n":%d}' % number) for number in range(4)]
    await one.accept(publish(*said, now_ms=FIRST))
    await one.accept(publish(replace(event(0), data=b""), replace(event(1), data=b"", action="delete"), now_ms=SECOND))
    await one.settle(watermark(6))
    assert await one.fold_objects(limit=100) == 6
    assert await one.retain(before_ms=SECOND, limit=100) == 4
    held = await one.objects(PROJECT, TENANT, "item", after="", limit=9)
    assert [(each.object_id, each.data) for each in held] == [(str(n), b'{"n":%d}' % n) for n in (0, 2, 3)]
    assert await one.check() == []
    await an_hour_passes(days)
    assert await one.retain(before_ms=LATER, limit=100) == 2
    assert await one.object(PROJECT, TENANT, "item", "1") is None
    assert await one.data_at(PROJECT, TENANT, "item", "0", offset=6) == b'{"n":0}'
    assert await one.check() == []


async def test_tests_and_versions_go_with_their_day(one: PostgresStore, days: asyncpg.Connection) -> None:
    await subscribe(one)
    end = replace(settled(key(TEST_OFFSET + 1, last_ms=FIRST + 1)), origin=Origin.TEST)
    await one.settle(Settlement(settled=[end], watermarks={PARTITION: 1}))
    assert await one.retain(before_ms=SECOND, limit=100) == 1
    assert await one.counts(PROJECT) == {}
    assert [each.from_offset for each in await one.versions_of(PROJECT, TENANT)] == [1]


async def test_what_is_older_than_a_day_s_table_goes_before_it(one: PostgresStore, days: asyncpg.Connection) -> None:
    await fill(one, 3, now_ms=FIRST - 9)
    await fill(one, 3, now_ms=FIRST)
    await one.settle(Settlement(watermarks={PARTITION: 6}))
    assert await one.retain(before_ms=SECOND, limit=2) == 2
    assert await one.retain(before_ms=SECOND, limit=100) == 1 + 3
    assert f"event_{DAY}" not in await tables(days)
    assert await offsets(one) == []
    assert await count(days, "event_default") == 0


async def test_whoever_reads_for_long_puts_it_off(one: PostgresStore, days: asyncpg.Connection) -> None:
    await fill(one, 3, now_ms=FIRST)
    await one.settle(watermark(3))
    async with days.transaction():
        assert await count(days, "event") == 3
        assert await one.retain(before_ms=SECOND, limit=100) == 3
        assert f"event_{DAY}" in await tables(days)
        await fill(one, 1, now_ms=SECOND)
    assert await one.check() == []
    assert await one.retain(before_ms=SECOND, limit=100) == 0
    assert f"event_{DAY}" not in await tables(days)
    assert await offsets(one) == [4]


# -- what was seen ----------------------------------------------------------------------------------------------------


def test_what_was_seen_bounds_what_was_not() -> None:
    days = Days()
    assert days.of(7, 5) == {"since": 0, "until": EVER}
    for offset, day in ((10, 3), (14, 3), (12, 3), (20, 5), (17, 3), (8, 3), (30, 6)):
        days.learn(7, offset, day)
    assert [days.since(7, offset) for offset in (1, 8, 17, 19, 20, 29, 30, 99)] == [0, 3, 3, 3, 5, 5, 6, 6]
    assert [days.until(7, offset) for offset in (1, 8, 17, 18, 20, 21, 30, 31)] == [3, 3, 3, 5, 5, 6, 6, EVER]
    assert days.of(7, 9, 18) == {"since": 3, "until": 5}
    assert days.of(8, 9) == {"since": 0, "until": EVER}
