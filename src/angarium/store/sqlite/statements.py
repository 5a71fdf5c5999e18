"""Load the SQL: named blocks of `queries.sql`, and the numbered migrations. What they are for stands beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import apsw

Row = tuple[Any, ...]
Values = Sequence[Any] | Mapping[str, Any]

_HEADER = re.compile(r"^-- (\w+) --\n", re.MULTILINE)
_EACH = re.compile(r"\{(\d+) each\}")
_SCOPES = ("project", "tenant", "subscription")
_ORDERS = {"down": "DESC", "up": "ASC"}
_AT_ONCE = (256, 64, 16, 4, 1)


class Migration(Struct, frozen=True):
    """One step of the schema, and the digest of its text."""

    number: int
    name: str
    sql: str
    digest: bytes


def load_queries() -> Mapping[str, str]:
    """Return the SQL of each named block, those with `{scope}` and `{order}` once for each of their values."""
    _, *parts = _HEADER.split((files(__package__) / "queries.sql").read_text("utf-8"))
    return dict(
        each for name, sql in zip(parts[::2], parts[1::2], strict=True) for each in _variants(name, sql.strip())
    )


def _variants(name: str, sql: str) -> Iterator[tuple[str, str]]:
    if "{scope}" in sql:
        for scope in _SCOPES:
            yield from _variants(f"{name}_{scope}", sql.replace("{scope}", scope))
    elif "{order}" in sql:
        for way, order in _ORDERS.items():
            yield f"{name}_{way}", sql.replace("{order}", order)
    else:
        yield name, sql


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


def run(connection: apsw.Connection, name: str, values: Values = ()) -> list[Row]:
    """Run a block; return its rows."""
    return connection.execute(SQL[name], values).fetchall()


def first(connection: apsw.Connection, name: str, values: Values = ()) -> Row | None:
    """Run a block; return its first row, None when there is none."""
    return connection.execute(SQL[name], values).fetchone()


def value(connection: apsw.Connection, name: str, values: Values = ()) -> Any:  # noqa: ANN401  the block says what
    """Run a block; return its one value, None when there is no row."""
    return connection.execute(SQL[name], values).get


def run_each(connection: apsw.Connection, name: str, values: Sequence[Any]) -> list[Row]:
    """Run a block with `{… each}` over rows whose values follow each other; return what it returns.

    Many rows go into one statement, since every step of a statement lets go of the interpreter's lock, and getting it
    back takes milliseconds while the event loop is busy.
    """
    width, start = _width(name), 0
    found: list[Row] = []
    for count in _AT_ONCE:
        while len(values) - start >= count * width:
            end = start + count * width
            found += connection.execute(_widened(name, count), values[start:end]).fetchall()
            start = end
    return found


@cache
def _width(name: str) -> int:
    each = _EACH.search(SQL[name])
    assert each, f"block {name} has no rows"
    return int(each[1])


@cache
def _widened(name: str, count: int) -> str:
    row = f"({', '.join('?' * _width(name))})"
    return _EACH.sub(", ".join([row] * count), SQL[name])


SQL: Mapping[str, str] = load_queries()
