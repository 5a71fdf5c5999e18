"""Serve a share of the partitions: take some up, hand some over, or drop at once what is others' now.

| a partition is | its lanes | what others know of it |
|---|---|---|
| just taken up | are filled from the store, and send nothing yet | all that its last owner has written |
| served | are handed what the log owes, and send | what was settled; behind lanes and what has failed, by their rows |
| leaving | seal and send nothing more; what is on the wire may end | what is still on the wire, too, by a row |
| dropped | are gone; what still ends means nothing | the same: they go on from there |

Who owns what is `engine.supervisor`'s to see to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.engine.recounting import recount
from angarium.engine.recovery import Recovery
from angarium.errors import OwnershipLost
from angarium.model.delivery import Open

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from angarium.clock import Clock
    from angarium.core.effects import Delivery
    from angarium.engine.catchup import CatchUp
    from angarium.engine.courier import Courier
    from angarium.engine.lanes import Lanes
    from angarium.engine.recovery import Recovered
    from angarium.engine.registry import Registry
    from angarium.engine.ring import Ring
    from angarium.engine.settler import Settler
    from angarium.engine.tail import Tail
    from angarium.store.contract import Store

_LOOK_S = 0.01


class _Taking:
    """A take-up under way, and in which of its partitions something was changed meanwhile."""

    def __init__(self) -> None:
        self.changed: set[int] = set()


class Share:
    """The partitions that are served here. `late` is called with those that changed while they were taken up."""

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        *,
        store: Store,
        clock: Clock,
        registry: Registry,
        catchup: CatchUp,
        ring: Ring,
        settler: Settler,
        tail: Tail,
        lanes: Lanes,
        late: Callable[[Collection[int]], None],
    ) -> None:
        self._store, self._clock, self._registry, self._catchup = store, clock, registry, catchup
        self._ring, self._settler, self._tail, self._lanes = ring, settler, tail, lanes
        self._late = late
        self._taking: dict[int, _Taking] = {}
        self._held_ms: dict[int, int] = {}  # since when nothing more of a partition is sent
        self.served: set[int] = set()
        self.written: dict[int, int] = {}  # watermarks, as the store has them

    @property
    def held(self) -> frozenset[int]:
        """Return all partitions of which anything is held, those that leave or are just taken up included."""
        return frozenset({*self.served, *self._lanes.resting})

    def touch(self, partitions: Collection[int]) -> set[int]:
        """Take note that the registry of partitions has changed; return those that are served."""
        for partition in self._taking.keys() & set(partitions):
            self._taking[partition].changed.add(partition)
        return self.served & set(partitions)

    # -- taken up ---------------------------------------------------------------------------------------------------

    async def take_up(self, partitions: Collection[int]) -> Recovered:
        """Serve these partitions, too, from where their last owner stopped; whatever fails leaves nothing of them."""
        taking = _Taking()
        self._taking |= dict.fromkeys(partitions, taking)
        self._lanes.resting.update(partitions)
        try:
            found = await self._recover(partitions)
            self._check_is_ours(partitions, taking)
        except BaseException:
            # What was dropped meanwhile may have been filled since; what is taken up once more is not ours to drop.
            self.drop([each for each in partitions if self._taking.get(each) in {taking, None}])
            raise
        self._begin(partitions, found, taking.changed)
        return found

    def _check_is_ours(self, partitions: Collection[int], taking: _Taking) -> None:
        if any(self._taking.get(partition) is not taking for partition in partitions):
            raise OwnershipLost("partitions were lost while they were taken up")

    async def _recover(self, partitions: Collection[int]) -> Recovered:
        for partition in partitions:
            self._registry.forget_partition(partition)  # Others may have changed them unseen.
        recovery = Recovery(
            self._store, self._registry, self._lanes, self._settler, self._clock.now(), partitions=partitions
        )
        found = await recovery.run()
        # Before anything moves: a marker that comes soon ends a lane with the count that it has then.
        await recount(found.behind, found.positions, registry=self._registry, catchup=self._catchup)
        return found

    def _begin(self, partitions: Collection[int], found: Recovered, changed: Collection[int]) -> None:
        for partition in partitions:
            del self._taking[partition]
        self.served.update(partitions)
        self.written |= found.positions
        self._tail.learn(found.heads)
        self._tail.take_up(found.positions)
        self._lanes.resume(partitions)
        if changed:
            self._late(changed)

    # -- handed over ------------------------------------------------------------------------------------------------

    async def hand_over(self, partitions: Collection[int], *, within_s: float) -> None:
        """Seal no more of these partitions, wait so long for what is on the wire, and write all that others must know.

        What is then still on the wire is due, for others, at its deadline. Nothing is held of them afterwards.
        """
        began = self._clock.now()
        self.hold(partitions)
        busy = self._busy(partitions)
        # Each attempt's end would have to look whether somebody waits for it: a look now and then costs less.
        while any(courier.lane.in_flight for courier in busy) and self._clock.now().mono < began.mono + within_s:  # noqa: ASYNC110  as said
            await asyncio.sleep(_LOOK_S)
        await self._write(partitions)
        await self._settler.settle_all()
        self.drop(partitions)

    def hold(self, partitions: Collection[int]) -> None:
        """Seal and send nothing more of these partitions."""
        now_ms = self._clock.now().wall_ms
        for partition in partitions:
            self._held_ms.setdefault(partition, now_ms)
        self.served.difference_update(partitions)
        self._tail.hold(partitions)
        self._lanes.hold(partitions)

    def idle(self, partitions: Collection[int]) -> frozenset[int]:
        """Return those of some partitions that have nothing on the wire."""
        return frozenset(partitions) - {courier.lane.partition for courier in self._busy(partitions)}

    def _busy(self, partitions: Collection[int]) -> list[Courier]:
        return [courier for courier in self._lanes.of(partitions) if courier.lane.in_flight]

    async def _write(self, partitions: Collection[int]) -> None:
        """Write what is on the wire as open, due at its deadline: it has a row, which is written again, or gets one."""
        couriers = self._lanes.of(partitions)
        again = [(each, delivery) for each in couriers for delivery in _on_wire(each) if delivery.has_row]
        for courier in couriers:
            self._lanes.leave(courier, due_ms=self._deadline_ms(courier))
        for courier, delivery in again:
            row = self._settler.opened(delivery.key) or await self._store.delivery(delivery.key)
            if isinstance(row, Open) and delivery.is_on_wire and not courier.is_gone:  # All may be lost by now.
                self._settler.open(replace(row, next_ms=self._deadline_ms(courier)))

    def _deadline_ms(self, courier: Courier) -> int:
        """Return when what is on the wire will have ended: it began before its partition was held."""
        return self._held_ms[courier.lane.partition] + int(courier.route.policy.timeout_s * 1000)

    # -- dropped ----------------------------------------------------------------------------------------------------

    def drop(self, partitions: Collection[int]) -> None:
        """Forget all that is held of these partitions, and write nothing more of them."""
        dropped = frozenset(partitions)
        self.served -= dropped
        for partition in dropped:
            self._taking.pop(partition, None)
            self.written.pop(partition, None)
            self._held_ms.pop(partition, None)
        self._tail.drop(dropped)
        self._lanes.drop(dropped)
        self._ring.drop(dropped)
        self._catchup.drop(dropped)
        self._settler.drop(dropped)
        self._tail.resume()
        self._lanes.pump()


def _on_wire(courier: Courier) -> list[Delivery]:
    return [each for each in courier.lane.opened.deliveries.values() if each.is_on_wire]
