"""Let deliveries of one object wait for each other, and be due at their moments."""

from __future__ import annotations

from angarium.core.effects import Delivery
from angarium.core.opening import Opened
from angarium.model.delivery import Key

A, B = ("item", "a"), ("item", "b")


def delivery(offset: int, *objects: tuple[str, str], has_row: bool = False) -> Delivery:
    return Delivery(Key(0, offset, 1, 0), None, objects=objects, has_row=has_row)


def test_the_first_of_an_object_goes_and_the_next_waits_for_it() -> None:
    opened, first, second = Opened(), delivery(1, A), delivery(2, A)
    assert (opened.add(first), opened.add(second), opened.add(delivery(3, B))) == (True, False, True)
    assert opened.head(A) is first
    assert opened.remove(first, 7.0) == []
    assert (opened.head(A), opened.due_at()) == (second, 7.0)
    assert opened.remove(second, 8.0) == [A]
    assert opened.head(A) is None


def test_one_that_waits_may_be_settled_before_its_turn() -> None:
    opened, first, second = Opened(), delivery(1, A), delivery(2, A)
    opened.add(first)
    opened.add(second)
    assert opened.remove(second, 0.0) == []
    assert opened.due_at() is None
    assert opened.remove(first, 0.0) == [A]


def test_a_delivery_of_several_objects_frees_them_all() -> None:
    opened, both = Opened(), delivery(2, A, B)
    opened.add(both)
    assert sorted(opened.remove(both, 0.0)) == [A, B]
    assert not opened.has_chains()


def test_what_is_due_comes_in_order_of_its_moments() -> None:
    opened, late, soon = Opened(), delivery(1), delivery(2)
    for each, at in ((late, 9.0), (soon, 3.0)):
        opened.add(each)
        opened.schedule(each, at)
    assert (opened.next_due(2.9), opened.due_at()) == (None, 3.0)
    assert (opened.next_due(10.0), opened.next_due(10.0), opened.next_due(10.0)) == (soon, late, None)


def test_what_was_moved_settled_or_is_on_the_wire_is_not_due() -> None:
    opened, moved, gone, busy = Opened(), delivery(1), delivery(2), delivery(3)
    for each in (moved, gone, busy):
        opened.add(each)
        opened.schedule(each, 1.0)
    moved.next_at = 5.0
    opened.remove(gone, 0.0)
    busy.is_on_wire = True
    assert opened.next_due(2.0) is None


def test_rows_are_counted_once() -> None:
    opened, with_row, without = Opened(), delivery(1, has_row=True), delivery(2)
    opened.add(with_row)
    opened.add(without)
    assert opened.rows == 1
    opened.gives_row(without)
    opened.gives_row(without)
    assert opened.rows == 2
    opened.remove(with_row, 0.0)
    assert (opened.rows, len(opened)) == (1, 1)
