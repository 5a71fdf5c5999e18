"""Read the documentation's examples, and make one shell script of each page.

A `bash` block runs in order with its page's others; `bash terminal PORT` runs beside them from where it stands to the
page's end, and is waited for until something listens on that port. A comment behind a block says what is to be seen:
`<!-- expect: TEXT -->` in its output, `<!-- expect PORT: TEXT -->` in that terminal, and `<!-- expect soon: TEXT -->`
in the output of a block that only reads, which runs again until it is there.
"""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: terminal (?P<port>\d+))?\n(?P<text>.*?)^(?P=indent)```$"
    r"|^ *<!-- expect(?: (?P<where>\d+|soon))?: (?P<seen>.+?) -->$",
    re.MULTILINE | re.DOTALL,
)
_TOOLS = textwrap.dedent(
    """\
    waits() {  # for a command to succeed, 15 s at most
        local turn
        for turn in $(seq 150); do if "$@" 2>/dev/null; then return; fi; sleep 0.1; done
        return 1
    }
    listens() {
        kill -0 "$terminal" || { echo "nothing listens on $1"; exit 1; }
        (exec 3<>"/dev/tcp/127.0.0.1/$1")
    }
    shows() { grep -qF -- "$1" "$2"; }
    """
)


class Block(NamedTuple):
    """An example: its language, the port of its terminal where it has one of its own, and its text."""

    language: str
    port: str
    text: str


class Expectation(NamedTuple):
    """What is to be seen: in the terminal of a port, or in the output of the block before, at once or `soon`."""

    where: str
    text: str


def read(page: str) -> list[Block | Expectation]:
    """Return a page's examples and expectations, in order."""
    return [
        Expectation(found["where"] or "", found["seen"])
        if found["seen"]
        else Block(found["language"], found["port"] or "", textwrap.dedent(found["text"]))
        for found in _BLOCK.finditer(page)
    ]


def ports(parts: list[Block | Expectation]) -> list[str]:
    """Return the ports that a page's terminals listen on."""
    return sorted({part.port for part in parts if isinstance(part, Block) and part.port})


def script(parts: list[Block | Expectation]) -> str:
    """Return a page's `bash` examples as one script, with its waits."""
    steps, before = [_TOOLS], ""
    for part in parts:
        if isinstance(part, Block):
            if part.language != "bash":
                continue
            before = part.text
        steps.append(_step(part, before))
    return "\n".join(steps)


def _step(part: Block | Expectation, before: str) -> str:
    match part:
        case Expectation("soon", text):
            again = f"again() {{\n{before}}}\nseen() {{ again > output; shows {_quoted(text)} output; }}"
            return f"{again}\nwaits seen || {_fail(f'never in the output: {text}')}"
        case Expectation("", text):
            return f"shows {_quoted(text)} output || {_fail(f'not in the output: {text}')}"
        case Expectation(port, text):
            return f"waits shows {_quoted(text)} terminal-{port} || {_fail(f'not in terminal {port}: {text}')}"
        case Block(_, "", text):
            # In a function's condition `set -e` would not hold, so the text runs bare.
            return f"trap 'cat output' EXIT\n{{\n{text}}} > output\ntrap - EXIT\ncat output"
        case Block(_, port, text):
            begin = f"bash -euo pipefail -c {_quoted(text)} > terminal-{port} 2>&1 < /dev/null & terminal=$!"
            return f"{begin}\nwaits listens {port} || {_fail(f'nothing listens on {port}')}"


def _fail(message: str) -> str:
    return f"{{ echo {_quoted(message)}; exit 1; }}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
