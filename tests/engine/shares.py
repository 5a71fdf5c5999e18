"""Let several engines share one store: who owns what is as a test says, and changes while they run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from angarium.engine.engine import LogEngine
from angarium.errors import OwnershipLost, StoreAway
from angarium.model.event import PARTITIONS
from angarium.store.contract import Balance
from tests.engine.faults import CrashWorld, FrailSender, FrailStore
from tests.engine.world import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from random import Random

    from angarium.model.delivery import Attempt, Open, Settled
    from angarium.model.event import Event, Place
    from angarium.model.subscription import Subscription
    from angarium.store.contract import Settlement
    from angarium.store.memory import MemoryStore


class Locks:
    """Who holds each partition, as a database would know; `wanted` says who should."""

    def __init__(self, members: int) -> None:
        self.holders: dict[int, Member] = {}
        self.wanted: dict[int, int] = {partition: partition % members for partition in range(PARTITIONS)}
        self.members: list[Member] = []
        self.told: Callable[[Collection[int]], None] = lambda _: None
        self.moves = 0

    def wants(self, member: Member) -> frozenset[int]:
        """Return what should be a member's: what is wanted of one that has left goes to the first that is there."""
        there = [each for each in self.members if each.is_in]
        wanted = (self.members[number] for number in self.wanted.values())
        heirs = (each if each.is_in else (there or [each])[0] for each in wanted)
        return frozenset(partition for partition, heir in zip(self.wanted, heirs, strict=True) if heir is member)


class Member:
    """One worker's share."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._lost: list[Callable[[], None]] = []
        self.is_in = self.is_away = self.is_mute = False
        locks.members.append(self)

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(partition for partition, holder in self._locks.holders.items() if holder is self)

    async def join(self) -> None:
        self.is_in = True

    async def balance(self) -> Balance:
        if self.is_away:
            raise StoreAway("the database is away")
        wanted = self._locks.wants(self) if self.is_in else frozenset()
        gained = wanted - self._locks.holders.keys()
        self._locks.moves += len(gained)
        self._locks.holders.update(dict.fromkeys(gained, self))
        return Balance(gained, self.owned - wanted)

    async def retire(self) -> None:
        self.is_in = False

    async def release(self, partitions: Collection[int]) -> None:
        mine = self.owned & frozenset(partitions)
        self._locks.told(mine)
        for partition in mine:
            del self._locks.holders[partition]

    async def leave(self) -> None:
        self.is_in = False
        await self.release(self.owned)

    def may_send(self) -> bool:
        return not self.is_mute

    def lost(self, callback: Callable[[], None]) -> None:
        self._lost.append(callback)

    def sever(self) -> None:
        """Lose everything at once."""
        mine = self.owned
        self._locks.told(mine)
        for partition in mine:
            del self._locks.holders[partition]
        for callback in self._lost:
            callback()


class ShareStore(FrailStore):
    """One worker's connection: it settles nothing of a partition that the worker does not own."""

    def __init__(self, store: MemoryStore, dice: Random | None, owner: Member, *, lag_s: float) -> None:
        super().__init__(store, dice, lag_s=lag_s)
        self.owner = owner
        self.refused = 0

    def _settle(self, settlement: Settlement, future: asyncio.Future[None]) -> None:
        if _partitions_of(settlement) <= self.owner.owned:
            super()._settle(settlement, future)
        elif not future.done():
            self.refused += 1
            future.set_exception(OwnershipLost("a partition is not owned here"))


def _partitions_of(settlement: Settlement) -> set[int]:
    rows: Iterable[Settled | Attempt | Open] = (*settlement.settled, *settlement.attempts, *settlement.opened)
    keys = (*(row.key for row in rows), *settlement.closed)
    lanes = (row.partition for row in settlement.lanes)
    gone = (partition for partition, _ in settlement.lanes_gone)
    return {*(key.partition for key in keys), *lanes, *gone, *settlement.watermarks}


class Worker:
    """One process of several: its engine, its connection, and its sender."""

    def __init__(self, world: ShareWorld) -> None:
        self.member = Member(world.locks)
        self.store = ShareStore(world.memory, world.dice, self.member, lag_s=world.lag_s)
        self.wire = FrailSender(world)
        self.engine = LogEngine(
            store=self.store.as_store,
            sender=self.wire,
            clock=world.clock,
            ids=ids,
            vault=world.vault,
            settings=world.settings,
            dice=world.dice,
        )


class Outside:
    """What the others are to one that is no worker: it writes to the store, and they are to find out by themselves."""

    def __init__(self, world: ShareWorld) -> None:
        self._world = world

    async def changed(self, _: Subscription) -> None:
        """Wait until everybody has found out, as everybody does within a second."""
        engines = [each.engine for each in self._world.workers]
        for _turn in range(2):  # Who moves a partition meanwhile may find out a little later.
            await asyncio.sleep(0.01)
            await self._world.until(
                lambda: not any(each._changes._is_reading or each._share._taking for each in engines)
            )

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Let one of the others be the publisher's own process, whether it owns the partition or not."""
        self._world.dice.choice(self._world.workers).engine.offer(events, places)


class ShareWorld(CrashWorld):
    """Several engines on one store; nothing is sent twice but what was on the wire when a partition was let go."""

    def __init__(self, dice: Random, *, workers: int = 2, lag_s: float = 0.005, **settings: Any) -> None:
        self.locks = Locks(workers)
        self.locks.told = self._excuse
        self.workers: list[Worker] = []
        self._count = workers
        super().__init__(dice, lag_s=lag_s, **settings)

    def _make(self) -> Any:
        return Outside(self)

    async def start(self) -> None:
        self.workers = [Worker(self) for _ in range(self._count)]
        await asyncio.gather(*(each.engine.open() for each in self.workers))
        for each in self.workers:
            each.engine.watch(lambda _, settled: self.settled.extend(settled))

    async def close(self, *, within_s: float = 1.0) -> None:
        await asyncio.gather(*(each.engine.close(within_s=within_s) for each in self.workers))

    async def move(self, wanted: dict[int, int]) -> None:
        """Want partitions elsewhere, and wait until they are there and served."""
        self.locks.wanted |= wanted
        await self.until(lambda: all(self.served_by(partition) == worker for partition, worker in wanted.items()))

    def served_by(self, partition: int) -> int | None:
        """Return which worker serves a partition."""
        serving = [number for number, each in enumerate(self.workers) if partition in each.engine._share.served]
        assert len(serving) < 2, f"{partition} is served twice"
        return serving[0] if serving else None

    async def quiet(self) -> None:
        """Wait until nothing is owed, and all is written."""
        await self.until(lambda: all(each.engine.figures()["backlog_events"] == 0 for each in self.workers))
        for each in self.workers:
            await each.engine._settler.settle_all()

    def _excuse(self, partitions: Collection[int]) -> None:
        """Take note of what may be sent once more, for the partitions that it is of are others' from now on."""
        urls: defaultdict[int, set[str]] = defaultdict(set)
        for each in self.memory._subscriptions.values():
            urls[each.partition].add(each.url)
        self.account.killed(self.written(), {url for partition in partitions for url in urls[partition]})
