"""Hold what a feed shows, that its cursors are its own, and that no way of cutting pages loses or repeats an event."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.feeding import Feed, FeedItem, FeedPage, beginning, decode_cursor, encode_cursor
from angarium.errors import BadCursor, CursorGone
from angarium.model.delivery import Key
from angarium.model.event import Entry, Event, Kind, Place
from angarium.model.ids import Ids
from angarium.model.subscription import Owed, Rule, Version

IDS = Ids(bytes(range(16)))
MINE = 7
OTHER = 8


def event(object_: str = "item", object_id: str = "1") -> Event:
    return Event("radio", "1", object_, object_id, "update", b'{"n":1}')


def entry(offset: int, kind: Kind = Kind.EVENT, *, object_: str = "item", target: int = 0, of: int = 0) -> Entry:
    shown = None if kind is Kind.MARKER else event(object_, str(of or offset))
    return Entry(3, offset, 1000 + offset, shown, kind, target, of, 1000 + of if of else 0)


def version(from_offset: int, owed: Owed = Owed.PUSH, types: tuple[str, ...] = ()) -> Version:
    return Version(MINE, from_offset, owed, Rule(types), "standard")


def shown(entries: Sequence[Entry], versions: Sequence[Version], *, with_replays: bool = False) -> list[int]:
    last = entries[-1].offset if entries else 0
    found = Feed(MINE, versions, with_replays).page(entries, after=0, scanned_to=last)
    return [item.offset for item in found.items]


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_an_item_holds_its_event_and_place() -> None:
    assert Feed(MINE, [version(1)]).page([entry(5)], after=4, scanned_to=5) == FeedPage(
        (FeedItem(5, Place(3, 5, 1005), event("item", "5")),), 5
    )


def test_a_replay_has_its_original_s_place() -> None:
    found = Feed(MINE, [version(1)], with_replays=True).page(
        [entry(9, Kind.REPLAY, target=MINE, of=5)], after=0, scanned_to=9
    )
    assert found.items == (FeedItem(9, Place(3, 5, 1005), event("item", "5"), is_replay=True),)


def test_a_resync_is_shown_as_one() -> None:
    found = Feed(MINE, [version(1)]).page([entry(9, Kind.RESYNC, target=MINE)], after=0, scanned_to=9)
    assert found.items == (FeedItem(9, Place(3, 9, 1009), event("item", "9"), is_resync=True),)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], []),
        ([version(1)], [2, 3, 4, 5, 6]),
        ([version(1, Owed.FEED)], [2, 3, 4, 5, 6]),
        ([version(1, Owed.NOTHING)], []),
        ([version(4)], [4, 5, 6]),
        ([version(7)], []),
        ([version(1, types=("item.*",))], [2, 4, 6]),
        ([version(1), version(4, Owed.NOTHING)], [2, 3]),
        ([version(1, Owed.NOTHING), version(3), version(5, Owed.FEED, ("item.*",))], [3, 4, 6]),
    ],
)
def test_what_was_owed_at_its_offset_is_shown(versions: list[Version], expected: list[int]) -> None:
    entries = [entry(offset, object_="story" if offset % 2 else "item") for offset in range(2, 7)]
    assert shown(entries, versions) == expected


@pytest.mark.parametrize(
    ("entries", "with_replays", "expected"),
    [
        ([entry(1, Kind.MARKER), entry(2)], False, [2]),
        ([entry(1, Kind.RESYNC, target=MINE), entry(2, Kind.RESYNC, target=OTHER)], False, [1]),
        ([entry(1, Kind.RESYNC, target=MINE, object_="story")], False, [1]),
        ([entry(1, Kind.REPLAY, target=MINE, of=1), entry(2)], False, [2]),
        ([entry(1, Kind.REPLAY, target=MINE, of=1), entry(2)], True, [1, 2]),
        ([entry(1, Kind.REPLAY, target=OTHER, of=1), entry(2)], True, [2]),
        ([Entry(3, 1, 0, None, Kind.REPLAY, MINE, 1), entry(2)], True, [2]),
    ],
)
def test_entries_for_one_subscription_are_shown_to_it_alone(
    entries: list[Entry], expected: list[int], *, with_replays: bool
) -> None:
    assert shown(entries, [version(1, types=("item.*",))], with_replays=with_replays) == expected


def test_a_resync_for_one_that_is_owed_nothing_any_more_is_not_shown() -> None:
    assert shown([entry(5, Kind.RESYNC, target=MINE)], [version(1), version(4, Owed.NOTHING)]) == []


@pytest.mark.parametrize(
    ("after", "scanned_to", "limit", "expected", "next_offset"),
    [
        (0, 9, 250, [2, 4, 6], 9),
        (0, 9, 2, [2, 4], 4),
        (0, 9, 3, [2, 4, 6], 6),
        (4, 9, 2, [6], 9),
        (6, 9, 2, [], 9),
        (9, 9, 2, [], 9),
        (12, 9, 2, [], 12),
    ],
)
def test_a_page_goes_on_where_it_ended(
    after: int, scanned_to: int, limit: int, expected: list[int], next_offset: int
) -> None:
    entries = [entry(2), entry(3, object_="story"), entry(4), entry(6), entry(7, object_="story")]
    feed = Feed(MINE, [version(1, types=("item.*",))])
    found = feed.page(entries, after=after, scanned_to=scanned_to, limit=limit)
    assert ([item.offset for item in found.items], found.next_offset) == (expected, next_offset)


@pytest.mark.parametrize(
    ("versions", "floor", "expected"),
    [([], 0, 0), ([], 5, 5), ([version(3)], 0, 3), ([version(3)], 9, 9), ([version(3), version(8)], 0, 3)],
)
def test_a_feed_without_a_cursor_begins_with_its_subscription(
    versions: list[Version], floor: int, expected: int
) -> None:
    assert beginning(versions, floor=floor) == expected


KINDS = st.sampled_from([Kind.EVENT, Kind.EVENT, Kind.EVENT, Kind.MARKER, Kind.RESYNC, Kind.REPLAY])
LOGS = st.lists(
    st.tuples(st.integers(1, 3), KINDS, st.sampled_from(["item", "story"]), st.sampled_from([MINE, OTHER])), max_size=40
)
HISTORIES = st.lists(
    st.tuples(
        st.integers(1, 20), st.sampled_from(Owed), st.sampled_from([(), ("item.*",), ("*.update",), ("story.create",)])
    ),
    max_size=4,
)


def log(parts: list[tuple[int, Kind, str, int]]) -> list[Entry]:
    """Return a tenant's entries; what lies between them belongs to other tenants of the partition."""
    offset, entries = 0, []
    for gap, kind, object_, target in parts:
        offset += gap
        own = kind in {Kind.RESYNC, Kind.REPLAY}
        of = max(1, offset - 1) if kind is Kind.REPLAY else 0
        entries.append(entry(offset, kind, object_=object_, target=target if own else 0, of=of))
    return entries


