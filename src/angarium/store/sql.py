"""Load a store's SQL: the named blocks of its `queries.sql`, and its numbered migrations.

A block with `{order}` is loaded twice, as `name_down` (newest first) and `name_up`; one with `{scope}` for each of
project, tenant and subscription, as `name_project` and so on. Both lie in the store's own package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib.resources import files

from msgspec import Struct

from angarium.errors import StoreWrong

_HEADER = re.compile(r"^-- (\w+) --\n", re.MULTILINE)
_SCOPES = ("project", "tenant", "subscription")
_ORDERS = {"down": "DESC", "up": "ASC"}


class Migration(Struct, frozen=True):
    """One step of the schema, and the digest of its text."""

    number: int
    name: str
    sql: str
    digest: bytes


def load_blocks(package: str, file: str = "queries.sql") -> Iterator[tuple[str, str]]:
    """Yield the name and the SQL of each block, those with `{scope}` and `{order}` once for each of their values."""
    _, *parts = _HEADER.split((files(package) / file).read_text("utf-8"))
    for name, sql in zip(parts[::2], parts[1::2], strict=True):
        yield from _variants(name, sql.strip())


def _variants(name: str, sql: str) -> Iterator[tuple[str, str]]:
    if "{scope}" in sql:
        for scope in _SCOPES:
            yield from _variants(f"{name}_{scope}", sql.replace("{scope}", scope))
    elif "{order}" in sql:
        for way, order in _ORDERS.items():
            yield f"{name}_{way}", sql.replace("{order}", order)
    else:
        yield name, sql


def load_migrations(package: str) -> tuple[Migration, ...]:
    """Return all migrations, in order."""
    found = sorted(
        (path.name, path.read_text("utf-8"))
        for path in (files(package) / "migrations").iterdir()
        if path.name.endswith(".sql")
    )
    return tuple(
        Migration(int(name[:4]), name, sql, blake2b(sql.encode(), digest_size=16).digest()) for name, sql in found
    )


def refuse_older(count: int, migrations: Sequence[Migration]) -> None:
    """Raise `StoreWrong` when a store has had fewer migrations than there are."""
    if count < len(migrations):
        raise StoreWrong(
            f"the store has had {count} of {len(migrations)} migrations; bring it up to date: angarium store migrate"
        )
