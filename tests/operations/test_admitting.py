"""The gate: everybody in order, nobody for ever, and never more in one turn than leaves room for sending."""

from __future__ import annotations

import asyncio

import pytest

from angarium.operations import admitting
from angarium.operations.admitting import INSIDE_MAX, PER_TURN, WAITING_MAX, Gate, allow
from tests.api.fronting import eventually


class Yard:
    """A gate, and who was let in or turned away."""

    def __init__(self) -> None:
        self.has_room = True
        self.inside: list[int] = []
        self.refused: list[int] = []
        self.gate = Gate[int](has_room=lambda: self.has_room, admit=self.inside.append, refuse=self.refused.append)

    def come(self, *numbers: int) -> None:
        for number in numbers:
            self.gate.enter(number)

    async def settle(self) -> None:
        await eventually(lambda: not self.gate.waiting)


async def test_while_there_is_room_nobody_waits() -> None:
    yard = Yard()
    yard.come(1, 2, 3)
    assert yard.inside == [1, 2, 3]


async def test_a_flood_is_let_in_over_several_turns_in_order() -> None:
    yard = Yard()
    yard.come(*range(PER_TURN * 3))
    assert yard.inside == list(range(PER_TURN))
    await asyncio.sleep(0)
    assert PER_TURN < len(yard.inside) <= PER_TURN * 2
    await yard.settle()
    assert yard.inside == list(range(PER_TURN * 3))


async def test_who_comes_later_does_not_overtake() -> None:
    yard = Yard()
    yard.has_room = False
    yard.come(1)
    yard.has_room = True
    yard.come(2)
    await yard.settle()
    assert yard.inside == [1, 2]


async def test_without_room_they_still_come_in_a_few_at_a_time_and_in_order() -> None:
    """When sending is saturated the log is the queue, so publishers are slowed down, not turned away."""
    yard = Yard()
    yard.has_room = False
    yard.come(*range(500))
    assert yard.inside == []
    await eventually(lambda: yard.inside)
    assert yard.gate.waiting
    await yard.settle()
    assert yard.inside == list(range(500))


@pytest.mark.parametrize(
    ("allowance", "busy", "late_s", "next_allowance"),
    [
        (1, 0.1, 0.0, 2),
        (64, 0.5, 0.001, 128),
        (128, 0.0, 0.0, 128),
        (64, 0.1, 0.1, 32),
        (64, 0.9, 0.0, 32),
        (1, 0.9, 0.1, 1),
    ],
)
def test_how_many_come_in_without_room_follows_the_time_to_spare(
    allowance: int, busy: float, late_s: float, next_allowance: int
) -> None:
    assert allow(allowance, busy=busy, late_s=late_s) == next_allowance


async def test_only_so_many_may_wait() -> None:
    yard = Yard()
    yard.has_room = False
    yard.come(*range(WAITING_MAX + 2))
    assert yard.refused == [WAITING_MAX, WAITING_MAX + 1]
    yard.gate.close()


async def test_only_so_many_may_be_inside() -> None:
    yard = Yard()
    yard.gate.inside = INSIDE_MAX
    yard.come(1)
    await asyncio.sleep(0.01)
    assert yard.inside == []
    yard.gate.left()
    await yard.settle()
    assert yard.inside == [1]


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitting, "WAITS_MAX_S", 0.01)
    yard = Yard()
    yard.gate.inside = INSIDE_MAX
    yard.come(1, 2)
    await yard.settle()
    assert (yard.inside, yard.refused) == ([], [1, 2])


async def test_a_closed_gate_turns_everybody_away() -> None:
    yard = Yard()
    yard.has_room = False
    yard.come(1)
    yard.gate.close()
    yard.has_room = True
    yard.come(2)
    assert (yard.inside, yard.refused) == ([], [1, 2])
