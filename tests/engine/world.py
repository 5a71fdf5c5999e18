"""Build an engine on a store, with a receiver that does as it is told and a clock that can be read."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from angarium.clock import SystemClock
from angarium.core.partitioning import partition_of
from angarium.engine.engine import LogEngine
from angarium.model.event import Event
from angarium.model.ids import Ids
from angarium.model.registry import Project
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.model.wire import NoResponse, Response
from angarium.settings import Settings
from angarium.store.contract import DeliveryQuery, Page, Publish
from angarium.store.memory import MemoryStore
from angarium.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from angarium.model.delivery import Open, Settled
    from angarium.model.wire import Request
    from angarium.store.contract import Receipt, Store

Answer = Response | NoResponse
OK: Answer = Response(200)
PROJECT = "p"

ids = Ids(b"k" * 16)


class ScriptedSender:
    """Answer requests as `answer` says, after `delay_s`; remember them all."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.by_url: defaultdict[str, list[Request]] = defaultdict(list)
        self.answer: Callable[[Request], Answer] = lambda _: OK
        self.delay_s = 0.0
        self.on_wire: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def post(
        self,
        request: Request,
        *,
        timeout_s: float,
        allow_http: bool,
        owner: str,
        done: Callable[[Answer], None],
        ports: frozenset[int] = frozenset(),
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self.requests.append(request)
        self.by_url[request.url].append(request)
        self.on_wire[request.url] += 1
        self.most[request.url] = max(self.most[request.url], self.on_wire[request.url])

        def end() -> None:
            self.on_wire[request.url] -= 1
            done(self.answer(request))

        asyncio.get_running_loop().call_later(self.delay_s, end)


def ids_of(requests: Sequence[Request]) -> list[str]:
    """Return the `webhook-id` of each request."""
    return [dict(request.headers)["webhook-id"] for request in requests]


def objects_of(requests: Sequence[Request]) -> list[str]:
    """Return the object ids that each request tells of, in order."""
    found: list[str] = []
    for request in requests:
        document = msgspec.json.decode(request.body)
        found += [each["object_id"] for each in document.get("events", [document])]
    return found


class World:
    """One engine at a time, on a store that outlives it."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.sender = ScriptedSender()
        self.clock = SystemClock()
        self.settings = Settings(**{"time_scale": 1000.0, "dev": True, **settings})
        self.vault = Vault(b"v" * 32)
        self.engine = self._make()
        self.settled: list[Settled] = []

    def _make(self) -> LogEngine:
        return LogEngine(
            store=self.store,
            sender=self.sender,
            clock=self.clock,
            ids=ids,
            vault=self.vault,
            settings=self.settings,
        )

    async def start(self) -> None:
        await self.engine.open()
        self.engine.watch(lambda _, settled: self.settled.extend(settled))

    async def restart(self, *, within_s: float = 1.0) -> None:
        await self.engine.close(within_s=within_s)
        self.engine = self._make()
        await self.start()

    async def subscribe(self, *, tenant: str = "1", types: tuple[str, ...] = (), **changes: Any) -> Subscription:
        number = await self.store.number("subscription")
        now_ms = self.clock.now().wall_ms
        made = Subscription(
            number,
            ids.numbered("sub_", number, now_ms),
            PROJECT,
            tenant,
            partition_of(PROJECT, tenant),
            now_ms,
            now_ms,
            Status.ACTIVE,
            url=f"http://receiver/{number}",
            rule=Rule(types),
        )
        made = replace(made, **changes)
        await self.store.change(made, Version(number, 0, Owed.PUSH, made.rule, made.dialect), revision=0)
        await self.engine.changed(made)
        found = await self.store.subscription(number)
        assert found is not None
        return found

    async def change(self, subscription: Subscription, *, owed: Owed | None = None, **changes: Any) -> Subscription:
        stored = await self.store.subscription(subscription.number)
        assert stored is not None
        changed = replace(stored, **changes)
        version = None if owed is None else Version(stored.number, 0, owed, changed.rule, changed.dialect)
        await self.store.change(changed, version, revision=stored.revision)
        await self.engine.changed(changed)
        found = await self.store.subscription(subscription.number)
        assert found is not None
        return found

    async def publish(
        self, *object_ids: str, tenant: str = "1", action: str = "update", data: bytes = b"{}"
    ) -> list[str]:
        """Publish an event of each object, one request each; return their ids."""
        found: list[str] = []
        for object_id in object_ids:
            event = Event(PROJECT, tenant, "item", object_id, action, data)
            receipt: Receipt = await self.store.accept(Publish(PROJECT, (event,), self.clock.now().wall_ms))
            self.engine.offer((event,), receipt.places)
            found += [ids.event(place.partition, place.offset, place.accepted_ms) for place in receipt.places]
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; the test's own time-out bounds it."""
        for _ in range(6000):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("what was waited for did not come about within 30 s")

    async def has_backlog(self, subscription: Subscription, events: int) -> None:
        """Wait until so many events wait for a subscription."""
        for _ in range(6000):
            if (await self.engine.lane(subscription)).backlog == events:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("what was waited for did not come about within 30 s")

    async def quiet(self) -> None:
        """Wait until nothing is on the wire and all is written."""
        await self.until(lambda: self.engine.figures()["backlog_events"] == 0)
        await self.engine._settler.settle_all()

    async def deliveries(self, subscription: Subscription | None = None) -> list[Settled | Open]:
        number = None if subscription is None else subscription.number
        listing = await self.store.deliveries(DeliveryQuery(PROJECT, subscription=number), Page(limit=250))
        return list(listing.data)

    async def all_settled(self, subscription: Subscription) -> list[Settled]:
        return list(await self.store.settled_after(subscription.partition, 0))


@asynccontextmanager
async def world(store: Store | None = None, **settings: Any) -> AsyncIterator[World]:
    """Run an engine for a test."""
    made = World(store or MemoryStore(), **settings)
    await made.store.put_project(Project(PROJECT, "standard", 0, 0, settings={"allow_http": True}))
    await made.start()
    try:
        yield made
    finally:
        await made.engine.close(within_s=1.0)
