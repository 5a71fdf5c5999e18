"""Run the named blocks of `queries.sql`, and load the migrations. What they are for stands beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from angarium.store import sql as texts

if TYPE_CHECKING:
    from asyncpg import Connection as Own
    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    Connection = Own[Record] | PoolConnectionProxy[Record]
    """A connection that is held for good, or one that is lent."""

_NAME = re.compile(r"(?<!:):([a-z]\w*)")


_JOINED = re.compile(r"\{(\w+)\}")


class Statement(Struct, frozen=True):
    """A block as the server takes it, and the names of its values in their order."""

    sql: str
    names: tuple[str, ...]


def _statement(sql: str) -> Statement:
    """Number the values that a block names, each once."""
    said = _JOINED.sub(lambda found: BLOCKS[found[1]].partition("WITH ")[2], sql)
    said = "\n".join(line for line in said.splitlines() if not line.startswith("--"))
    names = tuple(dict.fromkeys(_NAME.findall(said)))
    numbers = {name: number for number, name in enumerate(names, start=1)}
    return Statement(_NAME.sub(lambda found: f"${numbers[found[1]]}", said), names)


def load_migrations() -> tuple[texts.Migration, ...]:
    """Return this store's migrations, in order."""
    return texts.load_migrations(__package__)


async def run(connection: Connection, name: str, /, **values: Any) -> list[Record]:  # noqa: ANN401  the block says what
    """Run a block with the values that it names, and perhaps others; return its rows."""
    statement = SQL[name]
    RAN[name] += 1
    return await connection.fetch(statement.sql, *[values[each] for each in statement.names])


async def first(connection: Connection, name: str, /, **values: Any) -> Record | None:  # noqa: ANN401  the block says what
    """Run a block; return its first row, None when there is none."""
    statement = SQL[name]
    RAN[name] += 1
    return await connection.fetchrow(statement.sql, *[values[each] for each in statement.names])


async def value(connection: Connection, name: str, /, **values: Any) -> Any:  # noqa: ANN401  the block says what
    """Run a block; return the one value of its first row, None when there is no row."""
    statement = SQL[name]
    RAN[name] += 1
    return await connection.fetchval(statement.sql, *[values[each] for each in statement.names])


BLOCKS: Mapping[str, str] = dict(texts.load_blocks(__package__))
SQL: Mapping[str, Statement] = {name: _statement(sql) for name, sql in BLOCKS.items()}
RAN: Counter[str] = Counter()
"""How often each block was run, and transactions were begun and committed."""
