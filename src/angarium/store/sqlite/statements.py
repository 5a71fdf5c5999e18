"""Run the named blocks of `queries.sql`, and load the migrations. What they are for stands beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from angarium.store import sql as texts

if TYPE_CHECKING:
    import apsw

Row = tuple[Any, ...]
Values = Sequence[Any] | Mapping[str, Any]

_EACH = re.compile(r"\{(\d+) each\}")
_LOTS = (256, 64)
_LOT_MAX = 16  # Up to here any number of rows is one statement, kept prepared.


def load_migrations() -> tuple[texts.Migration, ...]:
    """Return this store's migrations, in order."""
    return texts.load_migrations(__package__)


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
    """Run a block with `{… each}` over rows whose values follow each other; return what it returns."""
    return run_rows(connection, SQL[name], values)


def run_rows(connection: apsw.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    """Run SQL with `{… each}` over rows whose values follow each other; return what it returns.

    Many rows go into one statement, since every step of a statement lets go of the interpreter's lock, and getting it
    back takes milliseconds while the event loop is busy.
    """
    width, start = _width(sql), 0
    found: list[Row] = []
    while left := (len(values) - start) // width:
        count = next((lot for lot in _LOTS if lot <= left), min(left, _LOT_MAX))
        end = start + count * width
        found += connection.execute(_widened(sql, count), values[start:end]).fetchall()
        start = end
    return found


@cache
def _width(sql: str) -> int:
    each = _EACH.search(sql)
    assert each, f"there are no rows in {sql}"
    return int(each[1])


@cache
def _widened(sql: str, count: int) -> str:
    row = f"({', '.join('?' * _width(sql))})"
    return _EACH.sub(", ".join([row] * count), sql)


SQL: Mapping[str, str] = dict(texts.load_blocks(__package__))
