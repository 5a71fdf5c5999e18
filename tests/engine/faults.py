"""Let stores and processes fail as they do in life: away for a while, slow to answer, or dead in the middle."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, cast

from angarium.engine.engine import LogEngine
from angarium.errors import StoreAway
from angarium.model.delivery import State
from angarium.model.wire import WITHHELD, Response
from angarium.store.memory import MemoryStore
from tests.engine.world import ScriptedSender, World, ids

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from angarium.model.delivery import Key, Settled
    from angarium.model.subscription import Subscription
    from angarium.model.wire import Request
    from angarium.store.contract import Settlement, Store
    from tests.engine.world import Answer


class FrailStore:
    """One process's hold on a store.

    `fails` counts down: so many of the next settlements find the store away; while `is_away` everything does. While
    `is_slow` settlements wait for `catch_up`. With dice, calls take a few turns of the loop and settlements up to
    `lag_s`. Once dead, nothing reaches the store any more and nothing comes back.
    """

    def __init__(self, store: Store, dice: Random | None = None, *, lag_s: float = 0.0) -> None:
        self._store, self._dice, self._lag_s = store, dice, lag_s
        self.fails = 0
        self.is_away = False
        self.is_slow = False
        self.waiting: list[tuple[Settlement, asyncio.Future[None]]] = []
        self.is_dead = False
        self.settlements: list[Settlement] = []

    @property
    def as_store(self) -> Store:
        """Return itself as what it stands for."""
        return cast("Store", self)  # its other methods are the store's own, by `__getattr__`

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **named: Any) -> Any:
            await self._turns()
            found = await method(*args, **named)
            await self._turns()
            return found

        return call

    async def _turns(self) -> None:
        for _ in range(self._dice.randrange(4) if self._dice else 0):
            await asyncio.sleep(0)
        if self.is_dead:
            raise asyncio.CancelledError
        if self.is_away:
            raise StoreAway("the store is away")

    def listen(self, woken: Callable[[Any], None]) -> None:
        """Wake the living only."""
        self._store.listen(lambda heads: None if self.is_dead else woken(heads))

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Write, or fail, or take a while and perhaps not live to see it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        lag_s = self._dice.random() * self._lag_s if self._dice else 0.0
        if self.is_slow:
            self.waiting.append((settlement, future))
        elif lag_s:
            loop.call_later(lag_s, self._settle, settlement, future)
        else:
            self._settle(settlement, future)
        return future

    def catch_up(self) -> None:
        """Write what waits, and be slow no more."""
        self.is_slow = False
        while self.waiting:
            self._settle(*self.waiting.pop(0))

    def _settle(self, settlement: Settlement, future: asyncio.Future[None]) -> None:
        if self.is_dead or future.done():
            return
        if self.is_away or self.fails:
            self.fails = max(0, self.fails - 1)
            future.set_exception(StoreAway("the store is away"))
            return
        self.settlements.append(settlement)
        self._store.settle(settlement)
        future.set_result(None)


class FrailSender(ScriptedSender):
    """One process's sender in a world that has receivers and an account; once dead it hears no answers any more."""

    def __init__(self, world: CrashWorld) -> None:
        super().__init__()
        self._world = world
        self.is_dead = False

    def post(
        self,
        request: Request,
        *,
        done: Callable[[Answer], None],
        may_send: Callable[[], bool] | None = None,
        **terms: Any,
    ) -> None:
        if self.is_dead:
            return
        if may_send is not None and not may_send():
            asyncio.get_running_loop().call_soon(done, WITHHELD)
            return
        self._world.account.posted(request)

        def end() -> None:
            answer = self._world.answer(request)
            self._world.account.answered(request, answer)
            if not self.is_dead:
                done(answer)

        asyncio.get_running_loop().call_later(self._world.delay_s(request), end)


class Account:
    """What receivers saw, whatever became of the processes that sent it: names are url and `webhook-id`.

    `silenced` are urls that nothing may be sent to any more; what is sent there all the same is `unwanted`.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[str, str, Request]] = []
        self.on_wire: Counter[tuple[str, str]] = Counter()
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.silenced: set[str] = set()
        self.unwanted: list[tuple[str, str]] = []
        self.may_repeat: Counter[tuple[str, str]] = Counter()

    def posted(self, request: Request) -> None:
        name = _name(request)
        self.posts.append((*name, request))
        self.on_wire[name] += 1
        if request.url in self.silenced:
            self.unwanted.append(name)

    def answered(self, request: Request, answer: Answer) -> None:
        name = _name(request)
        self.on_wire[name] -= 1
        self.accepted[name] += isinstance(answer, Response) and 200 <= answer.status <= 299

    def killed(self, settled: set[tuple[str, str]], urls: Container[str] | None = None) -> None:
        """Take note of what a new process may send once more: what was on the wire, and what was not written yet.

        Only what was sent to these urls, when they are given.
        """
        names = {name for name, count in self.on_wire.items() if count}
        names |= {name for name in self.accepted if not self.on_wire[name] and name not in settled}
        self.may_repeat.update(name for name in names if urls is None or name[0] in urls)

    @property
    def repeated(self) -> Counter[tuple[str, str]]:
        """Return what was accepted more often than once, beyond what kills excuse."""
        return Counter({name: count - 1 for name, count in self.accepted.items()}) - self.may_repeat


def _name(request: Request) -> tuple[str, str]:
    return request.url, dict(request.headers)["webhook-id"]


class CrashWorld(World):
    """An engine that can be killed at any moment, with a new one on the same store."""

    def __init__(self, dice: Random, *, lag_s: float = 0.005, **settings: Any) -> None:
        self.dice = dice
        self.account = Account()
        self.memory = MemoryStore()
        self.lag_s = lag_s
        self.answer: Callable[[Request], Answer] = lambda _: Response(200)
        self.delay_s: Callable[[Request], float] = lambda _: 0.0
        super().__init__(self.memory, **settings)

    def _make(self) -> LogEngine:
        self.frail = FrailStore(self.memory, self.dice, lag_s=self.lag_s)
        self.wire = FrailSender(self)
        return LogEngine(
            store=self.frail.as_store,
            sender=self.wire,
            clock=self.clock,
            ids=ids,
            vault=self.vault,
            settings=self.settings,
            dice=self.dice,
        )

    async def kill(self) -> None:
        """End the process without a word, and begin another."""
        self.frail.is_dead = self.wire.is_dead = True
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.account.killed(self.written())
        self.engine = self._make()
        await self.start()

    def written(self) -> set[tuple[str, str]]:
        """Return what is settled on disk, by url and `webhook-id`."""
        urls = {number: subscription.url for number, subscription in self.memory._subscriptions.items()}
        return {
            (urls.get(key.subscription, ""), name)
            for key, settled in self.memory._settled.items()
            for name in _names_of(key, settled)
        }

    def ends(self, subscription: Subscription) -> list[Settled]:
        """Return what was settled of a subscription."""
        return [each for key, each in self.memory._settled.items() if key.subscription == subscription.number]


def _names_of(key: Key, settled: Settled) -> tuple[str, ...]:
    return ids.event(key.partition, key.last_offset, key.last_ms), ids.delivery(key)


def covered(ends: list[Settled]) -> int:
    """Return for how many events these ends stand: what was merged has not ended yet."""
    return sum(each.count or len(each.members) + 1 for each in ends if each.state is not State.MERGED)
