"""Read what `deploy/` holds: units of systemd, a Containerfile, compose files."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


class Line(NamedTuple):
    """A directive of a unit."""

    section: str
    name: str
    value: str


def unit(path: Path) -> list[Line]:
    """Return a unit's directives, in order."""
    section, lines = "", []
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("["):
            section = text.strip("[]")
        elif text and not text.startswith("#"):
            name, _, value = text.partition("=")
            lines.append(Line(section, name, value))
    return lines


def values(lines: list[Line], name: str) -> list[str]:
    """Return what all directives of a name say."""
    return [line.value for line in lines if line.name == name]


def environment(lines: list[Line]) -> dict[str, str]:
    """Return what a unit puts into the environment itself."""
    words = [word for text in values(lines, "Environment") for word in shlex.split(text)]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def steps(path: Path) -> list[tuple[str, str]]:
    """Return a Containerfile's instructions with what they say, continued lines as one."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(word, said) for word, _, said in (line.partition(" ") for line in joined.splitlines()) if word]


def said(instructions: list[tuple[str, str]], word: str) -> list[str]:
    """Return what all instructions of a name say."""
    return [text for name, text in instructions if name == word]


def command(text: str) -> list[str]:
    """Return an instruction's command, which must be given without a shell, as JSON."""
    words: list[str] = json.loads(text)
    return words
