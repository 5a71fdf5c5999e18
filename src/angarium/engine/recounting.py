"""Count anew, after a crash, what waits for lanes that are behind: their rows are not written with every event."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from angarium.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.engine.catchup import CatchUp
    from angarium.engine.courier import Courier
    from angarium.engine.registry import Registry

LANES_MAX = 1000
"""A tenant with more lanes behind than that keeps the counts that its rows have: they are right again once read."""


async def recount(
    behind: Mapping[int, tuple[Courier, int]], positions: Mapping[int, int], *, registry: Registry, catchup: CatchUp
) -> None:
    """Add to each lane's count what lies between the offset that its row was counted to and the tail's beginning."""
    tenants: defaultdict[tuple[str, str], list[tuple[Courier, int]]] = defaultdict(list)
    for courier, counted_to in behind.values():
        subscription = courier.route.subscription
        if counted_to < positions.get(subscription.partition, 0):
            tenants[subscription.project, subscription.tenant].append((courier, counted_to))
    for owner, lanes in tenants.items():
        if len(lanes) <= LANES_MAX:
            await _recount_tenant(owner, lanes, positions, registry=registry, catchup=catchup)
    for courier, _ in behind.values():  # Only now: a row that is written before says how far it was counted.
        courier.lane.counted_to = max(courier.lane.counted_to, positions.get(courier.lane.partition, 0))


async def _recount_tenant(
    owner: tuple[str, str],
    lanes: Sequence[tuple[Courier, int]],
    positions: Mapping[int, int],
    *,
    registry: Registry,
    catchup: CatchUp,
) -> None:
    wanted = {courier.lane.number: (courier, counted_to) for courier, counted_to in lanes}
    after = min(counted_to for _, counted_to in lanes)
    end = positions[lanes[0][0].lane.partition]
    while after < end:
        tenant = await registry.load(*owner)
        page = await catchup.read(*owner, after=after)
        for entry in page.entries:
            if entry.offset > end or entry.kind is Kind.MARKER:
                continue
            for number in tenant.push(entry):
                courier, counted_to = wanted.get(number, (None, 0))
                if courier is not None and entry.offset > max(counted_to, courier.lane.progress.read_to):
                    courier.lane.waiting += entry.offset not in courier.lane.progress.ahead
        if page.scanned_to <= after:
            return
        after = page.scanned_to
        await asyncio.sleep(0)
