"""Publishing: what is checked, what is counted, and what happens when something goes wrong behind it."""

from __future__ import annotations

import asyncio
import json

from angarium.errors import AngariumError, Busy, FieldError, KeyReused, RateExceeded, StoreAway, Unauthorized
from angarium.operations.callers import Callers
from angarium.operations.projects import Projects
from angarium.operations.publish import Answer, Asked, Published, Publisher
from tests.api.fronting import EVENT, KEY, FakeEngine, HeldStore, eventually, make_context


class Desk:
    """A publisher over a memory store, and a way to wait for its answers."""

    def __init__(self, publisher: Publisher, store: HeldStore, engine: FakeEngine) -> None:
        self.publisher = publisher
        self.store = store
        self.engine = engine

    @classmethod
    async def make(cls) -> Desk:
        store, engine = HeldStore(), FakeEngine()
        context = await make_context(store, engine)
        return cls(Publisher(context, Callers(context), Projects(context)), store, engine)

    def ask(self, body: bytes = EVENT, *, project: str = "p", key: str = KEY, once: str | None = None) -> Answering:
        answers: list[Answer] = []
        asked = Asked(project, f"Bearer {key}", "application/json", once, body)
        self.publisher.publish(asked, answers.append)
        return Answering(answers)

    async def publish(self, body: bytes = EVENT, *, project: str = "p", once: str | None = None) -> Published:
        key = KEY if project == "p" else "ang_admin"
        answer = await self.ask(body, project=project, key=key, once=once).answer()
        assert isinstance(answer, Published), answer
        return answer

    async def refusal(self, body: bytes = EVENT, *, project: str = "p", once: str | None = None) -> Exception:
        key = KEY if project == "p" else "ang_admin"
        answer = await self.ask(body, project=project, key=key, once=once).answer()
        assert isinstance(answer, Exception), answer
        return answer


class Answering:
    """What a publish was told, in time."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers

    async def answer(self) -> Answer:
        await eventually(lambda: self.answers)
        assert len(self.answers) == 1
        return self.answers[0]


def _events(*tenants: str) -> bytes:
    return json.dumps(
        [{"tenant": tenant, "object": "item", "action": "update", "object_id": "1"} for tenant in tenants]
    ).encode()


async def test_what_matches_is_counted_over_all_tenants() -> None:
    desk = await Desk.make()
    published = await desk.publish(_events("1", "2", "1"))
    assert (len(published.ids), published.matched) == (3, 9)
    assert sorted(desk.engine.loaded) == ["1", "2"]


async def test_once_everything_is_in_memory_nothing_is_awaited() -> None:
    desk = await Desk.make()
    await desk.publish()
    desk.store.is_held = True
    desk.ask()
    assert desk.store.waiting == 1


async def test_what_another_process_has_changed_is_counted_as_it_is_by_then() -> None:
    desk = await Desk.make()
    await desk.publish()
    desk.store.is_held, desk.store.registries = True, {7: 1}
    asked = desk.ask()
    desk.engine.change(5)
    desk.store.let_go()
    answer = await asked.answer()
    assert isinstance(answer, Published)
    assert answer.matched == 5
    assert len(desk.engine.offered) == 2
    unchanged, loaded = desk.ask(), len(desk.engine.loaded)
    desk.store.let_go()
    assert isinstance(await unchanged.answer(), Published)
    assert len(desk.engine.loaded) == loaded


async def test_a_publish_that_is_on_disk_is_answered_though_the_server_stops_as_it_is_counted() -> None:
    desk = await Desk.make()
    await desk.publish()
    desk.store.is_held, desk.store.registries = True, {7: 1}
    asked = desk.ask()
    desk.engine.change(5)
    desk.store.let_go()
    await asyncio.sleep(0)  # Committed, and about to be counted.
    desk.publisher.close()
    answer = await asked.answer()
    assert isinstance(answer, Published)
    assert answer.matched == 3


async def test_a_replay_is_not_offered_again() -> None:
    desk = await Desk.make()
    first = await desk.publish(once="k")
    again = await desk.publish(once="k")
    assert (again.ids, again.is_replay) == (first.ids, True)
    assert len(desk.engine.offered) == 1
    assert isinstance(await desk.refusal(_events("1"), once="k"), KeyReused)


async def test_the_content_type_is_part_of_what_a_key_was_used_with() -> None:
    desk = await Desk.make()
    await desk.publish(once="k")
    answers: list[Answer] = []
    desk.publisher.publish(Asked("p", f"Bearer {KEY}", "application/x-ndjson", "k", EVENT), answers.append)
    assert isinstance(await Answering(answers).answer(), KeyReused)


async def test_a_rate_counts_each_tenant_and_nothing_of_a_refused_array() -> None:
    desk = await Desk.make()
    await desk.publish(_events("1", "1"), project="slow")
    refusal = await desk.refusal(_events("2", "1"), project="slow")
    assert isinstance(refusal, RateExceeded)
    assert 0 < refusal.retry_after_s <= 60
    await desk.publish(_events("2", "2"), project="slow")
    assert isinstance(await desk.refusal(_events("2"), project="slow"), RateExceeded)


async def test_a_key_that_is_no_key_is_refused_before_anything_is_accepted() -> None:
    desk = await Desk.make()
    for text in ("", "k" * 256, "umläut", "tab\tinside", "new\nline"):
        assert isinstance(await desk.refusal(once=text), FieldError), text
    assert isinstance(await desk.ask(key="ang_wrong").answer(), Unauthorized)
    assert not desk.engine.offered


async def test_a_store_that_is_away_is_told_and_nothing_is_offered() -> None:
    desk = await Desk.make()
    desk.store.error = StoreAway("the disk is full")
    assert isinstance(await desk.refusal(), StoreAway)
    assert not desk.engine.offered


async def test_an_engine_that_fails_costs_no_answer() -> None:
    """The events are on disk, so the publisher is told so; the engine reads them again."""
    desk = await Desk.make()

    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    desk.engine.offer = fail  # type: ignore[assignment, method-assign]  # a fault that cannot be had otherwise
    assert (await desk.publish()).matched == 3


async def test_without_room_a_publish_waits_and_is_accepted_then() -> None:
    desk = await Desk.make()
    await desk.publish()
    desk.engine.has_room = False
    waiting = desk.ask()
    assert not waiting.answers
    assert desk.publisher.figures()["publishes_waiting"] == 1
    assert isinstance(await waiting.answer(), Published)


async def test_whoever_waits_when_the_server_stops_is_told() -> None:
    desk = await Desk.make()
    await desk.publish()
    desk.engine.has_room = False
    waiting, loading = desk.ask(), desk.ask(_events("new"))
    desk.publisher.close()
    for answering in (waiting, loading):
        assert isinstance(await answering.answer(), Busy)
    assert isinstance(await desk.refusal(), AngariumError)


async def test_what_was_done_is_counted() -> None:
    desk = await Desk.make()
    await desk.publish(_events("1", "2"))
    await desk.refusal(b"{")
    figures = desk.publisher.figures()
    assert figures["events_accepted_total"] == 2
    assert figures["publishes_accepted_total"] == 1
    assert figures["publishes_refused_total"] == 1
    assert figures["publishes_inside"] == 0
