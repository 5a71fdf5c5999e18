"""Kill whole engines at random moments: every owed event ends settled, in order, and little is sent twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from angarium.dialects import registry as dialects
from angarium.engine import routes
from angarium.model.subscription import Status
from tests.engine.traffic import MERGING, Traffic

if TYPE_CHECKING:
    from angarium.dialects.dialect import Dialect

SEEDS = 12


@pytest.fixture(autouse=True)
def _one_that_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Dialect] = {**dialects.DIALECTS, "merging": MERGING}
    monkeypatch.setattr(routes, "dialect_of", known.__getitem__)


async def _rest(traffic: Traffic) -> None:
    await asyncio.sleep(traffic.dice.random() * 0.03)
    if traffic.dice.random() < 0.2:
        traffic.w.engine._lanes._sweep()  # It comes every ten seconds: who waits for long falls asleep.
    if traffic.dice.random() < 0.4:
        await traffic.w.kill()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_every_owed_event_ends_settled_once_whatever_dies(seed: int) -> None:
    traffic = Traffic(seed)
    await traffic.start()
    for _ in range(traffic.dice.randrange(3, 12)):
        await traffic.publish()
        await _rest(traffic)
    await traffic.end()
    assert traffic.ended() == traffic.owed
    assert not traffic.w.account.repeated
    ordered = [each for each in traffic.subscriptions if each.overrides.get("ordering") != "none"]
    assert all(traffic.first_posts_in_order(each) for each in ordered)
    await traffic.w.engine.close(within_s=1.0)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_sent_to_whom_it_should_not_while_all_changes_and_dies(seed: int) -> None:
    traffic = Traffic(1000 + seed)
    await traffic.start()
    for _ in range(traffic.dice.randrange(5, 20)):
        await traffic.publish()
        await traffic.change_something()
        await _rest(traffic)
    for place, each in enumerate(traffic.subscriptions):
        if each.status is Status.PAUSED:
            await traffic.change(place, status=Status.ACTIVE)
    await traffic.end()
    assert not traffic.w.account.unwanted
    assert traffic.ended() == traffic.owed
    assert not traffic.w.account.repeated
    await traffic.w.kill()
    await traffic.w.quiet()
    left = {row.subscription for row in await traffic.w.memory.lanes()} | {
        row.key.subscription for row in await traffic.w.memory.opens()
    }
    assert left <= {each.number for each in traffic.subscriptions if each.status is Status.ACTIVE}
    await traffic.w.engine.close(within_s=1.0)
