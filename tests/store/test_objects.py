"""Hold what the current state of objects promises: the last event with the last data, as the log says."""

from __future__ import annotations

from asyncio import sleep
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import NotFound
from angarium.model.event import Event, Kind, ObjectState, Place
from angarium.model.registry import Project
from tests.store.values import (
    HOUR,
    NEIGHBOUR,
    NOON,
    PARTITION,
    PROJECT,
    TENANT,
    publish,
    replay,
    resync,
    subscribe,
    subscription,
    watermark,
)

if TYPE_CHECKING:
    from angarium.store.contract import Store

LATER = NOON + HOUR


def item(
    object_id: str = "7", action: str = "update", data: bytes = b"", *, object_: str = "item", tenant: str = TENANT
) -> Event:
    return Event(PROJECT, tenant, object_, object_id, action, data)


async def say(store: Store, *events: Event, now_ms: int = NOON) -> list[int]:
    """Publish events; return their offsets."""
    receipt = await store.accept(publish(*events, now_ms=now_ms))
    return [place.offset for place in receipt.places]


async def fold(store: Store) -> None:
    while await store.fold_objects(limit=100) == 100:
        pass


async def state(store: Store, object_id: str = "7") -> ObjectState | None:
    return await store.object(PROJECT, TENANT, "item", object_id)


async def ids_of(store: Store, object_: str = "item", *, after: str = "", limit: int = 100) -> list[str]:
    held = await store.objects(PROJECT, TENANT, object_, after=after, limit=limit)
    return [each.object_id for each in held]


async def data_at(store: Store, offset: int, object_id: str = "7") -> bytes | None:
    return await store.data_at(PROJECT, TENANT, "item", object_id, offset=offset)


def as_it_is(shown: ObjectState) -> Event:
    """Make a resync's event of an object's state."""
    return Event(shown.project, shown.tenant, shown.object, shown.object_id, "create", shown.data)


async def test_an_object_is_not_known_until_it_is_folded(store: Store) -> None:
    await say(store, item(data=b"1"))
    assert await state(store) is None
    assert await store.fold_objects(limit=100) == 1
    assert await store.fold_objects(limit=100) == 0
    assert (await state(store)) is not None


async def test_a_tenant_s_kinds_of_objects_are_known_once_each_deleted_ones_too(store: Store) -> None:
    assert await store.object_kinds(PROJECT, TENANT) == []
    await say(store, *(item(str(number), object_=kind) for number in range(3) for kind in ("b.c", "a", "ü")))
    await say(store, item("1", "delete", object_="gone"), item(object_="other", tenant=NEIGHBOUR))
    await fold(store)
    assert await store.object_kinds(PROJECT, TENANT) == ["a", "b.c", "gone", "ü"]


async def test_a_state_is_the_last_event_with_the_last_data(store: Store) -> None:
    await say(store, item(action="create", data=b'{"n":1}'))
    last = replace(item(), url="https://a/7", attributes=b'{"k":1}', occurred_us=5, actor=b'{"user_id":1}')
    await say(store, last, now_ms=NOON + 9)
    await fold(store)
    assert await state(store) == ObjectState(
        PROJECT,
        TENANT,
        "item",
        "7",
        PARTITION,
        2,
        NOON + 9,
        "update",
        data=b'{"n":1}',
        data_offset=1,
        url="https://a/7",
        attributes=b'{"k":1}',
        occurred_us=5,
    )


async def test_events_folded_at_once_or_one_by_one_come_to_the_same(store: Store) -> None:
    for object_id in ("a", "b"):
        await say(store, item(object_id, "create", b"1"), item(object_id), item(object_id, data=b"2"))
        await say(store, item(object_id, "delete"), item(object_id, "recover"))
        while object_id == "b" and await store.fold_objects(limit=1):
            pass
        await fold(store)
    first, second = await state(store, "a"), await state(store, "b")
    assert first
    assert second
    assert (first.data, first.data_offset, first.action, first.offset) == (b"2", 3, "recover", 5)
    assert replace(second, object_id="a", offset=5, data_offset=3) == first


