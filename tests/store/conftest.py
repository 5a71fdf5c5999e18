"""Give every test of the contract each store in turn: a new one is a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from angarium.store.memory import MemoryStore
from angarium.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from angarium.store.contract import Store

STORES: dict[str, Callable[[Path], Store]] = {"memory": lambda _: MemoryStore(), "sqlite": SqliteStore}


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of each kind, and close it afterwards."""
    made = STORES[request.param](tmp_path / "angarium.db")
    await made.open()
    yield made
    await made.close()
