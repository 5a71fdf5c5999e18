"""Take in flushes that are written in one commit: of one row they leave what the last of them says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angarium.model.delivery import Attempt, Key, LaneRow, Open, Settled
    from angarium.store.contract import Settlement


class Flushes:
    """What some flushes, taken in in their order, make of each row; None deletes it."""

    def __init__(self) -> None:
        self._settled: dict[Key, Settled] = {}
        self._attempts: dict[tuple[Key, int], Attempt] = {}
        self._opens: dict[Key, Open | None] = {}
        self._lanes: dict[tuple[int, int], LaneRow | None] = {}
        self._watermarks: dict[int, int] = {}

    def add(self, settlement: Settlement) -> None:
        """Take in a flush: what it deletes first."""
        self._opens |= dict.fromkeys(settlement.closed)
        self._lanes |= dict.fromkeys(settlement.lanes_gone)
        self._opens |= {opened.key: opened for opened in settlement.opened}
        self._lanes |= {(lane.partition, lane.subscription): lane for lane in settlement.lanes}
        self._settled |= {settled.key: settled for settled in settlement.settled}
        self._attempts |= {(attempt.key, attempt.number): attempt for attempt in settlement.attempts}
        self._watermarks |= settlement.watermarks

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to write."""
        return not (self._settled or self._attempts or self._opens or self._lanes or self._watermarks)
