"""Let events wait in their order, and for their objects."""

from __future__ import annotations

from angarium.core.coalescing import object_of
from angarium.core.queueing import Queue
from angarium.core.sealing import size_of
from angarium.model.event import Entry, Event

A, B = ("item", "a"), ("item", "b")


def entry(offset: int, object_id: str = "a") -> Entry:
    return Entry(0, offset, 0, Event("p", "t", "item", object_id, "update", b"{}"))


def filled(*entries: Entry) -> Queue:
    queue = Queue()
    for each in entries:
        queue.push(each, 5.0)
    return queue


def test_events_come_out_as_they_went_in_and_are_weighed() -> None:
    queue = filled(entry(1), entry(2, "b"))
    assert (len(queue), queue.bytes) == (2, 2 * size_of(entry(1)))
    assert [queue.pop().offset, queue.pop().offset] == [1, 2]
    assert (len(queue), queue.bytes, queue.held) == (0, 0, 0)


def test_the_first_event_s_moment_is_kept_until_the_queue_is_empty() -> None:
    queue = filled(entry(1))
    queue.push(entry(2), 9.0)
    assert queue.since == 5.0
    queue.pop()
    queue.pop()
    queue.push(entry(3), 9.0)
    assert queue.since == 9.0


def test_what_waits_for_its_object_comes_back_before_all_others() -> None:
    queue = filled(entry(4))
    queue.block(entry(2), A)
    queue.block(entry(3), A)
    assert (queue.held, len(queue), queue.is_blocked(A), queue.is_blocked(B)) == (3, 1, True, False)
    queue.put_first(queue.unblock(A))
    assert [each.offset for each in queue.entries] == [2, 3, 4]
    assert queue.unblock(A) == []


def test_setting_aside_keeps_the_others_in_order() -> None:
    queue = filled(entry(1), entry(2, "b"), entry(3), entry(4, "b"))
    taken: list[int] = []

    def block(each: Entry) -> bool:
        if object_of(each) == A:
            taken.append(each.offset)
        return object_of(each) == A

    queue.set_aside(block)
    assert (taken, [each.offset for each in queue.entries]) == ([1, 3], [2, 4])
    assert queue.bytes == 2 * size_of(entry(2))


def test_clearing_names_all_that_was_here() -> None:
    queue = filled(entry(3))
    queue.block(entry(1), A)
    assert sorted(queue.clear()) == [1, 3]
    assert (queue.held, queue.bytes) == (0, 0)


def test_weighing_can_begin_and_end_at_any_time() -> None:
    queue = Queue(weighs=False)
    queue.push(entry(1), 0.0)
    queue.put_first([entry(0)])
    assert queue.bytes == 0
    queue.weigh(weighs=True)
    assert queue.bytes == 2 * size_of(entry(1))
    queue.pop()
    assert queue.bytes == size_of(entry(1))
    queue.weigh(weighs=False)
    assert (queue.pop().offset, queue.bytes) == (1, 0)