def history(parts: list[tuple[int, Owed, tuple[str, ...]]]) -> list[Version]:
    offset, versions = 0, []
    for gap, owed, types in parts:
        offset += gap
        versions.append(version(offset, owed, types))
    return versions


@given(LOGS, HISTORIES, st.data(), st.booleans())
def test_no_way_of_cutting_pages_loses_or_repeats_an_event(
    parts: list[tuple[int, Kind, str, int]],
    turns: list[tuple[int, Owed, tuple[str, ...]]],
    data: st.DataObject,
    with_replays: bool,  # noqa: FBT001  Hypothesis gives it by place
) -> None:
    entries, versions = log(parts), history(turns)
    head = (entries[-1].offset if entries else 0) + data.draw(st.integers(0, 3))
    feed = Feed(MINE, versions, with_replays)
    whole = feed.page(entries, after=0, scanned_to=head, limit=1000)
    after = 0
    seen: list[FeedItem] = []
    while after < head:
        read_limit, limit = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
        read = [each for each in entries if each.offset > after][:read_limit]
        scanned_to = read[-1].offset if len(read) == read_limit else head
        found = feed.page(read, after=after, scanned_to=scanned_to, limit=limit)
        assert after < found.next_offset
        assert all(after < item.offset <= found.next_offset for item in found.items)
        assert len(found.items) <= limit
        cursor = encode_cursor(IDS, partition=3, offset=found.next_offset, subscription=MINE)
        after = decode_cursor(IDS, cursor, partition=3, subscription=MINE)
        seen.extend(found.items)
    assert tuple(seen) == whole.items
    assert after == whole.next_offset == head


