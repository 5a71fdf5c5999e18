"""Hold what the SQL is to be: each block is used, and no question reads a table from end to end that grows."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from angarium.store import sqlite
from angarium.store.sqlite.migrating import migrate
from angarium.store.sqlite.statements import SQL, load_migrations

SOURCES = "".join(path.read_text("utf-8") for path in Path(sqlite.__file__).parent.glob("*.py"))
EACH = re.compile(r"\{(\d+) each\}")
WAY = re.compile(r"_(down|up)$")
VARIANT = re.compile(r"(_(project|tenant|subscription))?(_(down|up))?$")

# What grows with what is published, subscribed or delivered.
GROWING = (
    "api_key|app|app_grant|attempt|delivery|e|d|event|idempotency|job|member|o|object|object_entry|once|open|owner|p"
    "|project|subscription|t|tenant|v"
)
WHOLE = {
    "check_objects": "a check reads everything",
    "check_offsets": "the same",
    "lanes": "recovery reads all lanes that are behind",
    "opens": "recovery reads all open deliveries, in the order of an index",
    "move_heads": "the 256 partitions",
    "moved_to": "the 256 partitions",
    "needed_from": "the 256 partitions",
    "old_settled": "the 256 partitions",
}
SORTED = {
    "fold": "some thousands of entries, grouped by their objects",
    "index_places": "some thousands of entries, sorted so that each page is touched once",
    "index_projects": "the same",
    "index_lot": "the same",
    "failed_of": "the open deliveries of one project",
    "list_lot_of": "a tenant's deliveries of one lot, some thousands",
    "lots": "a lot is some thousands of deliveries",
    "move_lately": "some thousands of deliveries, the same",
    "unindexed": "some thousands of entries",
    "settled_of_event": "the deliveries of one event",
    "opens_of_event": "the same",
    "list_lately": "some thousands of deliveries that are not indexed yet",
}
EXPLAINED = sorted(name for name in SQL if name not in ("add_migration", "create_migration", "schema_of", "check"))


@pytest.fixture(scope="module")
def empty() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, load_migrations())
    return connection


def plan(connection: apsw.Connection, name: str) -> list[str]:
    """Return the steps by which SQLite answers a block."""
    sql = EACH.sub(lambda each: f"({', '.join('?' * int(each[1]))})", SQL[name])
    named = set(re.findall(r":(\w+)", sql))
    values = dict.fromkeys(named) if named else [None] * sql.count("?")
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def block(name: str) -> str:
    """Return the name of the block that a query is a variant of."""
    return VARIANT.sub("", name)


def test_every_block_is_used() -> None:
    named = set(re.findall(r'"([a-z_]+)(?:"|_\{)', SOURCES))
    unused = [
        name for name in SQL if not named & {name, block(name), WAY.sub("", name), WAY.sub("", name)[: -len("_in")]}
    ]
    assert unused == []


@pytest.mark.parametrize("name", EXPLAINED)
def test_no_question_reads_a_growing_table_from_end_to_end(empty: apsw.Connection, name: str) -> None:
    if block(name) in WHOLE:
        return
    wrong = [step for step in plan(empty, name) if re.match(rf"SCAN ({GROWING})\b(?!_)", step)]
    assert not wrong or "delivery_lately" in SQL[name]


@pytest.mark.parametrize("name", EXPLAINED)
def test_lists_come_out_of_an_index_in_their_order(empty: apsw.Connection, name: str) -> None:
    sorts = [step for step in plan(empty, name) if "TEMP B-TREE" in step]
    assert not sorts or block(name) in SORTED


def test_exceptions_are_exceptions(empty: apsw.Connection) -> None:
    blocks = {block(name) for name in SQL}
    assert set(WHOLE) | set(SORTED) <= blocks
