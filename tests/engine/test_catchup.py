"""Let many lanes read the log from the same pages, without missing what comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core.partitioning import partition_of
from angarium.engine.catchup import PAGE, CatchUp
from angarium.model.event import Event
from angarium.store.contract import Publish
from angarium.store.memory import MemoryStore

if TYPE_CHECKING:
    from angarium.store.contract import Slice


class CountedStore(MemoryStore):
    """A store that counts how often a tenant's log is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def read_tenant(self, project: str, tenant: str, *, after: int, limit: int) -> Slice:
        self.reads += 1
        return await super().read_tenant(project, tenant, after=after, limit=limit)


async def _publish(store: MemoryStore, count: int, *, tenant: str = "1", data: bytes = b"{}") -> None:
    events = tuple(Event("p", tenant, "item", str(number), "update", data) for number in range(count))
    await store.accept(Publish("p", events, 1000))


async def test_lanes_of_one_tenant_share_a_page() -> None:
    store = CountedStore()
    await _publish(store, PAGE + 10)
    catchup = CatchUp(store)
    pages = [await catchup.read("p", "1", after=after) for after in (0, 0, 100, PAGE - 1)]
    assert store.reads == 1
    assert [len(page.entries) for page in pages] == [PAGE, PAGE, PAGE - 100, 1]
    assert {page.scanned_to for page in pages} == {PAGE}
    assert [entry.offset for entry in pages[3].entries] == [PAGE]


async def test_a_page_at_the_head_is_read_anew_for_more_may_have_come() -> None:
    store = CountedStore()
    await _publish(store, 3)
    catchup = CatchUp(store)
    assert len((await catchup.read("p", "1", after=0)).entries) == 3
    await _publish(store, 2)
    page = await catchup.read("p", "1", after=0)
    assert ([entry.offset for entry in page.entries], page.scanned_to) == ([1, 2, 3, 4, 5], 5)


async def test_what_others_published_moves_the_cursor_on() -> None:
    store = CountedStore()
    other = next(str(number) for number in range(2, 10**4) if partition_of("p", str(number)) == partition_of("p", "1"))
    await _publish(store, 2)
    await _publish(store, 7, tenant=other)
    page = await CatchUp(store).read("p", "1", after=2)
    assert (page.entries, page.scanned_to) == ([], 9)


async def test_no_tenant_sees_another_s_page() -> None:
    store = CountedStore()
    await _publish(store, PAGE)
    await _publish(store, PAGE, tenant="2")
    catchup = CatchUp(store)
    for tenant in ("1", "2", "1", "2"):
        page = await catchup.read("p", tenant, after=0)
        assert {entry.event.tenant for entry in page.entries if entry.event is not None} == {tenant}
    assert store.reads == 2


async def test_who_needs_a_few_reads_a_few_and_shares_them_with_nobody() -> None:
    store = CountedStore()
    await _publish(store, 10)
    catchup = CatchUp(store)
    assert [entry.offset for entry in (await catchup.read("p", "1", after=0, limit=3)).entries] == [1, 2, 3]
    assert len((await catchup.read("p", "1", after=0)).entries) == 10


async def test_pages_are_kept_up_to_so_many_bytes_and_the_least_used_goes_first() -> None:
    store = CountedStore()
    await _publish(store, 3 * PAGE, data=b"x" * 100)
    catchup = CatchUp(store, bytes_max=2 * PAGE * (320 + 100))
    for after in (0, PAGE, 0, 2 * PAGE):
        await catchup.read("p", "1", after=after)
    assert store.reads == 3
    await catchup.read("p", "1", after=0)  # It was used after the second page was.
    assert store.reads == 3
    await catchup.read("p", "1", after=PAGE)
    assert store.reads == 4


async def test_a_page_larger_than_all_room_is_read_each_time() -> None:
    store = CountedStore()
    await _publish(store, PAGE)
    catchup = CatchUp(store, bytes_max=1000)
    for _ in range(2):
        assert len((await catchup.read("p", "1", after=0)).entries) == PAGE
    assert store.reads == 2


async def test_pages_of_a_partition_that_is_others_now_are_not_kept() -> None:
    store = CountedStore()
    elsewhere = next(str(number) for number in range(2, 99) if partition_of("p", str(number)) != partition_of("p", "1"))
    catchup = CatchUp(store)
    for tenant in ("1", elsewhere):
        await _publish(store, PAGE, tenant=tenant)
        await catchup.read("p", tenant, after=0)
    catchup.drop({partition_of("p", "1")})
    for tenant in ("1", elsewhere):
        await catchup.read("p", tenant, after=0)
    assert store.reads == 3
