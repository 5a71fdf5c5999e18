"""The doctor looks at PostgreSQL: on a real server, and by what it may find there."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from angarium.cli.doctor_contents import check_contents
from angarium.cli.doctor_findings import Level
from angarium.cli.doctor_postgres import check_postgres, findings
from angarium.settings import load
from angarium.store.postgres.examining import Examined
from tests.cli.running import Run
from tests.store.databases import Databases

KEY = base64.b64encode(bytes(32)).decode()
GOOD = Examined(
    version=160_004,
    is_replica=False,
    fsync=True,
    synchronous_commit="on",
    standby_names="ANY 1 (*)",
    standbys=2,
    encoding="UTF8",
    free_connections=97,
    skew_s=0.01,
)


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    lent = Databases()
    yield lent
    asyncio.run(lent.close())


def test_a_server_that_will_do_is_well() -> None:
    assert {each.level for each in findings(GOOD, "postgresql://h/d")} == {Level.OK}


@pytest.mark.parametrize(
    ("changes", "subject", "level", "said"),
    [
        ({"is_replica": True}, "database", Level.FAIL, "a replica only"),
        ({"version": 140_010}, "postgresql", Level.FAIL, "14, expected 15"),
        ({"encoding": "LATIN1"}, "postgresql", Level.FAIL, "LATIN1, expected UTF8"),
        ({"is_pooled": True, "is_shared": True}, "sessions", Level.FAIL, "a pooler of transactions"),
        ({"is_pooled": True}, "sessions", Level.WARN, "a pooler stands between"),
        ({"fsync": False}, "durability", Level.FAIL, "fsync is off"),
        ({"synchronous_commit": "off"}, "durability", Level.FAIL, "synchronous_commit is off"),
        ({"synchronous_commit": "local"}, "durability", Level.OK, "this server's disk alone"),
        ({"standby_names": ""}, "durability", Level.OK, "this server's disk alone; 2 standbys follow"),
        ({"standbys": 0}, "durability", Level.FAIL, "they hang"),
        ({"free_connections": 20}, "connections", Level.WARN, "20 are free"),
        ({"free_connections": 3}, "connections", Level.FAIL, "3 are free"),
        ({"skew_s": -5.0}, "its clock", Level.WARN, "5.0 s from this machine's"),
        ({"skew_s": 100.0}, "its clock", Level.FAIL, "100.0 s from this machine's"),
    ],
)
def test_what_will_not_do_is_told_with_its_remedy(
    changes: dict[str, object], subject: str, level: Level, said: str
) -> None:
    found = replace(GOOD, **changes)
    [finding] = [each for each in findings(found, "postgresql://h/d") if each.subject == subject]
    assert (finding.level, said in finding.found) == (level, True)
    assert bool(finding.fix) == (level is not Level.OK)
    assert {each.level for each in findings(found, "") if each.subject != subject} == {Level.OK}


def test_a_real_server_is_looked_at(run: Run, databases: Databases) -> None:
    dsn = asyncio.run(databases.lend(is_empty=True))
    variables = {"ANGARIUM_STORE": dsn, "ANGARIUM_SECRET_KEY": KEY, "ANGARIUM_URL": "http://127.0.0.1:9"}
    ran = run("doctor", "--resolve", "localhost", "--json", **variables)
    checks = {check["subject"]: check for check in ran.document["checks"]}
    good = {name for name, check in checks.items() if check["level"] == "ok"}
    assert {"database", "postgresql", "sessions", "connections", "its clock", "secret key"} <= good
    assert "is the primary" in checks["database"]["found"]
    assert not {"sqlite", "store", "disk"} & checks.keys()


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    [finding] = check_postgres("postgresql://u:geheim@127.0.0.1:9/d")
    assert (finding.level, finding.subject) == (Level.FAIL, "database")
    assert "postgresql://u:***@127.0.0.1:9/d" in finding.found
    assert "geheim" not in str(finding)


@pytest.mark.parametrize(
    ("statement", "subject", "said", "fix"),
    [
        ("CREATE TABLE customer (name text)", "contents", "another program's tables", "name one that is empty or ours"),
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "database", "read only", "name the primary"),
    ],
)
def test_a_database_that_no_server_would_start_on_is_a_failure(
    databases: Databases, tmp_path: Path, statement: str, subject: str, said: str, fix: str
) -> None:
    dsn = asyncio.run(databases.lend(is_empty=True))
    asyncio.run(_execute(dsn, statement))
    key = tmp_path / "none"
    found = [
        *check_postgres(dsn),
        *check_contents(load(environment={"ANGARIUM_STORE": dsn, "ANGARIUM_SECRET_KEY": KEY}), key),
    ]
    [finding] = [each for each in found if each.subject == subject]
    assert (finding.level, said in finding.found, fix in finding.fix) == (Level.FAIL, True, True)


def test_a_database_that_is_not_there_is_to_be_made(databases: Databases) -> None:
    [finding] = check_postgres(databases.of("nowhere"))
    assert (finding.level, "CREATE DATABASE" in finding.fix) == (Level.FAIL, True)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement.format(f'"{await connection.fetchval("SELECT current_database()")}"'))
    finally:
        await connection.close()
