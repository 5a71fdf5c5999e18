"""Hold what the engine does for a dialect that merges, and for one that is told of final states."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from angarium.dialects import registry as dialects
from angarium.dialects.standard import STANDARD
from angarium.engine import routes
from angarium.model.delivery import Open, State
from angarium.model.registry import Project
from angarium.model.wire import Response
from angarium.store.memory import MemoryStore
from angarium.store.sqlite import SqliteStore
from tests.engine.world import PROJECT, World, objects_of, world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from angarium.dialects.dialect import Dialect
    from angarium.model.wire import Request

MERGING = replace(STANDARD, name="merging", traits=replace(STANDARD.traits, merges=True))
FAT = replace(STANDARD, name="fat", traits=replace(STANDARD.traits, is_fat=True))
DOWN = Response(500)
BATCH = {"max_events": 50, "max_wait_ms": 5, "coalesce": "latest"}


@pytest.fixture(autouse=True)
def _more_dialects(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Dialect] = {**dialects.DIALECTS, "merging": MERGING, "fat": FAT}
    monkeypatch.setattr(routes, "dialect_of", known.__getitem__)


def _has_sent(w: World, count: int) -> bool:
    return len(w.sender.requests) >= count


def _data_of(requests: Sequence[Request]) -> list[Any]:
    documents = [msgspec.json.decode(request.body) for request in requests]
    return [event.get("data") for document in documents for event in document.get("events", [document])]


async def test_a_dead_receiver_of_a_merging_dialect_gets_one_delivery_with_all_that_came() -> None:
    async with world() as w:
        overrides = {"batch": BATCH, "ordering": "strict", "retry": {"delays_s": [20, 40], "give_up": False}}
        subscription = await w.subscribe(dialect="merging", overrides=overrides)
        w.sender.answer = lambda _: DOWN
        await w.publish("a")
        for number in range(12):
            await w.until(partial(_has_sent, w, number + 1))
            await w.publish(f"b{number}", "a")
        # What was on the wire before the last of them would arrive without it.
        await w.until(lambda: "b11" in objects_of(w.sender.requests[-1:]))
        w.sender.answer = lambda _: Response(200)
        await w.quiet()
        last = w.sender.requests[-1]
        assert set(objects_of([last])) == {"a", *(f"b{number}" for number in range(12))}
        settled = [each for each in await w.deliveries(subscription) if not isinstance(each, Open)]
        delivered = [each for each in settled if each.state is State.DELIVERED]
        assert sorted(offset for each in delivered for offset in (*each.members, each.key.last_offset)) == list(
            range(2, 27)
        )
        assert {each.state for each in settled} == {State.DELIVERED, State.MERGED}
        assert max(each.attempts for each in delivered) > 12


@pytest.mark.parametrize("within_s", [0.0, 1.0])
async def test_a_merger_outlives_its_process(tmp_path: Path, within_s: float) -> None:
    store = SqliteStore(tmp_path / "angarium.db")
    await store.open()
    try:
        async with world(store) as w:
            overrides = {"batch": BATCH, "ordering": "strict", "retry": {"delays_s": [20], "give_up": False}}
            subscription = await w.subscribe(dialect="merging", overrides=overrides)
            w.sender.answer = lambda _: DOWN
            await w.publish("a")
            await w.until(lambda: len(w.sender.requests) > 1)
            await w.publish("b")
            await w.until(lambda: "b" in objects_of(w.sender.requests))
            await w.restart(within_s=within_s)
            await w.publish("c")
            await w.until(lambda: "c" in objects_of(w.sender.requests))
            w.sender.answer = lambda _: Response(200)
            await w.quiet()
            assert set(objects_of(w.sender.requests[-1:])) == {"a", "b", "c"}
            settled = [each for each in await w.all_settled(subscription) if each.state is State.DELIVERED]
            assert [(*each.members, each.key.last_offset) for each in settled] == [(2, 3, 4)]
    finally:
        await store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("batch", [None, {"max_events": 3, "max_wait_ms": 20, "coalesce": "none"}])
async def test_an_event_without_data_is_sent_to_a_fat_dialect_with_what_its_object_was(
    tmp_path: Path, kind: str, batch: dict[str, Any] | None
) -> None:
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "angarium.db")
    await store.open()
    try:
        async with world(store) as w:
            overrides = {"ordering": "strict", **({"batch": batch} if batch else {})}
            await w.subscribe(dialect="fat", overrides=overrides)
            await w.subscribe()
            await w.publish("a", data=b"1")
            await w.publish("a", data=b"")
            await w.publish("a", action="delete", data=b"")
            await w.publish("b", data=b"")
            await w.quiet()
            fat, thin = w.sender.by_url["http://receiver/1"], w.sender.by_url["http://receiver/2"]
            assert _data_of(fat) == [1, 1, 1, None]
            assert sorted(map(str, _data_of(thin))) == ["1", "None", "None", "None"]
    finally:
        await store.close()


async def test_operations_share_a_final_state_that_was_looked_up() -> None:
    async with world() as w:
        batch = {"max_events": 3, "max_wait_ms": 5000, "coalesce": "operations"}
        await w.subscribe(dialect="fat", overrides={"batch": batch})
        await w.publish("a", data=b"1")
        await w.publish("a", "b", data=b"")
        await w.quiet()
        assert _data_of(w.sender.requests) == [1, 1, None]


async def test_where_no_objects_are_kept_an_event_goes_as_it_came() -> None:
    async with world() as w:
        settings = {"allow_http": True, "keep_objects": False}
        await w.store.put_project(Project(PROJECT, "standard", 0, 0, settings=settings))
        w.engine.forget_project(PROJECT)
        await w.subscribe(dialect="fat", overrides={"ordering": "strict"})
        await w.publish("a", data=b"1")
        await w.publish("a", data=b"")
        await w.quiet()
        assert _data_of(w.sender.requests) == [1, None]
