"""Say what a check of `angarium doctor` found, and what mends it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How bad it is; also the exit code."""

    OK = 0
    WARN = 1
    FAIL = 2


class Finding(NamedTuple):
    """What a check found, and what mends it (empty where nothing needs to be)."""

    level: Level
    subject: str
    found: str
    fix: str = ""
