"""Run `angarium` in a process of its own, as a user does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

TIMEOUT_S = 60


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    talk: str

    @property
    def document(self) -> Any:
        """The one JSON document that it printed."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """The JSON documents that it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


def environment(**variables: str) -> dict[str, str]:
    """Return an environment without anybody's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **variables}


def command(*arguments: str) -> list[str]:
    """Return the command line that runs `angarium`."""
    return [sys.executable, "-m", "angarium", *arguments]
