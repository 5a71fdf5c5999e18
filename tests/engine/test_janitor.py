"""Drop what is old on a clock that is moved by hand, and pause when that clock cannot be trusted."""

from __future__ import annotations

from angarium.clock import Moment
from angarium.engine.janitor import CLOCK_PAUSE_S, DAY_MS, EXPIRE_REST_S, REST_S, ROWS_MAX, Janitor
from angarium.errors import StoreAway
from angarium.model.event import Event
from angarium.settings import Settings
from angarium.store.contract import Publish, Settlement
from angarium.store.memory import MemoryStore

NOON_MS = 1_795_348_800_000


class TwoClocks:
    """A wall clock and a monotonic one, moved by hand."""

    def __init__(self) -> None:
        self.mono, self.wall_ms = 1000.0, NOON_MS

    def now(self) -> Moment:
        return Moment(self.mono, self.wall_ms)

    def tick(self, seconds: float, *, jump_s: float = 0.0) -> None:
        self.mono += seconds
        self.wall_ms += int((seconds + jump_s) * 1000)


class AwayStore(MemoryStore):
    """A store that may be away when something is to be dropped."""

    is_away = False
    calls = 0

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        self.calls += 1
        if self.is_away:
            raise StoreAway("the store is away")
        return await super().retain(before_ms=before_ms, limit=limit, now_ms=now_ms)


class House:
    """A janitor, and what he keeps in order."""

    def __init__(self, *, retention_days: int = 30, retention_max: int = 90) -> None:
        self.store, self.clock = AwayStore(), TwoClocks()
        self.expired: list[int] = []
        settings = Settings(retention_days=retention_days, retention_max=retention_max)
        self.janitor = Janitor(store=self.store, clock=self.clock, settings=settings, expire=self.expired.append)

    async def publish(self, count: int, *, age_days: float) -> int:
        """Publish events that were accepted so long ago and have been settled; return their partition."""
        events = tuple(Event("p", "1", "item", str(number), "update") for number in range(count))
        receipt = await self.store.accept(Publish("p", events, NOON_MS - int(age_days * DAY_MS)))
        last = receipt.places[-1]
        await self.store.settle(Settlement(watermarks={last.partition: last.offset}))
        return last.partition


async def test_what_is_older_than_the_retention_goes() -> None:
    house = House(retention_days=30)
    partition = await house.publish(3, age_days=31)
    await house.publish(2, age_days=29)
    assert await house.janitor.retain() == 3
    assert [entry.offset for entry in await house.store.read(partition, after=0, limit=10)] == [4, 5]


async def test_much_goes_in_small_steps() -> None:
    house = House(retention_days=30)
    await house.publish(2 * ROWS_MAX + 10, age_days=31)
    assert (await house.janitor.retain(), house.store.calls) == (2 * ROWS_MAX + 10, 3)


async def test_lanes_let_go_of_what_is_older_than_anything_may_be_once_an_hour() -> None:
    house = House(retention_days=30, retention_max=90)
    await house.janitor.retain()
    house.clock.tick(EXPIRE_REST_S - 1)
    await house.janitor.retain()
    assert house.expired == [NOON_MS - 90 * DAY_MS]
    house.clock.tick(2)
    await house.janitor.retain()
    assert len(house.expired) == 2


async def test_each_step_names_the_rest_before_the_next() -> None:
    house = House()
    for _ in range(3):
        house.clock.tick(REST_S)
        assert await house.janitor.step() == REST_S
    assert house.store.calls == 3


async def test_after_a_jump_of_the_wall_clock_nothing_is_dropped_for_ten_minutes() -> None:
    """It rested for one minute only, and then dropped what a wrong clock called old."""
    house = House()
    await house.publish(3, age_days=1)
    house.clock.tick(REST_S, jump_s=365 * 86_400)
    assert (await house.janitor.step(), house.store.calls) == (CLOCK_PAUSE_S, 0)
    house.clock.tick(CLOCK_PAUSE_S, jump_s=-365 * 86_400)  # Somebody has put it right.
    assert (await house.janitor.step(), house.store.calls) == (CLOCK_PAUSE_S, 0)
    house.clock.tick(CLOCK_PAUSE_S)
    assert (await house.janitor.step(), house.store.calls) == (REST_S, 1)
    assert sum((await house.store.floors()).values()) == 0


async def test_a_clock_that_drifts_slowly_is_trusted() -> None:
    house = House()
    for _ in range(10):
        house.clock.tick(REST_S, jump_s=20)
        assert await house.janitor.step() == REST_S


async def test_a_store_that_is_away_is_tried_again() -> None:
    house = House()
    house.store.is_away = True
    house.clock.tick(REST_S)
    assert await house.janitor.step() == REST_S
    house.store.is_away = False
    house.clock.tick(REST_S)
    assert (await house.janitor.step(), house.store.calls) == (REST_S, 2)


async def test_it_runs_and_ends() -> None:
    house = House()
    house.janitor.open()
    await house.janitor.close()
    assert house.store.calls == 0


async def test_rows_are_left_to_another_process_whose_they_are_to_drop() -> None:
    house = House()
    await house.publish(3, age_days=40)
    house.janitor._is_ours = lambda: False
    assert await house.janitor.retain() == 0
    assert len(house.expired) == 1
    house.janitor._is_ours = lambda: True
    assert await house.janitor.retain() > 0
