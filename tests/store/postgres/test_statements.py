"""Hold what the SQL is to be: each block is used, and no question reads a table from end to end that grows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from angarium.store import postgres
from angarium.store.postgres.statements import SQL

SOURCES = "".join(path.read_text("utf-8") for path in Path(postgres.__file__).parent.glob("*.py"))
WAY = re.compile(r"_(down|up)$")
VARIANT = re.compile(r"(_(project|tenant|subscription))?(_(down|up))?$")

FIXED = {"migration", "number", "meta", "partition", "progress", "retained", "folded"}
"""Tables that do not grow with what is published, subscribed or delivered."""
WHOLE = {
    "check_objects": "a check reads everything",
    "check_offsets": "the same",
    "opens": "recovery reads all open deliveries",
    "lanes": "recovery reads all lanes that are behind",
    "has_kept_entries": "it looks for one row",
}
UNPLANNED = re.compile(r"\A(CREATE|SELECT pg_|SELECT current_setting)")


def block(name: str) -> str:
    """Return the name of the block that a query is a variant of."""
    return VARIANT.sub("", name)


def test_every_block_is_used() -> None:
    named = set(re.findall(r'"([a-z_]+)(?:"|_\{)', SOURCES))
    unused = [
        name for name in SQL if not named & {name, block(name), WAY.sub("", name), WAY.sub("", name)[: -len("_in")]}
    ]
    assert unused == []


async def test_no_question_reads_a_growing_table_from_end_to_end(connection: asyncpg.Connection) -> None:
    """With nothing in them the server would read all tables whole; told not to, it does where it has no other way."""
    for setting in ("enable_seqscan = off", "enable_bitmapscan = on", "plan_cache_mode = force_generic_plan"):
        await connection.execute(f"SET {setting}")
    wrong: dict[str, list[str]] = {}
    for name, statement in SQL.items():
        if block(name) in WHOLE or UNPLANNED.match(statement.sql):
            continue
        await connection.execute(f"PREPARE asked AS {statement.sql}")
        nothing = f"({', '.join(['NULL'] * len(statement.names))})" if statement.names else ""
        (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE asked {nothing}")
        await connection.execute("DEALLOCATE asked")
        read = [table for table in whole(json.loads(row[0])[0]["Plan"]) if table not in FIXED]
        if read:
            wrong[name] = read
    assert wrong == {}


def whole(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan reads whole."""
    if plan["Node Type"] == "Seq Scan" or (plan["Node Type"].startswith("Index") and not has_condition(plan)):
        yield plan["Relation Name"]
    for each in plan.get("Plans", []):
        yield from whole(each)


def has_condition(plan: dict[str, Any]) -> bool:
    return "Index Cond" in plan


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_exceptions_are_exceptions(name: str) -> None:
    assert name in {block(each) for each in SQL}
