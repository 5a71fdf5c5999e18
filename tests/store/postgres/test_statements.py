"""Hold what the SQL is to be: each block is used, and no question reads a table from end to end that grows."""

from __future__ import annotations

import json
import re
from asyncio import gather
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from angarium.store import postgres
from angarium.store.contract import Settlement
from angarium.store.postgres import PostgresStore
from angarium.store.postgres.connection import SETTINGS
from angarium.store.postgres.statements import RAN, SQL, Statement
from tests.store.values import PARTITION, attempt, event, fill, key, lane, opened, publish, settled, subscribe

SOURCES = "".join(path.read_text("utf-8") for path in Path(postgres.__file__).parent.glob("*.py"))
WAY = re.compile(r"_(down|up)$")
VARIANT = re.compile(r"(_(project|tenant|subscription))?(_(down|up))?$")

FIXED = {"migration", "number", "meta", "partition", "progress", "retained", "folded", "day", "project"}
"""Tables that do not grow with what is published, subscribed or delivered."""
WHOLE = {
    "check_objects": "a check reads everything",
    "check_offsets": "the same",
    "opens": "recovery reads all open deliveries",
    "lanes": "recovery reads all lanes that are behind",
    "has_kept_entries": "it looks for one row",
}
UNPLANNED = re.compile(r"\A(CREATE|SELECT pg_|SELECT current_setting|SELECT count\(\*\) > 0 FROM pg_class)")


def block(name: str) -> str:
    """Return the name of the block that a query is a variant of."""
    return VARIANT.sub("", name)


def test_every_block_is_used() -> None:
    named = set(re.findall(r'"([a-z_]+)(?:"|_\{)', SOURCES))
    unused = [
        name for name in SQL if not named & {name, block(name), WAY.sub("", name), WAY.sub("", name)[: -len("_in")]}
    ]
    assert unused == []


async def ran(work: Awaitable[object]) -> Counter[str]:
    """Do some work; return how often each statement was run for it. What goes on by itself does not count."""
    before = RAN.copy()
    await work
    by_itself = ("standing", "changes", "notify")
    return Counter({name: count for name, count in (RAN - before).items() if name not in by_itself})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", ["accept"]), ("k", ["BEGIN", "COMMIT", "accept", "claim_keys", "keep_keys"])],
    ids=["without keys", "with keys"],
)
async def test_a_batch_of_publishes_takes_a_few_statements(one: PostgresStore, name: str, expected: list[str]) -> None:
    await fill(one, 1)
    batch = [publish(event(number), key=f"{name}{number}" if name else "") for number in range(500)]
    assert sorted((await ran(gather(*map(one.accept, batch)))).elements()) == expected


async def test_a_flush_is_one_statement(one: PostgresStore) -> None:
    await subscribe(one)
    await one.settle(Settlement(settled=[settled(key(1))]))
    some = [Settlement(settled=[settled(key(offset))], watermarks={PARTITION: offset}) for offset in range(2, 500)]
    assert await ran(gather(*map(one.settle, some))) == {"settle": 1}
    more = [
        Settlement(opened=[opened(key(600), members=(598, 599))], closed=[key(700)]),
        Settlement(lanes=[lane()], lanes_gone=[(PARTITION, 2)], attempts=[attempt(key(1)), attempt(key(600))]),
        *some,
    ]
    assert await ran(gather(*map(one.settle, more))) == {"flush": 1}


async def test_no_question_reads_a_growing_table_from_end_to_end(connection: asyncpg.Connection) -> None:
    """With nothing in them the server would read all tables whole; told not to, it does where it has no other way."""
    await have_plans_show_all(connection)
    firsts, wrong = await first_columns(connection), dict[str, list[str]]()
    for name, statement in SQL.items():
        if block(name) in WHOLE or UNPLANNED.match(statement.sql):
            continue
        read = [table for table in whole(await plan_of(connection, statement), firsts) if table not in FIXED]
        if read:
            wrong[name] = read
    assert wrong == {}


@pytest.mark.parametrize("name", ["read", "read_tenant", "list_of_project_down", "list_settled_tenant_up"])
async def test_days_tables_are_merged_not_sorted(connection: asyncpg.Connection, name: str) -> None:
    """Sorting would read all that there is for one page of it."""
    await have_plans_show_all(connection)
    nodes = list(kinds(await plan_of(connection, SQL[name])))
    assert "Merge Append" in nodes
    assert nodes.count("Sort") <= name.startswith("list_of")  # A page itself is sorted.


async def have_plans_show_all(connection: asyncpg.Connection) -> None:
    """Plan as the store does, and leave no day's table out."""
    shown = {**SETTINGS, "enable_partition_pruning": "off"}
    for setting in ("enable_seqscan", "enable_mergejoin", "plan_cache_mode", "enable_partition_pruning"):
        await connection.execute(f"SET {setting} = {shown[setting]}")


async def plan_of(connection: asyncpg.Connection, statement: Statement) -> dict[str, Any]:
    await connection.execute(f"PREPARE asked AS {statement.sql}")
    nothing = f"({', '.join(['NULL'] * len(statement.names))})" if statement.names else ""
    (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE asked {nothing}")
    await connection.execute("DEALLOCATE asked")
    plan: dict[str, Any] = json.loads(row[0])[0]["Plan"]
    return plan


def kinds(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds of a plan's nodes."""
    yield plan["Node Type"]
    for each in plan.get("Plans", []):
        yield from kinds(each)


def whole(plan: dict[str, Any], firsts: dict[str, str]) -> Iterator[str]:
    """Yield the tables, or their indexes, that a plan reads whole: without a condition on an index's first column."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    elif (name := plan.get("Index Name")) and not re.search(rf"\b{firsts[name]}\b", plan.get("Index Cond", "")):
        yield plan.get("Relation Name", name)  # A bitmap's index is not beside its table.
    for each in plan.get("Plans", []):
        yield from whole(each, firsts)


async def first_columns(connection: asyncpg.Connection) -> dict[str, str]:
    """Return each index's first column."""
    rows = await connection.fetch(
        "SELECT c.relname, a.attname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    )
    return dict(map(tuple, rows))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_exceptions_are_exceptions(name: str) -> None:
    assert name in {block(each) for each in SQL}
