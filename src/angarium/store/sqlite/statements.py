"""Load the SQL: named blocks of `queries.sql`, and the numbered migrations. What they are for stands beside them."""

from __future__ import annotations

import re
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"^-- (\w+)(, both ways)? --\n", re.MULTILINE)
_WAYS = {"down": ("<", "DESC"), "up": (">", "ASC")}


class Migration(Struct, frozen=True):
    """One step of the schema, and the digest of its text."""

    number: int
    name: str
    sql: str
    digest: bytes


def load_queries() -> Mapping[str, str]:
    """Return the SQL of each named block.

    A block `name, both ways` is two, `name_down` (newest first) and `name_up`, with its `{beyond}` and `{order}` filled in.
    """
    _, *parts = _HEADER.split((files(__package__) / "queries.sql").read_text("utf-8"))
    queries: dict[str, str] = {}
    for name, both_ways, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if both_ways:
            queries |= {f"{name}_{way}": _directed(sql, *_WAYS[way]) for way in _WAYS}
        else:
            queries[name] = sql.strip()
    return queries


def _directed(sql: str, beyond: str, order: str) -> str:
    return sql.replace("{beyond}", beyond).replace("{order}", order).strip()


def load_migrations() -> tuple[Migration, ...]:
    """Return all migrations, in order."""
    found = sorted(
        (path.name, path.read_text("utf-8"))
        for path in (files(__package__) / "migrations").iterdir()
        if path.name.endswith(".sql")
    )
    return tuple(
        Migration(int(name[:4]), name, sql, blake2b(sql.encode(), digest_size=16).digest()) for name, sql in found
    )


SQL: Mapping[str, str] = load_queries()
