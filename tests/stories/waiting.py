"""Wait for what is to come true, generously: stories have no stop-watch, only a limit for what hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GENEROUS_S = 60.0
_PAUSE_S = 0.01


def eventually(find: Callable[[], T], *, told: Callable[[], object] = lambda: "", within_s: float = GENEROUS_S) -> T:
    """Return what `find` returns once that is true; fail with what was found last, and what `told` knows of it."""
    ends_at = time.monotonic() + within_s
    while not (found := find()):
        assert time.monotonic() < ends_at, f"still {found!r} after {within_s:g} s; {told()}"
        time.sleep(_PAUSE_S)
    return found
