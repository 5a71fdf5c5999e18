"""Publish to many subscriptions whose receivers have moods, while all sorts of things are done to them."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from angarium.dialects.standard import STANDARD
from angarium.model.registry import Project
from angarium.model.subscription import Owed, Status
from angarium.model.wire import NoResponse, Reason, Request, Response
from tests.engine.faults import CrashWorld, covered
from tests.engine.world import PROJECT, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.model.subscription import Subscription

MERGING = replace(STANDARD, name="merging", traits=replace(STANDARD.traits, merges=True))
POLICIES: list[dict[str, Any]] = [
    {},
    {"ordering": "strict", "retry": {"delays_s": [1, 2]}},
    {"ordering": "none", "max_in_flight": 2},
    {"retry": {"delays_s": [5, 5, 5]}, "max_in_flight": 1},
    {"batch": {"max_events": 5, "max_wait_ms": 5, "coalesce": "none"}},
    {"batch": {"max_events": 3, "max_wait_ms": 10, "coalesce": "latest"}, "retry": {"delays_s": [2, 2]}},
    {"batch": {"max_events": 30, "max_wait_ms": 5, "coalesce": "latest"}, "ordering": "strict"},
    {"rate": {"per_minute": 6000}},
]
MOODS = ["well", "well", "shaky", "slow"]


class Traffic:
    """A world full of subscriptions that are published to, and whose receivers have moods until all is over."""

    def __init__(self, seed: int, make: Callable[..., CrashWorld] = CrashWorld) -> None:
        self.dice = Random(seed)
        self.w = make(self.dice, events_in_memory=100, max_in_flight=self.dice.choice([4, 16, 64]))
        self.w.answer, self.w.delay_s = self.answer, self.delay_s
        self.subscriptions: list[Subscription] = []
        self.moods: dict[str, str] = {}
        self.owed: Counter[int] = Counter()
        self.sequence: dict[str, int] = {}  # which event came when, by its id
        self.is_over = False
        self.terms: dict[str, Any] = {}  # what all subscriptions ask for besides

    async def start(self) -> None:
        await self.w.store.put_project(Project(PROJECT, "standard", 0, 0, settings={"allow_http": True}))
        await self.w.start()
        for _ in range(self.dice.randrange(1, 6)):
            await self.subscribe()

    async def subscribe(self) -> None:
        overrides = {**self.dice.choice(POLICIES), **self.terms}
        dialect = self.dice.choice(["standard", "merging"]) if "batch" in overrides else "standard"
        made = await self.w.subscribe(tenant=self.dice.choice("12"), overrides=overrides, dialect=dialect)
        self.subscriptions.append(made)
        self.moods[made.url] = self.dice.choice(MOODS)

    async def change(self, place: int, *, owed: Owed | None = None, **changes: Any) -> None:
        """Change a subscription: once that is done its receiver gets what it should, or nothing."""
        subscription, silenced = self.subscriptions[place], self.w.account.silenced
        if changes["status"] is Status.ACTIVE:
            silenced.discard(subscription.url)
            changes["resumed_ms"] = self.w.clock.now().wall_ms
        changed = await self.w.change(subscription, owed=owed, **changes)
        self.subscriptions[place] = changed if owed is None else replace(changed, owed=owed)
        if changes["status"] is not Status.ACTIVE:
            silenced.add(subscription.url)

    async def delete(self, place: int) -> None:
        gone = self.subscriptions.pop(place)
        await self.w.store.remove(gone)
        await self.w.engine.changed(gone)
        self.w.account.silenced.add(gone.url)
        del self.owed[gone.number]

    async def change_something(self) -> None:
        """Pause, resume, disable, enable, delete or subscribe: whatever comes."""
        place = self.dice.randrange(len(self.subscriptions))
        match self.dice.randrange(6), self.subscriptions[place].status:
            case 0 | 1, Status.ACTIVE:
                await self.change(place, status=Status.PAUSED)
            case 2, Status.ACTIVE | Status.PAUSED:
                await self.change(place, owed=Owed.NOTHING, status=Status.DISABLED, reason="disabled by a person")
            case 3, Status.ACTIVE if len(self.subscriptions) > 1:
                await self.delete(place)
            case _, Status.PAUSED:
                await self.change(place, status=Status.ACTIVE)
            case _, Status.DISABLED:
                await self.change(place, owed=Owed.PUSH, status=Status.ACTIVE)
            case _:
                await self.subscribe()

    def answer(self, request: Request) -> Answer:
        if self.is_over or self.moods[request.url] != "shaky":
            return Response(200)
        answers: list[Answer] = [Response(200), Response(500), Response(400), NoResponse(Reason.TIMEOUT)]
        return self.dice.choice(answers)

    def delay_s(self, request: Request) -> float:
        return self.dice.random() * (0.02 if self.moods[request.url] == "slow" else 0.003)

    async def publish(self) -> None:
        for _ in range(self.dice.randrange(1, 5)):
            tenant, count = self.dice.choice("12"), self.dice.randrange(1, 30)
            owing = [each for each in self.subscriptions if each.tenant == tenant and each.owed is Owed.PUSH]
            objects = [self.dice.choice("abcdefgh") for _ in range(count)]
            for name in await self.w.publish(*objects, tenant=tenant):
                self.sequence[name] = len(self.sequence)
            for each in owing:
                self.owed[each.number] += count

    async def end(self) -> None:
        """Let all receivers be well, and wait until nothing is owed any more."""
        self.is_over = True
        await self.w.until(lambda: self.ended() >= self.owed)
        await self.w.quiet()

    def ended(self) -> Counter[int]:
        return Counter({each.number: covered(self.w.ends(each)) for each in self.subscriptions})

    def first_posts_in_order(self, subscription: Subscription) -> bool:
        """Say whether each object's events were sent in their order, those left out that were sent before."""
        latest: Counter[str] = Counter()
        seen: set[str] = set()
        for url, _, request in self.w.account.posts:
            document = msgspec.json.decode(request.body) if url == subscription.url else {"events": []}
            for event in document.get("events", [document]):
                if event["id"] in seen:
                    continue
                seen.add(event["id"])
                if self.sequence[event["id"]] < latest[event["object_id"]]:
                    return False
                latest[event["object_id"]] = self.sequence[event["id"]]
        return True
