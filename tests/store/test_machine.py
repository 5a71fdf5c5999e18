"""Run the same random commands against the reference and the SQLite store, which must answer alike.

Among the commands are closing, and losing power: going on with a copy of the files as they lie there.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from angarium.core.partitioning import partition_of
from angarium.errors import AngariumError
from angarium.model.delivery import TEST_OFFSET, Key, LaneRow, Open, Origin, Settled, State
from angarium.model.event import Entry, Event, Kind, ObjectState, Place
from angarium.model.registry import ApiKey, App, Grant, Job, JobState, Project, Scope, Tenant
from angarium.model.subscription import Owed, Rule, Status, Subscription, Version
from angarium.store.contract import DeliveryQuery, EventQuery, Page, Publish, Settlement
from angarium.store.memory import MemoryStore
from angarium.store.sqlite import SqliteStore
from tests.store.values import HOUR, NEIGHBOUR, NOON, attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from angarium.store.contract import Store

T = TypeVar("T")

OWNERS = [("radio", "1"), ("radio", NEIGHBOUR), ("radio", "2"), ("cm", "1")]
PARTITIONS_USED = sorted({partition_of(*owner) for owner in OWNERS})
ENDS = [State.DELIVERED, State.EXHAUSTED, State.CANCELLED, State.EXPIRED, State.MERGED]

owners = st.sampled_from(OWNERS)
small = st.integers(1, 6)
offsets = st.integers(0, 25)
limits = st.sampled_from([1, 2, 3, 50])
partitions = st.sampled_from(PARTITIONS_USED)
maybe_ms = st.none() | st.integers(NOON - 3, NOON + 40)


@st.composite
def deliveries(draw: st.DrawFn) -> Open | Settled:
    """Make an open or settled delivery, a range or a test among them."""
    partition, offset, number = draw(partitions), draw(st.integers(1, 20)), draw(small)
    origin = draw(st.sampled_from([Origin.LANE, Origin.LANE, Origin.LANE, Origin.REDELIVER, Origin.TEST]))
    is_test = origin == Origin.TEST
    key = Key(partition, offset + (TEST_OFFSET if is_test else 0), number, NOON + offset)
    members = () if is_test else tuple(sorted(draw(st.sets(st.integers(1, offset), max_size=3)) - {offset}))
    if draw(st.booleans()):
        return Open(
            key, members, origin, attempts=draw(small), next_ms=NOON + 99, body=draw(st.none() | st.binary(max_size=4))
        )
    state = draw(st.sampled_from(ENDS))
    if not is_test and draw(st.booleans()):
        return Settled(key, state, NOON + 99, first_offset=max(1, offset - 4), count=draw(small), origin=origin)
    return Settled(
        key, state, NOON + 99, members, attempts=draw(small), answer=draw(st.binary(max_size=3)), origin=origin
    )


class Stores(RuleBasedStateMachine):
    """The reference and the SQLite store side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.now_ms = NOON
        self.owned: dict[int, tuple[str, str]] = {}
        self.memory: Store = MemoryStore()

    @initialize(unindexed_max=st.sampled_from([1, 5, 1000]))
    def begin(self, unindexed_max: int) -> None:
        self.unindexed_max = unindexed_max
        self.path = self.folder / "0.db"
        self.open()

    def open(self) -> None:
        self.other: Store = SqliteStore(self.path, unindexed_max=self.unindexed_max)
        self.loop.run_until_complete(self.other.open())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.other.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def bounded(self, limit: int) -> int:
        """Return how much is asked for at a time where stores may choose what comes first."""
        return limit

    def both(self, ask: Callable[[Store], Awaitable[T]]) -> T | str:
        """Ask both; hold that the answers are the same, failures included."""
        answers = [self.loop.run_until_complete(self.answer(ask, store)) for store in (self.memory, self.other)]
        assert answers[0] == answers[1]
        return answers[0]

    @staticmethod
    async def answer(ask: Callable[[Store], Awaitable[T]], store: Store) -> T | str:
        try:
            return await ask(store)
        except AngariumError as error:
            return repr(error)

    def walk(self, read: Callable[[Store, Page], Awaitable[Any]], limit: int) -> None:
        """Walk through a list in both, by the same cursors."""
        page: Any = self.both(lambda store: read(store, Page(limit=limit)))
        while page.next:
            after = page.next
            page = self.both(lambda store, after=after: read(store, Page(limit=limit, after=after)))  # type: ignore[misc]  # bound at once
        while page.prev:
            before = page.prev
            page = self.both(lambda store, before=before: read(store, Page(limit=limit, before=before)))  # type: ignore[misc]  # bound at once

    # -- commands ---------------------------------------------------------------------------------------------------

    @rule(
        whose=st.lists(owners, min_size=1, max_size=4),
        what=st.sampled_from(["a", "b"]),
        action=st.sampled_from(["create", "update", "update", "delete"]),
        has_data=st.booleans(),
        back=st.integers(0, 3),
    )
    def accept(self, whose: list[tuple[str, str]], what: str, action: str, has_data: bool, back: int) -> None:  # noqa: FBT001  drawn
        data = b"%d" % self.now_ms if has_data else b""
        events = tuple(Event(whose[0][0], tenant, "item", what, action, data, f"u{back}") for _, tenant in whose)
        self.both(lambda store: store.accept(Publish(whose[0][0], events, self.now_ms - back)))
        self.now_ms += 1

    @rule(name=st.sampled_from(["k", "l"]), digest=st.sampled_from([b"1", b"2"]), owner=owners)
    def accept_with_a_key(self, name: str, digest: bytes, owner: tuple[str, str]) -> None:
        given = Publish(owner[0], (Event(*owner, "item", "c", "create"),), self.now_ms, name, digest, 3)
        self.both(lambda store: store.accept(given))

    @rule(number=small, of=st.none() | offsets, count=st.integers(1, 3))
    def append(self, number: int, of: int | None, count: int) -> None:
        owner = self.owned.get(number, OWNERS[0])
        event = Event(*owner, "item", "r", "create") if of is None else None
        kind = Kind.RESYNC if of is None else Kind.REPLAY
        entry = Entry(partition_of(*owner), 0, self.now_ms, event, kind, number, of or 0)
        self.both(lambda store: store.append([entry] * count))

    @rule(owner=owners, status=st.sampled_from(Status), has_version=st.booleans())
    def subscribe(self, owner: tuple[str, str], status: Status, has_version: bool) -> None:  # noqa: FBT001  drawn
        number = len(self.owned) + 1
        if number > 6:
            return
        self.owned[number] = owner
        made = Subscription(number, f"sub_{number}", *owner, partition_of(*owner), NOON, self.now_ms, status)
        version = Version(number, 0, Owed.PUSH, Rule(), "standard") if has_version else None
        self.both(lambda store: store.change(made, version, revision=0))

    @rule(number=small, owed=st.sampled_from(Owed), stale=st.booleans())
    def change(self, number: int, owed: Owed, stale: bool) -> None:  # noqa: FBT001  drawn
        found = self.loop.run_until_complete(self.memory.subscription(number))
        if found:
            changed = replace(found, updated_ms=self.now_ms, name=owed.name)
            version = Version(number, 0, owed, Rule((owed.name,)), "standard")
            self.both(lambda store: store.change(changed, version, revision=found.revision - stale))

    @rule(number=small)
    def remove(self, number: int) -> None:
        found = self.loop.run_until_complete(self.memory.subscription(number))
        if found:
            self.both(lambda store: store.remove(replace(found, updated_ms=self.now_ms)))

    @rule(name=st.sampled_from(["radio", "cm"]), is_deleted=st.integers(0, 5), keeps_objects=st.integers(0, 3))
    def put_or_delete_project(self, name: str, is_deleted: int, keeps_objects: int) -> None:
        if is_deleted:
            settings = {"keep_objects": bool(keeps_objects)}
            made = Project(name, "standard", self.now_ms, self.now_ms, settings=settings)
            self.both(lambda store: store.put_project(made))
        else:
            self.both(lambda store: store.delete_project(name))

    @rule(owner=owners, number=small)
    def put_others(self, owner: tuple[str, str], number: int) -> None:
        key = ApiKey(number, f"key_{number}", b"%d" % number, Scope.TENANT, self.now_ms, *owner)
        job = Job(number, f"job_{number}", *owner, "replay", JobState.RUNNING, self.now_ms, self.now_ms)
        self.both(lambda store: store.put_tenant(Tenant(*owner, self.now_ms, title=str(number))))
        self.both(lambda store: store.put_key(key))
        self.both(lambda store: store.put_job(job))
        self.both(lambda store: store.delete_key(number + 1))
        self.both(lambda store: store.number("key"))

    @rule(owner=owners, number=small, app=small, has_token=st.booleans())
    def put_apps(self, owner: tuple[str, str], number: int, app: int, has_token: bool) -> None:  # noqa: FBT001  drawn
        digest, code = (b"%d" % number, b"") if has_token else (b"", b"%d" % number)
        made = Grant(number, "g", owner[0], app, owner[1], "u", NOON, self.now_ms, digest=digest, code=code)
        self.both(lambda store: store.put_app(App(app, f"app_{app}", owner[0], "a", self.now_ms)))
        self.both(lambda store: store.put_grant(made))
        self.both(lambda store: store.delete_app(app + 3))
        self.both(lambda store: store.delete_grant(number + 3))
        self.both(lambda store: store.take_once(str(app), now_ms=self.now_ms, until_ms=self.now_ms + number))

    @rule(limit=limits)
    def fold(self, limit: int) -> None:
        bounded = self.bounded(limit)
        self.both(lambda store: store.fold_objects(limit=bounded))

    @rule(owner=owners, number=small, what=st.lists(st.sampled_from(["a", "b", "c"]), max_size=3))
    def append_states(self, owner: tuple[str, str], number: int, what: list[str]) -> None:
        named = [("item", each) for each in what]
        self.both(lambda store: store.append_states(*owner, named, target=number, now_ms=self.now_ms, event_of=again))

    @rule(flush=st.lists(deliveries(), max_size=5), number=small, cursor=offsets, is_gone=st.booleans())
    def settle(self, flush: list[Open | Settled], number: int, cursor: int, is_gone: bool) -> None:  # noqa: FBT001  drawn
        held = {each.key: each for each in map(self.theirs, flush)}.values()
        settled = [each for each in held if isinstance(each, Settled)]
        kept = {each.key for each in self.loop.run_until_complete(self.memory.opens())}
        ended = [each.key for each in held if isinstance(each, Open) and each.key not in kept]
        opened = [
            each
            for each in held
            if isinstance(each, Open)
            and not (each.key in ended and self.loop.run_until_complete(self.memory.delivery(each.key)))
        ]
        found = self.loop.run_until_complete(self.memory.subscription(number))
        lane = LaneRow(found.partition, number, cursor, (cursor + 2,)) if found else None
        flushed = Settlement(
            settled=settled,
            attempts=[attempt(each.key, cursor % 3 + 1, at_ms=self.now_ms) for each in held],
            opened=opened,
            closed=[each.key for each in settled],
            lanes=[lane] if lane and not is_gone else [],
            lanes_gone=[(lane.partition, number)] if lane and is_gone else [],
            watermarks={PARTITIONS_USED[cursor % len(PARTITIONS_USED)]: cursor},
        )
        self.both(lambda store: store.settle(flushed))

    @rule(open_=deliveries())
    def reopen(self, open_: Open | Settled) -> None:
        theirs = self.theirs(open_)
        if isinstance(theirs, Open):
            self.both(lambda store: store.reopen(theirs))

    def theirs(self, delivery: T) -> T:
        """Return a delivery of a subscription that there is or was, or of one that will never be."""
        assert isinstance(delivery, Open | Settled)
        if delivery.key.subscription in self.owned:
            return delivery
        return replace(delivery, key=replace(delivery.key, subscription=99))

    @rule(back=st.integers(0, 12), limit=limits, keys_too=st.booleans())
    def retain(self, back: int, limit: int, keys_too: bool) -> None:  # noqa: FBT001  drawn
        self.now_ms += 25 * HOUR if keys_too else 0
        asked = {"before_ms": self.now_ms - back, "limit": self.bounded(limit), "now_ms": self.now_ms}
        self.both(lambda store: store.retain(**asked))

    @rule()
    def close_and_open(self) -> None:
        self.loop.run_until_complete(self.other.close())
        self.open()

    @rule()
    def lose_power(self) -> None:
        """Go on with the files as they lie there now, but for what only a live process needs."""
        lost, self.path = self.path, self.folder / f"{int(self.path.stem) + 1}.db"
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{lost}{suffix}", f"{self.path}{suffix}")
        self.loop.run_until_complete(self.other.close())
        self.open()

    # -- questions --------------------------------------------------------------------------------------------------

    @rule(partition=partitions, after=offsets, limit=limits, owner=owners, asked=st.lists(offsets, max_size=4))
    def read(self, partition: int, after: int, limit: int, owner: tuple[str, str], asked: list[int]) -> None:
        self.both(lambda store: store.read(partition, after=after, limit=limit))
        self.both(lambda store: store.read_tenant(*owner, after=after, limit=limit))
        self.both(lambda store: store.entries(partition, asked))

    @rule(
        owner=owners,
        of_tenant=st.booleans(),
        what=st.sampled_from([None, "a", "b"]),
        limit=limits,
        times=st.tuples(maybe_ms, maybe_ms),
    )
    def list_events(
        self,
        owner: tuple[str, str],
        of_tenant: bool,  # noqa: FBT001  drawn
        what: str | None,
        limit: int,
        times: tuple[int | None, int | None],
    ) -> None:
        tenant = owner[1] if of_tenant else None
        query = EventQuery(owner[0], tenant, object_id=what, since_ms=times[0], until_ms=times[1])
        self.walk(lambda store, page: store.events(query, page), limit)

    @rule(
        owner=owners,
        scope=st.sampled_from(["project", "tenant", "subscription"]),
        number=small,
        state=st.none() | st.sampled_from(State),
        limit=limits,
        times=st.tuples(maybe_ms, maybe_ms),
    )
    def list_deliveries(
        self,
        owner: tuple[str, str],
        scope: str,
        number: int,
        state: State | None,
        limit: int,
        times: tuple[int | None, int | None],
    ) -> None:
        query = DeliveryQuery(
            owner[0],
            owner[1] if scope == "tenant" else None,
            number if scope == "subscription" else None,
            state,
            None,
            *times,
        )
        self.walk(lambda store, page: store.deliveries(query, page), limit)

    @rule(partition=partitions, offset=st.integers(1, 20), limit=limits)
    def list_deliveries_of_an_event(self, partition: int, offset: int, limit: int) -> None:
        for entry in self.loop.run_until_complete(self.memory.entries(partition, [offset])):
            if entry.event:
                place = Place(partition, offset, entry.accepted_ms)
                query = DeliveryQuery(entry.event.project, event=place)
                self.walk(lambda store, page, query=query: store.deliveries(query, page), limit)  # type: ignore[misc]  # bound at once

    @rule(owner=owners, what=st.sampled_from(["a", "b", "c"]), after=st.sampled_from(["", "a"]), limit=limits)
    def look_at_objects(self, owner: tuple[str, str], what: str, after: str, limit: int) -> None:
        self.both(lambda store: store.object(*owner, "item", what))
        self.both(lambda store: store.objects(*owner, "item", after=after, limit=limit))
        self.both(lambda store: store.count_objects(*owner, "item"))

    @rule(owner=owners, what=st.sampled_from(["a", "b", "c"]), offset=offsets)
    def look_at_what_they_were(self, owner: tuple[str, str], what: str, offset: int) -> None:
        self.both(lambda store: store.data_at(*owner, "item", what, offset=offset))

    @rule(owner=owners, limit=limits, number=small)
    def look_at_apps(self, owner: tuple[str, str], limit: int, number: int) -> None:
        self.walk(lambda store, page: store.apps(owner[0], page), limit)
        self.walk(lambda store, page: store.grants(owner[0], page), limit)
        self.walk(lambda store, page: store.grants(owner[0], page, app=number), limit)
        self.both(lambda store: store.grant_of(b"%d" % number))
        self.both(lambda store: store.grants_until(self.now_ms, limit=limit))

    @rule(owner=owners, limit=limits, status=st.none() | st.sampled_from(Status))
    def list_the_rest(self, owner: tuple[str, str], limit: int, status: Status | None) -> None:
        project, tenant = owner
        self.walk(lambda store, page: store.projects(page), limit)
        self.walk(lambda store, page: store.tenants(project, page), limit)
        self.walk(lambda store, page: store.keys(project, page), limit)
        self.walk(lambda store, page: store.jobs(project, page, tenant=tenant), limit)
        self.walk(lambda store, page: store.subscriptions(project, page, status=status), limit)
        self.walk(lambda store, page: store.subscriptions(project, page, tenant=tenant, status=status), limit)
        self.both(lambda store: store.subscriptions_of(project, tenant))
        self.both(lambda store: store.versions_of(project, tenant))

    @rule(delivery=deliveries())
    def look_at_a_delivery(self, delivery: Open | Settled) -> None:
        self.both(lambda store: store.delivery(delivery.key))
        self.both(lambda store: store.attempts(delivery.key))

    @invariant()
    def they_stand_alike(self) -> None:
        self.both(standing)


def again(state: ObjectState) -> Event | None:
    """Make an event of a state; of one without data none."""
    if not state.data:
        return None
    return Event(state.project, state.tenant, state.object, state.object_id, "create", state.data, state.url)


async def standing(store: Store) -> tuple[object, ...]:
    """Return all that a store says without being asked for anything in particular."""
    return (
        await store.heads(),
        await store.floors(),
        await store.registry(),
        await store.watermarks(),
        await store.lanes(),
        await store.opens(),
        await store.counts("radio"),
        [await store.settled_after(partition, 0) for partition in PARTITIONS_USED],
    )


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