async def test_an_object_that_never_had_data_has_none(store: Store) -> None:
    await say(store, item())
    await fold(store)
    found = await state(store)
    assert found
    assert (found.data, found.data_offset) == (b"", 0)


async def test_a_fold_looks_at_no_more_than_its_limit_and_says_when_it_is_done(store: Store) -> None:
    await subscribe(store)
    await say(store, *(item(str(number)) for number in range(4)))
    assert [await store.fold_objects(limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_deleted_object_keeps_its_last_data_and_is_not_listed(store: Store) -> None:
    await say(store, item(data=b"1"), item(action="delete"))
    await fold(store)
    found = await state(store)
    assert found
    assert (found.is_deleted, found.data, found.data_offset) == (True, b"1", 1)
    assert await ids_of(store) == []
    assert await store.count_objects(PROJECT, TENANT, "item") == 0
    await say(store, item(action="recover"))
    await fold(store)
    assert await ids_of(store) == ["7"]
    assert await store.count_objects(PROJECT, TENANT, "item") == 1


async def test_objects_are_listed_in_the_order_of_their_ids_page_by_page(store: Store) -> None:
    names = ["10", "9", "ä", "a", "Z", "\U0001f4fb", "\uffee"]
    await say(store, *(item(name) for name in names), item("x", object_="other"), item("y", tenant=NEIGHBOUR))
    await fold(store)
    assert await ids_of(store) == ["10", "9", "Z", "a", "ä", "\uffee", "\U0001f4fb"]
    assert await ids_of(store, limit=2) == ["10", "9"]
    assert await ids_of(store, after="9", limit=2) == ["Z", "a"]
    assert await ids_of(store, after="b", limit=9) == ["ä", "\uffee", "\U0001f4fb"]
    assert await store.count_objects(PROJECT, TENANT, "item") == 7
    assert await store.count_objects(PROJECT, TENANT, "nothing") == 0
    assert await store.count_objects("nobody", TENANT, "item") == 0
    assert await store.objects("nobody", TENANT, "item", after="", limit=9) == []


async def test_markers_resyncs_and_replays_change_nothing(store: Store) -> None:
    await say(store, item(data=b"1"), item(data=b"2"))
    await subscribe(store)
    await fold(store)
    before = await state(store)
    await store.append([replay(1), resync(item(action="delete", data=b"3"))])
    await fold(store)
    assert await state(store) == before


async def test_a_project_that_is_made_folds_nothing_by_itself(store: Store) -> None:
    await say(store, item())
    await store.put_project(Project("another", "standard", NOON, NOON))
    assert await store.fold_objects(limit=1) == 1


async def test_what_a_project_that_keeps_no_objects_publishes_is_passed_over(store: Store) -> None:
    await store.put_project(Project(PROJECT, "standard", NOON, NOON, settings={"keep_objects": False}))
    await say(store, item(data=b"1"))
    await fold(store)
    assert await state(store) is None


async def test_objects_go_when_they_are_not_kept_any_more_and_do_not_come_back(store: Store) -> None:
    """An object that was kept before would be older than what was published in between."""
    kept, off = Project(PROJECT, "standard", NOON, NOON), {"keep_objects": False}
    await store.put_project(kept)
    await say(store, *(item(str(number), data=b"1") for number in range(1200)))
    await say(store, Event("cm", TENANT, "item", "7", "create"))
    await fold(store)
    await say(store, item("unfolded", data=b"1"))
    await store.put_project(replace(kept, settings=off))
    assert await ids_of(store) == []
    await say(store, item("between", data=b"2"))
    await store.put_project(kept)
    await say(store, item("after"))
    await fold(store)
    assert await ids_of(store) == ["after"]
    assert await store.object("cm", TENANT, "item", "7") is not None


async def test_a_deleted_project_leaves_no_objects(store: Store) -> None:
    await store.put_project(Project(PROJECT, "standard", NOON, NOON))
    await say(store, *(item(str(number), data=b"1") for number in range(1200)))
    await fold(store)
    await say(store, item("unfolded"))
    await store.delete_project(PROJECT)
    await fold(store)
    assert await ids_of(store) == []
    await say(store, item("later"))
    await fold(store)
    assert await ids_of(store) == ["later"]


# -- what they were ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded_after", [0, 1, 2, 3, 4, 5, 6, 7])
async def test_data_at_an_offset_is_what_the_log_says_however_far_it_is_folded(store: Store, folded_after: int) -> None:
    said = [
        item(),
        item(data=b"2"),
        item("8", data=b"x"),
        item(),
        item(data=b"5"),
        item(action="delete"),
        item(data=b"7"),
    ]
    for number, event in enumerate(said):
        if number == folded_after:
            await fold(store)
        await say(store, event)
    if folded_after == len(said):
        await fold(store)
    found = [await data_at(store, offset) for offset in range(1, 9)]
    assert found == [None, b"2", b"2", b"2", b"5", b"5", b"7", b"7"]
    assert await data_at(store, 9, "8") == b"x"
    assert await data_at(store, 9, "9") is None
    assert await store.data_at("nobody", TENANT, "item", "7", offset=9) is None


async def test_data_of_a_resync_is_not_what_the_log_says(store: Store) -> None:
    await subscribe(store)
    await say(store, item(data=b"1"))
    await store.append([resync(item(data=b"old"))])
    assert await data_at(store, 9) == b"1"


async def test_data_is_found_though_its_event_was_dropped_from_the_log(store: Store) -> None:
    await say(store, item(data=b"1"))
    await say(store, item(), now_ms=NOON + 5)
    await say(store, item(data=b"3"), now_ms=NOON + 5)
    await store.settle(watermark(3))
    await store.fold_objects(limit=2)
    await store.retain(before_ms=NOON + 1, limit=100)
    assert await data_at(store, 2) == b"1"
    await fold(store)
    assert await data_at(store, 2) is None
    assert await data_at(store, 3) == b"3"


# -- retention --------------------------------------------------------------------------------------------------------


async def test_objects_outlive_their_events(store: Store) -> None:
    await say(store, item("a", data=b"1"), item("b", data=b"2"), item("b"), item("c", data=b"3"))
    await fold(store)
    before = [await state(store, name) for name in "abc"]
    await store.settle(watermark(4))
    assert await store.retain(before_ms=LATER, limit=100) == 4
    assert [await state(store, name) for name in "abc"] == before
    assert await ids_of(store) == ["a", "b", "c"]
    await say(store, item("a"), item("b", data=b"4"), item("c", "delete"))
    await fold(store)
    held = [await state(store, name) for name in "abc"]
    assert [(each.data, each.data_offset, each.offset) for each in held if each] == [
        (b"1", 1, 5),
        (b"4", 6, 6),
        (b"3", 4, 7),
    ]


async def test_what_was_not_folded_is_folded_before_it_is_dropped(store: Store) -> None:
    await say(store, item("a", data=b"1"), item("b", data=b"2"))
    await store.settle(watermark(2))
    await store.retain(before_ms=LATER, limit=1)
    await store.retain(before_ms=LATER, limit=1)
    assert await store.fold_objects(limit=10) == 0
    assert await ids_of(store) == ["a", "b"]


async def test_a_deleted_object_goes_with_its_last_event(store: Store) -> None:
    await say(store, item("a", data=b"1"), item("b", data=b"2"))
    await say(store, item("a", "delete"), item("b", "delete"), now_ms=NOON + 2)
    await fold(store)
    await store.settle(watermark(9))
    await store.retain(before_ms=NOON + 1, limit=100)
    found = await state(store, "a")
    assert found
    assert found.data == b"1"
    await say(store, item("b"), now_ms=NOON + 3)
    await fold(store)
    await store.retain(before_ms=LATER, limit=100)
    assert await state(store, "a") is None
    living = await state(store, "b")
    assert living
    assert (living.data, living.data_offset, living.offset) == (b"2", 2, 5)


# -- resync -----------------------------------------------------------------------------------------------------------


async def test_states_are_appended_as_they_are_when_they_are_appended(store: Store) -> None:
    await subscribe(store)
    await say(store, item("a", data=b"1"), item("b", data=b"2"), item("c", data=b"3"))
    await fold(store)
    await say(store, item("a", data=b"new"), item("b", "delete"))
    wanted = [("item", "c"), ("item", "b"), ("item", "a"), ("item", "nobody"), ("other", "a")]
    places = await store.append_states(PROJECT, TENANT, wanted, target=1, now_ms=NOON + 9, event_of=as_it_is)
    assert places == [Place(PARTITION, 7, NOON + 9), Place(PARTITION, 8, NOON + 9)]
    entries = await store.read(PARTITION, after=6, limit=9)
    assert [(entry.kind, entry.target, entry.event) for entry in entries] == [
        (Kind.RESYNC, 1, item("c", "create", b"3")),
        (Kind.RESYNC, 1, item("a", "create", b"new")),
    ]
    assert await store.fold_objects(limit=9) == 2
    found = await state(store, "a")
    assert found
    assert (found.offset, found.action) == (5, "update")


async def test_a_state_can_be_left_out(store: Store) -> None:
    await subscribe(store)
    await say(store, item("a"), item("b"))
    places = await store.append_states(
        PROJECT,
        TENANT,
        [("item", "a"), ("item", "b")],
        target=1,
        now_ms=NOON,
        event_of=lambda shown: None if shown.object_id == "a" else as_it_is(shown),
    )
    assert [place.offset for place in places] == [4]
    places = await store.append_states(PROJECT, TENANT, [("item", "a")], target=1, now_ms=NOON, event_of=lambda _: None)
    assert places == []


async def test_nothing_is_appended_when_an_event_cannot_be_made_of_a_state(store: Store) -> None:
    await subscribe(store)
    await say(store, item("a", data=b"1"), item("b", data=b"2"))

    def fails(shown: ObjectState) -> Event:
        if shown.object_id == "b":
            raise ZeroDivisionError
        return as_it_is(shown)

    with pytest.raises(ZeroDivisionError):
        await store.append_states(
            PROJECT, TENANT, [("item", "a"), ("item", "b")], target=1, now_ms=NOON, event_of=fails
        )
    assert await say(store, item("c")) == [4]
    await fold(store)
    assert await ids_of(store) == ["a", "b", "c"]


async def test_states_wake_their_partition(store: Store) -> None:
    await subscribe(store)
    await say(store, item("a"))
    heads: list[int] = []
    store.listen(lambda moved: heads.append(moved[PARTITION]))
    await store.append_states(PROJECT, TENANT, [("item", "a")], target=1, now_ms=NOON, event_of=as_it_is)
    await sleep(0)
    assert heads[-1] == 3


async def test_states_are_for_a_subscription_of_their_tenant(store: Store) -> None:
    await subscribe(store, tenant=NEIGHBOUR)
    await say(store, item("a"))
    for target in (1, 99):
        with pytest.raises(NotFound, match=f"target {target} was never a subscription of tenant {TENANT}"):
            await store.append_states(PROJECT, TENANT, [("item", "a")], target=target, now_ms=NOON, event_of=as_it_is)
    assert (await store.heads())[PARTITION] == 2


async def test_a_removed_subscription_can_still_be_a_target(store: Store) -> None:
    """A job may append a page while its subscription is deleted: the entries are owed to nobody."""
    await subscribe(store)
    await say(store, item("a"))
    await store.remove(subscription())
    places = await store.append_states(PROJECT, TENANT, [("item", "a")], target=1, now_ms=NOON, event_of=as_it_is)
    assert [place.offset for place in places] == [4]


async def test_tenants_of_one_partition_have_their_own_objects(store: Store) -> None:
    assert partition_of(PROJECT, NEIGHBOUR) == PARTITION
    await say(store, item(data=b"1"), item(data=b"2", tenant=NEIGHBOUR))
    await fold(store)
    mine, theirs = await state(store), await store.object(PROJECT, NEIGHBOUR, "item", "7")
    assert mine
    assert theirs
    assert (mine.data, theirs.data) == (b"1", b"2")
    assert await data_at(store, 9) == b"1"
