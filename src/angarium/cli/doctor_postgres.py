"""Say what is right and wrong with a PostgreSQL server, by what was found there, and how to mend it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from angarium.cli.doctor_findings import Finding, Level
from angarium.errors import StoreAway
from angarium.settings import shown_store

if TYPE_CHECKING:
    from angarium.store.postgres.examining import Examined

VERSION_MIN = 15
CONNECTIONS_PER_PROCESS = 16
"""How many connections one process may have open at once."""
_SKEW_WARN_S = 2.0
_SKEW_FAIL_S = 60.0


def check_postgres(store: str) -> Iterator[Finding]:
    """Look at the server that a store's URL names."""
    from angarium.store.postgres.examining import examine  # noqa: PLC0415  loads its client, which others need not

    try:
        found = asyncio.run(examine(store))
    except StoreAway as error:
        why, _, fix = shown_store(str(error)).partition("; ")
        yield Finding(
            Level.FAIL,
            "database",
            f"{shown_store(store)}: {why}",
            f"{fix}; or name another: ANGARIUM_STORE=postgresql://user@host:5432/database",
        )
        return
    yield from findings(found, shown_store(store))


def findings(found: Examined, store: str) -> Iterator[Finding]:
    """Say of each thing that was found whether it will do."""
    yield _primary(found, store)
    yield _version(found)
    yield _pooler(found)
    yield _durability(found)
    yield _connections(found)
    yield _clock(found)


def _primary(found: Examined, store: str) -> Finding:
    if found.is_replica:
        return Finding(
            Level.FAIL,
            "database",
            f"{store} reaches a replica only, or what is set to be read only: nothing can be written there",
            "name the primary, or all hosts of the cluster: postgresql://user@host1,host2/database",
        )
    return Finding(Level.OK, "database", f"{store} is reached, and is the primary")


def _version(found: Examined) -> Finding:
    major = found.version // 10_000
    if major < VERSION_MIN:
        return Finding(Level.FAIL, "postgresql", f"{major}, expected {VERSION_MIN} or newer", "upgrade the server")
    if found.encoding != "UTF8":
        return Finding(
            Level.FAIL,
            "postgresql",
            f"{major}, whose database is encoded in {found.encoding}, expected UTF8",
            "CREATE DATABASE angarium ENCODING 'UTF8' TEMPLATE template0",
        )
    return Finding(Level.OK, "postgresql", f"{major}.{found.version % 10_000}")


def _pooler(found: Examined) -> Finding:
    if found.is_shared:
        return Finding(
            Level.FAIL,
            "sessions",
            "each statement may come to another session: a pooler of transactions stands between",
            "name the server itself in ANGARIUM_STORE; who owns which partition is locked by sessions",
        )
    if found.is_pooled:
        return Finding(
            Level.WARN,
            "sessions",
            "a pooler stands between, of sessions as it seems",
            "name the server itself in ANGARIUM_STORE, so that it ends the session of a worker that hangs",
        )
    return Finding(Level.OK, "sessions", "are kept: nothing stands between")


def _durability(found: Examined) -> Finding:
    commit, names = found.synchronous_commit, found.standby_names
    if not found.fsync or commit == "off":
        off = "fsync" if not found.fsync else "synchronous_commit"
        return Finding(
            Level.FAIL, "durability", f"{off} is off: what was answered may be lost in a crash", f"{off} = on"
        )
    if not names or commit == "local":
        return Finding(
            Level.OK,
            "durability",
            f"synchronous_commit is {commit}, and commits wait for this server's disk alone; "
            f"{found.standbys} standbys follow",
        )
    if not found.standbys:
        return Finding(
            Level.FAIL,
            "durability",
            f"commits wait for {names}, but no standby follows: they hang",
            "start the standbys, or let Patroni manage synchronous_standby_names",
        )
    return Finding(
        Level.OK, "durability", f"synchronous_commit is {commit}, for {names}; {found.standbys} standbys follow"
    )


def _connections(found: Examined) -> Finding:
    free, each = found.free_connections, CONNECTIONS_PER_PROCESS
    level = Level.FAIL if free < each else Level.WARN if free < 2 * each else Level.OK
    fix = "" if level is Level.OK else f"raise max_connections; each process needs up to {each}"
    return Finding(level, "connections", f"{free} are free", fix)


def _clock(found: Examined) -> Finding:
    skew_s = abs(found.skew_s)
    level = Level.FAIL if skew_s > _SKEW_FAIL_S else Level.WARN if skew_s > _SKEW_WARN_S else Level.OK
    fix = "" if level is Level.OK else "timedatectl set-ntp true, here and there; retries are due by the clock"
    return Finding(level, "its clock", f"{skew_s:.1f} s from this machine's", fix)
