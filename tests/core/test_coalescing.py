"""Fold by hand, and hold the laws: nothing newest is lost, and the order is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.coalescing import fold, lacking, object_of
from angarium.model.event import Entry, Event
from angarium.model.subscription import Coalesce


def _entries(*objects: str) -> list[Entry]:
    """Return an entry of each object, with its own offset as its data."""
    return [
        Entry(3, offset, 0, Event("p", "t", "item", object_id, "update", b"%d" % offset))
        for offset, object_id in enumerate(objects, start=1)
    ]


def _shown(folded: Sequence[tuple[Entry, bytes | None]]) -> list[tuple[int, bytes | None]]:
    return [(entry.offset, state) for entry, state in folded]


@pytest.mark.parametrize(
    ("objects", "how", "expected"),
    [
        ("", Coalesce.LATEST, []),
        ("aba", Coalesce.NONE, [(1, None), (2, None), (3, None)]),
        ("aba", Coalesce.OPERATIONS, [(1, b"3"), (2, b"2"), (3, b"3")]),
        ("aba", Coalesce.LATEST, [(2, None), (3, None)]),
        ("aaaa", Coalesce.LATEST, [(4, None)]),
        ("abcabc", Coalesce.LATEST, [(4, None), (5, None), (6, None)]),
        ("abab", Coalesce.OPERATIONS, [(1, b"3"), (2, b"4"), (3, b"3"), (4, b"4")]),
    ],
)
def test_a_delivery_shows_this(objects: str, how: Coalesce, expected: list[tuple[int, bytes | None]]) -> None:
    assert _shown(fold(_entries(*objects), how)) == expected


def test_an_object_is_its_kind_and_its_id() -> None:
    one, other = (Entry(3, 1, 0, Event("p", "t", kind, "1", "update")) for kind in ("item", "order"))
    assert (object_of(one), object_of(other)) == (("item", "1"), ("order", "1"))
    assert len(fold([one, other], Coalesce.LATEST)) == 2


def test_a_deletion_is_a_last_state_without_data() -> None:
    made, gone = Event("p", "t", "item", "1", "create", b"{}"), Event("p", "t", "item", "1", "delete")
    entries = [Entry(3, 1, 0, made), Entry(3, 2, 0, gone)]
    assert [state for _, state in fold(entries, Coalesce.OPERATIONS)] == [b"", b""]
    assert [entry.offset for entry, _ in fold(entries, Coalesce.LATEST)] == [2]


@pytest.mark.parametrize(
    ("how", "wanted", "states"),
    [
        (Coalesce.NONE, [2, 4], [None, b"then 2", None, b"then 4"]),
        (Coalesce.OPERATIONS, [4], [b"3", b"then 4", b"3", b"then 4"]),
        (Coalesce.LATEST, [4], [None, b"then 4"]),
    ],
)
def test_what_an_object_was_takes_the_place_of_data_that_is_missing(
    how: Coalesce, wanted: list[int], states: list[bytes | None]
) -> None:
    entries = [
        Entry(3, offset, 0, Event("p", "t", "item", object_id, "update", data))
        for offset, object_id, data in [(1, "a", b"1"), (2, "b", b""), (3, "a", b"3"), (4, "b", b"")]
    ]
    assert [entry.offset for entry in lacking(entries, how)] == wanted
    known = {offset: b"then %d" % offset for offset in wanted}
    assert [state for _, state in fold(entries, how, states=known)] == states


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ("ann", "a"),
        ("nan", "a"),
        ("nnn", "n"),
        ("and", "d"),
        ("adn", "n"),
        ("da", "a"),
        ("adan", "a"),
    ],
)
def test_an_action_outlasts_others_until_one_that_it_does_not(actions: str, expected: str) -> None:
    entries = [
        Entry(3, offset, 0, Event("p", "t", "item", "1", action, b"%d" % offset))
        for offset, action in enumerate(actions, start=1)
    ]
    [(entry, state)] = fold(entries, Coalesce.LATEST, {"a": ("n",)})
    assert entry.event is not None
    assert (entry.offset, entry.event.action, entry.event.data, state) == (
        len(actions),
        expected,
        b"%d" % len(actions),
        None,
    )
    assert [entry for entry, _ in fold(entries, Coalesce.NONE, {"a": ("n",)})] == entries


OBJECTS = st.lists(st.sampled_from("abcd"), max_size=40)


@given(OBJECTS, st.sampled_from(Coalesce))
def test_the_order_is_the_log_s_and_nothing_is_shown_twice(objects: list[str], how: Coalesce) -> None:
    offsets = [entry.offset for entry, _ in fold(_entries(*objects), how)]
    assert offsets == sorted(set(offsets))


@given(OBJECTS, st.sampled_from(Coalesce))
def test_the_newest_of_each_object_is_shown(objects: list[str], how: Coalesce) -> None:
    entries = _entries(*objects)
    newest = {object_of(entry): entry.offset for entry in entries}
    shown = {object_of(entry): entry.offset for entry, _ in fold(entries, how)}
    assert shown == newest


@given(OBJECTS)
def test_the_last_thing_that_a_receiver_hears_of_an_object_is_its_final_state(objects: list[str]) -> None:
    entries = _entries(*objects)
    final = {entry.event: entry.event.data for entry in entries if entry.event is not None}
    newest = {object_of(entry): entry.event for entry in entries if entry.event is not None}
    for how in Coalesce:
        for entry, state in fold(entries, how):
            assert entry.event is not None
            shown = entry.event.data if state is None else state
            if how is Coalesce.OPERATIONS or entry.event is newest[object_of(entry)]:
                assert shown == final[newest[object_of(entry)]]


@given(OBJECTS)
def test_operations_lose_none(objects: list[str]) -> None:
    entries = _entries(*objects)
    assert [entry for entry, _ in fold(entries, Coalesce.OPERATIONS)] == entries
    assert fold(entries, Coalesce.NONE) == [(entry, None) for entry in entries]
