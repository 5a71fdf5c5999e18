"""Show documents, tables and lines: data on stdout, talk on stderr, no colours where nobody sees them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from angarium.cli.failing import Failure

_UNBOUNDED = 100_000  # Columns: what is piped to a program is never wrapped.
_CELL_MAX = 80
_EMPTY: tuple[object, ...] = (None, "", [], {})


class Screen:
    """Where a command's output goes. With `is_json`, stdout gets JSON documents only, one a line."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._consoles: dict[bool, Console] = {}

    def document(self, value: object) -> None:
        """Print one JSON document on stdout; bytes are JSON already and stay as they are."""
        text = value.decode() if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
        sys.stdout.write(text.strip() + "\n")
        sys.stdout.flush()

    def say(self, text: str, *, style: str = "") -> None:
        """Print talk, on stderr."""
        self._console(is_talk=True).print(plain(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def line(self, text: str, *, style: str = "") -> None:
        """Print a line of data for people, on stdout."""
        self._console().print(plain(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
        """Print rows under headings; where there are none, say `empty`, which names the next command."""
        from rich.table import Table  # noqa: PLC0415  most commands need no table
        from rich.text import Text  # noqa: PLC0415  the same

        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell(value), no_wrap=True) for value in row))
        if table.row_count:
            self._console().print(table)
        else:
            self.say(empty)

    def fields(self, document: Mapping[str, Any]) -> None:
        """Print a document's members, one a line."""
        width = max((len(name) for name in document), default=0)
        for name, value in document.items():
            self.line(f"{name:<{width}}  {'–' if value in _EMPTY else _shown(value)}")

    def failure(self, failure: Failure) -> None:
        """Print why the command failed: as a document on stdout, or in three lines on stderr."""
        if self.is_json:
            self.document(failure.document())
            return
        first, *others = failure.lines()
        self.say(first, style="red")
        for other in others:
            self.say(other)

    def console(self) -> Console:
        """Return the console on stdout, for what is drawn again and again."""
        return self._console()

    def talk(self) -> Console:
        """Return the console on stderr, for progress."""
        return self._console(is_talk=True)

    def _console(self, *, is_talk: bool = False) -> Console:
        if is_talk not in self._consoles:
            from rich.console import Console  # noqa: PLC0415  with --json nothing of it is needed

            stream = sys.stderr if is_talk else sys.stdout
            width = None if stream.isatty() else _UNBOUNDED
            self._consoles[is_talk] = Console(file=stream, width=width, highlight=False)
        return self._consoles[is_talk]


def plain(text: str) -> str:
    """Return text in which nothing commands the terminal: what comes from the network is shown, never obeyed."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else f"\\x{ord(letter):02x}" for letter in text)


def cell(value: object) -> str:
    """Return a value as one short line."""
    if value in _EMPTY:
        return "–"
    text = " ".join(plain(_shown(value)).split())
    return text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + "…"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)
