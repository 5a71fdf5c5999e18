"""Hold that the current state of objects follows the log, soon, lazily, and whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from angarium.engine import keeping
from angarium.engine.keeping import Keeper
from angarium.errors import StoreAway
from angarium.store.memory import MemoryStore
from tests.engine.world import PROJECT, World, world

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SOON_S", 0.01)
    monkeypatch.setattr(keeping, "_REST_S_MIN", 0.001)
    monkeypatch.setattr(keeping, "_AWAY_S", 0.01)


class _Counted(MemoryStore):
    """Count folds; fail so many of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.folds: list[int] = []
        self.fails = 0
        self.breaks = 0

    async def fold_objects(self, *, limit: int) -> int:
        if self.fails:
            self.fails -= 1
            raise StoreAway("the store is away")
        if self.breaks:
            self.breaks -= 1
            raise ValueError("a fault")
        self.folds.append(await super().fold_objects(limit=limit))
        return self.folds[-1]


async def _data(w: World, object_id: str) -> bytes | None:
    found = await w.store.object(PROJECT, "1", "item", object_id)
    return None if found is None else found.data


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("what was waited for did not come about within 15 s")


async def test_what_is_published_is_folded_by_itself() -> None:
    store = _Counted()
    async with world(store) as w:
        await w.publish("1", data=b"1")
        await _until(lambda: sum(store.folds) == 1)
        assert await _data(w, "1") == b"1"
        await w.publish("1", data=b"2")
        await _until(lambda: sum(store.folds) == 2)
        assert await _data(w, "1") == b"2"
        assert w.engine.figures()["entries_folded_total"] == 2


async def test_who_cannot_wait_has_it_folded_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SOON_S", 3600)
    monkeypatch.setattr(keeping, "FOLD_MAX", 3)
    async with world() as w:
        await w.publish(*"abcdefgh", data=b"1")
        assert await _data(w, "h") is None
        await w.engine.folded()
        assert await _data(w, "h") == b"1"


async def test_a_crowd_is_folded_many_at_a_time_and_much_in_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SOON_S", 0.2)
    monkeypatch.setattr(keeping, "FOLD_MAX", 40)
    store = _Counted()
    async with world(store) as w:
        await _until(lambda: store.folds == [0])
        await w.publish(*map(str, range(100)))
        await _until(lambda: sum(store.folds) == 100)
        assert store.folds == [0, 40, 40, 20]


async def test_what_an_earlier_process_left_is_folded_at_the_start() -> None:
    store = MemoryStore()
    async with world(store) as w:
        await w.engine._keeper.close()
        await w.publish("1", data=b"1")
    async with world(store) as w:
        await w.until(lambda: w.engine.figures()["entries_folded_total"] == 1)
        assert await _data(w, "1") == b"1"


async def test_a_store_that_is_away_is_asked_again() -> None:
    store = _Counted()
    async with world(store) as w:
        store.fails = 3
        await w.publish("1")
        await _until(lambda: sum(store.folds) == 1)
        store.fails = 1
        with pytest.raises(StoreAway):
            await w.engine.folded()


async def test_a_fault_waits_for_what_comes_next() -> None:
    store = _Counted()
    keeper = Keeper(store)
    store.breaks = 1
    keeper.open()
    await _until(lambda: store.breaks == 0)
    await asyncio.sleep(0.03)
    assert store.folds == []
    keeper.touch()
    await _until(lambda: store.folds == [0])
    await keeper.close()


async def test_what_is_committed_while_it_folds_is_folded_next() -> None:
    class Slow(_Counted):
        async def fold_objects(self, *, limit: int) -> int:
            await entered.put(None)
            await leaves.get()
            return await super().fold_objects(limit=limit)

    entered, leaves = asyncio.Queue[None](), asyncio.Queue[None]()
    store = Slow()
    keeper = Keeper(store)
    keeper.open()
    await entered.get()
    keeper.touch()
    leaves.put_nowait(None)
    await entered.get()
    leaves.put_nowait(None)
    await _until(lambda: len(store.folds) == 2)
    await keeper.close()
    keeper.touch()
    await asyncio.sleep(0.03)
    assert len(store.folds) == 2
