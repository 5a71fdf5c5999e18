"""Watching across processes: one that settles and one that watches, over one memory store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from angarium.engine.watching import WATCHING, Watching, decode, encode
from angarium.model.delivery import Key, Open, Settled, State
from angarium.model.event import Event
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.store.contract import Publish, Settlement
from angarium.store.memory import MemoryStore


class Speaking(MemoryStore):
    """A memory store whose processes hear each other; what was said is in `said`."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.heard: list[Callable[[str], None]] = []

    def say(self, words: str) -> None:
        self.said.append(words)
        for heard in self.heard:
            asyncio.get_running_loop().call_soon(heard, words)

    def listen_said(self, heard: Callable[[str], None]) -> None:
        self.heard.append(heard)


class Seen:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.opened: list[Key] = []
        self.settled: list[Key] = []

    def __call__(self, opened: Any, settled: Any) -> None:
        self.opened += [each.key for each in opened]
        self.settled += [each.key for each in settled]


async def _store() -> Speaking:
    store = Speaking()
    for number, project in ((1, "p"), (2, "q")):
        made = Subscription(number, f"sub_{number}", project, "1", number, 0, 0, Status.ACTIVE)
        await store.change(made, Version(number, 0, Owed.PUSH, Rule(), "standard"), revision=0)
        await store.accept(Publish(project, (Event(project, "1", "item", "1", "update"),), 0))
    return store


def _key(offset: int, number: int = 1) -> Key:
    return Key(number, offset, number, 1000 + offset)


async def _settle(store: Speaking, worker: Watching, *keys: Key, opened: tuple[Key, ...] = ()) -> None:
    settled, opens = [Settled(key, State.DELIVERED, 0) for key in keys], [Open(key) for key in opened]
    await store.settle(Settlement(settled=settled, opened=opens))
    worker.flushed(opens, settled)


async def _calm() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def _two(store: Speaking) -> tuple[Watching, Watching]:
    api, worker = Watching(store), Watching(store)
    api.open()
    worker.open()
    return api, worker


async def test_who_watches_sees_what_another_process_opens_and_settles() -> None:
    store = await _store()
    api, worker = await _two(store)
    seen, others = Seen(), Seen()
    api.watch(seen, project="p")
    stop = api.watch(others, project="q")
    await _calm()
    await _settle(store, worker, _key(1), _key(1, 2), opened=(_key(2),))
    await _calm()
    assert (seen.settled, seen.opened) == ([_key(1)], [_key(2)])
    assert (others.settled, others.opened) == ([_key(1, 2)], [])
    stop()
    await _settle(store, worker, _key(2, 2))
    await _calm()
    assert others.settled == [_key(1, 2)]
    await api.close()
    await worker.close()


async def test_what_is_settled_just_before_it_is_known_that_somebody_watches_is_seen() -> None:
    store = await _store()
    api, worker = await _two(store)
    seen = Seen()
    api.watch(seen, project="p")
    await _settle(store, worker, _key(1))
    await _calm()
    assert seen.settled == [_key(1)]
    await api.close()


async def test_while_nobody_watches_nothing_is_said_and_little_is_kept() -> None:
    store = await _store()
    _, worker = await _two(store)
    for offset in range(2000):
        await _settle(store, worker, _key(offset))
    assert store.said == []
    assert len(worker._lately) == 500


async def test_who_watches_says_so_again_and_again_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angarium.engine.watching.SAYS_S", 0.001)
    store = await _store()
    api, _ = await _two(store)
    stop = api.watch(Seen(), project="p")
    while len(store.said) < 3:  # noqa: ASYNC110  nobody tells a test
        await asyncio.sleep(0.001)
    stop()
    assert set(store.said) == {WATCHING}
    assert api._saying is not None
    await asyncio.wait([api._saying])


async def test_a_watcher_here_is_told_at_once() -> None:
    store = await _store()
    _, worker = await _two(store)
    seen = Seen()
    worker.watch(seen, project="p")
    await _settle(store, worker, _key(1))
    assert seen.settled == [_key(1)]
    await worker.close()


def test_keys_are_said_in_less_than_may_be_said_at_once() -> None:
    keys = [Key(255, (1 << 45) + number, 10**9, 10**13) for number in range(100)]
    assert decode(encode(keys)) == keys
    assert len(encode(keys)) < 7_500


@pytest.mark.parametrize("words", ["", "watching", "something else", "1:2", "1:2:3:4:5", "1:2:3:x"])
def test_what_another_version_may_say_is_passed_over(words: str) -> None:
    assert decode(words) == ()
