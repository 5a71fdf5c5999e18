"""Load the SQL: named blocks of `queries.sql`, and the numbered migrations. What they are for stands beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from asyncpg import Connection as Own
    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    Connection = Own[Record] | PoolConnectionProxy[Record]
    """A connection that is held for good, or one that is lent."""

_HEADER = re.compile(r"^-- (\w+) --\n", re.MULTILINE)
_NAME = re.compile(r"(?<!:):([a-z]\w*)")
_SCOPES = ("project", "tenant", "subscription")
_ORDERS = {"down": "DESC", "up": "ASC"}


class Statement(Struct, frozen=True):
    """A block as the server takes it, and the names of its values in their order."""

    sql: str
    names: tuple[str, ...]


class Migration(Struct, frozen=True):
    """One step of the schema, and the digest of its text."""

    number: int
    name: str
    sql: str
    digest: bytes


def load_queries() -> Mapping[str, Statement]:
    """Return the named blocks, those with `{scope}` and `{order}` once for each of their values."""
    _, *parts = _HEADER.split((files(__package__) / "queries.sql").read_text("utf-8"))
    return {
        variant: _statement(text)
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
        for variant, text in _variants(name, sql.strip())
    }


def _variants(name: str, sql: str) -> Iterator[tuple[str, str]]:
    if "{scope}" in sql:
        for scope in _SCOPES:
            yield from _variants(f"{name}_{scope}", sql.replace("{scope}", scope))
    elif "{order}" in sql:
        for way, order in _ORDERS.items():
            yield f"{name}_{way}", sql.replace("{order}", order)
    else:
        yield name, sql


def _statement(sql: str) -> Statement:
    """Number the values that a block names, each once."""
    said = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    names = tuple(dict.fromkeys(_NAME.findall(said)))
    numbers = {name: number for number, name in enumerate(names, start=1)}
    return Statement(_NAME.sub(lambda found: f"${numbers[found[1]]}", said), names)


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


async def run(connection: Connection, name: str, /, **values: Any) -> list[Record]:  # noqa: ANN401  the block says what
    """Run a block with the values that it names, and perhaps others; return its rows."""
    statement = SQL[name]
    return await connection.fetch(statement.sql, *[values[each] for each in statement.names])


async def first(connection: Connection, name: str, /, **values: Any) -> Record | None:  # noqa: ANN401  the block says what
    """Run a block; return its first row, None when there is none."""
    statement = SQL[name]
    return await connection.fetchrow(statement.sql, *[values[each] for each in statement.names])


async def value(connection: Connection, name: str, /, **values: Any) -> Any:  # noqa: ANN401  the block says what
    """Run a block; return the one value of its first row, None when there is no row."""
    statement = SQL[name]
    return await connection.fetchval(statement.sql, *[values[each] for each in statement.names])


SQL: Mapping[str, Statement] = load_queries()