@given(LOGS, HISTORIES, st.integers(0, 60))
def test_going_on_from_an_item_s_own_cursor_shows_what_comes_after_it(
    parts: list[tuple[int, Kind, str, int]], turns: list[tuple[int, Owed, tuple[str, ...]]], after: int
) -> None:
    entries, versions = log(parts), history(turns)
    head = entries[-1].offset if entries else 0
    feed = Feed(MINE, versions)
    whole = feed.page(entries, after=0, scanned_to=head)
    rest = feed.page(entries, after=after, scanned_to=head)
    assert rest.items == tuple(item for item in whole.items if item.offset > after)


# -- cursors -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 255), st.integers(0, 2**46 - 1), st.integers(1, 2**32 - 1))
def test_a_cursor_comes_back_as_it_was(partition: int, offset: int, subscription: int) -> None:
    text = encode_cursor(IDS, partition=partition, offset=offset, subscription=subscription)
    assert decode_cursor(IDS, text, partition=partition, subscription=subscription) == offset


def test_a_cursor_tells_nothing() -> None:
    first, second = (encode_cursor(IDS, partition=3, offset=offset, subscription=MINE) for offset in (10, 11))
    assert first.startswith("cur_")
    assert len(first) == len(second) == 36
    assert sum(one != other for one, other in zip(first[4:], second[4:], strict=True)) > 16


MINE_AT_10 = encode_cursor(IDS, partition=3, offset=10, subscription=MINE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "cur_",
        "cur_" + "0" * 32,
        "cur_" + "z" * 32,
        MINE_AT_10[4:],
        MINE_AT_10[:-1],
        MINE_AT_10 + "0",
        MINE_AT_10.upper(),
        MINE_AT_10 + "\n",
        MINE_AT_10[:-1] + ("0" if MINE_AT_10[-1] != "0" else "1"),
        encode_cursor(IDS, partition=3, offset=10, subscription=OTHER),
        encode_cursor(IDS, partition=4, offset=10, subscription=MINE),
        encode_cursor(Ids(bytes(16)), partition=3, offset=10, subscription=MINE),
        IDS.event(3, 10, 1000),
        IDS.delivery(Key(3, 10, MINE, 1000)),
        IDS.delivery(Key(3, 10, MINE, 0)),
        "cur_" + IDS.delivery(Key(3, 10, MINE, 1000))[-32:],
    ],
)
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(BadCursor, match="is no cursor of this feed"):
        decode_cursor(IDS, text, partition=3, subscription=MINE)


@pytest.mark.parametrize("floor", [0, 9, 10])
def test_a_cursor_holds_while_all_after_it_is_there(floor: int) -> None:
    assert decode_cursor(IDS, MINE_AT_10, partition=3, subscription=MINE, floor=floor) == 10


def test_a_cursor_older_than_the_log_is_gone() -> None:
    with pytest.raises(CursorGone, match="no longer holds all that came after"):
        decode_cursor(IDS, MINE_AT_10, partition=3, subscription=MINE, floor=11)
