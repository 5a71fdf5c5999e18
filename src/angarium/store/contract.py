"""State what every store promises.

Each method is one transaction. What changes the log gives out offsets per partition without gaps and in commit order:
whoever has seen offset 10 will never later find a new 9. Methods are called from the event loop and never block it.
`accept` and `settle` return futures, so that the hot path can add a callback instead of a task; both are grouped with
what waits at the same moment into one commit. All moments are wall-clock milliseconds given by the caller.

Nothing here decides: whether a lane may read, a key may call or a delivery is due is known above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from msgspec import Struct

from angarium.model.delivery import Attempt, Key, LaneRow, Open, Settled, State
from angarium.model.event import Entry, Event, ObjectState, Place
from angarium.model.registry import ApiKey, App, Grant, Job, JobState, Project, Tenant
from angarium.model.subscription import Status, Subscription, Version

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")

KEY_LASTS_MS = 24 * 3600 * 1000
"""How long an idempotency key answers as it did before."""


class Publish(Struct, frozen=True):
    """A publish as it is handed to the store: all of it is accepted, or nothing.

    `events` are of one project (any tenants). `key` is the idempotency key ("" for none), `digest` that of the
    request's body, `matched` what the answer will say; both are kept with the key until `now_ms` + `KEY_LASTS_MS`.
    """

    project: str
    events: tuple[Event, ...]
    now_ms: int
    key: str = ""
    digest: bytes = b""
    matched: int = 0


class Receipt(Struct, frozen=True):
    """What a publish was answered: where its events stand, in their order. `is_replay`: it had been accepted before.

    `registries` are the registry counters of its partitions as it was committed, where other processes raise them too.
    """

    places: tuple[Place, ...]
    matched: int
    is_replay: bool = False
    registries: Mapping[int, int] = {}


class Settlement(Struct, frozen=True):
    """What one flush writes: all of it, or nothing.

    `watermarks` maps partition to offset. `lanes` are written or replaced, `lanes_gone` deleted (partition,
    subscription); `opened` are written or replaced, `closed` deleted; a `settled` key replaces an older row of it.
    """

    settled: Sequence[Settled] = ()
    attempts: Sequence[Attempt] = ()
    opened: Sequence[Open] = ()
    closed: Sequence[Key] = ()
    lanes: Sequence[LaneRow] = ()
    lanes_gone: Sequence[tuple[int, int]] = ()
    watermarks: Mapping[int, int] = {}


class Slice(Struct, frozen=True):
    """What a tenant's log holds after a cursor: entries, and the offset up to which everything was looked at."""

    entries: Sequence[Entry]
    scanned_to: int


class Listing(Struct, Generic[T], frozen=True):
    """One page of a list, newest first, and the opaque cursors of its neighbours (None: there is none)."""

    data: Sequence[T]
    next: str | None = None
    prev: str | None = None


class Page(Struct, frozen=True):
    """Which page of a list is wanted; `after` and `before` are cursors of a `Listing`. A bad cursor: `BadCursor`."""

    limit: int = 50
    after: str | None = None
    before: str | None = None


class EventQuery(Struct, frozen=True):
    """Which events a list shows: `since_ms` <= accepted < `until_ms`. Members left out allow any."""

    project: str
    tenant: str | None = None
    object: str | None = None
    object_id: str | None = None
    action: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class DeliveryQuery(Struct, frozen=True):
    """Which deliveries a list shows: `since_ms` <= `key.last_ms` < `until_ms`. Members left out allow any.

    `event` is a place in the log: deliveries that settle it show, and ranges of its tenant's that it lies in.
    """

    project: str
    tenant: str | None = None
    subscription: int | None = None
    state: State | None = None
    event: Place | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Balance(Struct, frozen=True):
    """What a look at who shares has come to: partitions that are owned from now on, and those to hand over."""

    gained: frozenset[int] = frozenset()
    excess: frozenset[int] = frozenset()


class Owner(Protocol):
    """Who settles: a worker's share of the partitions. At any moment nobody else owns what it owns.

    An embedded store has one owner, of all partitions. Elsewhere a share is even, and may be lost at any time.
    """

    @property
    def owned(self) -> frozenset[int]:
        """Return the partitions that are owned now, whether `balance` has told of them yet or not."""

    async def join(self) -> None:
        """Be counted among those who share. `StoreAway` when that cannot be; whoever has joined stays as it is."""

    async def balance(self) -> Balance:
        """Show that we live, claim free partitions up to our share, and say what is new and what is too much.

        To be called at least once a second after `join`; it also connects anew after a loss. Each partition is told as
        gained once each time that it comes to be owned; excess is told until it is released. `StoreAway`: nothing was
        gained, and what was owned still is, unless `lost` says otherwise.
        """

    async def retire(self) -> None:
        """Be counted no more: others may claim our share as it is released, and `balance` tells all of it as excess.

        What is owned stays owned until it is released; `balance` still has to be called. `join` takes it back.
        """

    async def release(self, partitions: Collection[int]) -> None:
        """Let others own these. What was settled before has been written, what is settled after is refused."""

    async def leave(self) -> None:
        """Release all, and be counted no more until `join`."""

    def may_send(self) -> bool:
        """Say whether a request may start now: it is certain enough that nobody else owns what we own.

        Ask at the last moment before bytes leave. It costs no more than reading a clock.
        """

    def lost(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the loop, whenever all that was owned is lost at once; `owned` is empty by then.

        Settlements that wait fail with `OwnershipLost`.
        """


class Store(Protocol):
    """The one place where anything lasts."""

    @property
    def owner(self) -> Owner:
        """Return this process's share of the partitions; it owns none before `join`."""

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open, and bring the schema up to date; an embedded store takes its file: `StoreInUse` when another has it."""

    async def close(self) -> None:
        """Finish what waits, and let go."""

    def listen(self, woken: Callable[[Mapping[int, int]], None]) -> None:
        """Call `woken`, on the loop, soon after each commit, with the partitions that it moved and their heads.

        The futures of the publishes in that commit are set before. A partition whose registry alone has moved is there
        too. Whoever joins late asks `heads`.
        """

    def listen_registry(self, raised: Callable[[Collection[int]], None]) -> None:
        """Call `raised`, on the loop, with partitions whose registry counter has grown, whichever process did it.

        Own changes are told soon after their commit, others' within a second of theirs. Counters may have grown several
        times by then. `listen` tells of these partitions too. Whoever joins late asks `registry`.
        """

    def listen_changes(self, changed: Callable[[], None]) -> None:
        """Call `changed`, on the loop, within a second of another process's change of what all processes remember.

        That is: projects, tenants that somebody put, keys, apps and grants. It may also be called for own changes.
        """

    def say(self, words: str) -> None:
        """Say something, of at most 7,500 bytes, to the other processes that have the store open, soon.

        It may get lost, as a whole: whoever says it does without an answer.
        """

    def listen_said(self, heard: Callable[[str], None]) -> None:
        """Call `heard`, on the loop, with what other processes say from now on."""

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Keep all others, in every process, from being inside of `alone` with the same name.

        Whoever waits too long for it, or cannot reach the server, gets a `StoreAway`, and was not inside. The holder
        may use the store as it likes, but not enter the same name again. On a server a holder that hangs, or is cut
        off, is taken to be gone after a minute: this is for what is rare and short.
        """

    async def meta(self, name: str) -> bytes | None:
        """Return a named value of the store itself, such as the key of its ids."""

    async def put_meta(self, name: str, value: bytes) -> None:
        """Keep a named value; an existing one is replaced."""

    # -- log --------------------------------------------------------------------------------------------------------

    def accept(self, publish: Publish) -> Future[Receipt]:
        """Append a publish's events to their partitions' logs; the tenants come into being with their first event.

        Every event is accepted at `now_ms`, as are tenants made by it. A key answers again until it expires.
        Fails with `KeyReused` (same key, other digest), `KeyInUse` (the same key waits in an earlier group still),
        `StoreAway` (nothing was accepted, or, when `is_unknown`, perhaps).
        """

    async def append(self, entries: Sequence[Entry]) -> Sequence[Place]:
        """Append resync or replay entries, all of one partition; their offsets are ignored.

        A replay entry's event is ignored too: it is read from `of`. `NotFound` when a target was never a subscription.
        """

    async def read(self, partition: int, *, after: int, limit: int) -> Sequence[Entry]:
        """Return a partition's entries after an offset, in order, markers included."""

    async def read_tenant(self, project: str, tenant: str, *, after: int, limit: int) -> Slice:
        """Return one tenant's entries after an offset of its partition, in order, markers included.

        `scanned_to` is the last entry's offset when `limit` was reached, else the partition's head.
        """

    async def entries(self, partition: int, offsets: Sequence[int]) -> Sequence[Entry]:
        """Return the entries at these offsets, in order, leaving out what is not there any more."""

    async def heads(self) -> Mapping[int, int]:
        """Return each partition's last offset; a partition that never had an entry is left out."""

    async def floors(self) -> Mapping[int, int]:
        """Return, for all 256 partitions, the highest offset that retention has dropped; 0 where there is none."""

    async def events(self, query: EventQuery, page: Page) -> Listing[Entry]:
        """List events (no markers, resyncs or replays), newest first in the order of commits.

        A store may end a page early, even empty, when filters made it look at many entries; `next` then goes on.
        """

    # -- registry ---------------------------------------------------------------------------------------------------

    async def put_project(self, project: Project) -> bool:
        """Create or replace a project; return whether it is new.

        When it keeps no objects any more, those that it has go; what it published before is kept or not as was said
        then, however far the log is folded.
        """

    async def project(self, name: str) -> Project | None: ...

    async def projects(self, page: Page) -> Listing[Project]: ...

    async def delete_project(self, name: str) -> None:
        """Delete a project's registry: keys, apps, grants, tenants, jobs, objects, subscriptions (each with a marker).

        Its log and deliveries go by retention. What is not there is deleted already.
        """

    async def put_tenant(self, tenant: Tenant) -> bool:
        """Create or replace a tenant; return whether it is new."""

    async def tenant(self, project: str, name: str) -> Tenant | None: ...

    async def tenants(self, project: str, page: Page) -> Listing[Tenant]: ...

    async def number(self, kind: str) -> int:
        """Give out the next number of a kind (`subscription`, `key`, `job`), from 1, never twice."""

    async def put_key(self, key: ApiKey) -> None: ...

    async def key_of(self, digest: bytes) -> ApiKey | None: ...

    async def key(self, number: int) -> ApiKey | None: ...

    async def keys(self, project: str, page: Page) -> Listing[ApiKey]: ...

    async def delete_key(self, number: int) -> bool: ...

    async def put_app(self, app: App) -> None: ...

    async def app(self, number: int) -> App | None: ...

    async def apps(self, project: str, page: Page) -> Listing[App]: ...

    async def delete_app(self, number: int) -> bool:
        """Delete an app and its grants."""

    async def put_grant(self, grant: Grant) -> None: ...

    async def grant(self, number: int) -> Grant | None: ...

    async def grant_of(self, digest: bytes) -> Grant | None:
        """Return the grant whose access token, or whose code, has this SHA-256."""

    async def grants(self, project: str, page: Page, *, app: int | None = None) -> Listing[Grant]: ...

    async def grants_until(self, before_ms: int, *, limit: int) -> Sequence[Grant]:
        """Return grants that expire before a moment, the first to expire first."""

    async def delete_grant(self, number: int) -> bool: ...

    async def take_once(self, name: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a word that may be used once; False when it was taken before. It is forgotten at `until_ms`."""

    async def change(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        """Write a subscription and, when what it is owed changes, its new version with a marker in the log.

        The version's `from_offset` is ignored: the marker's offset, which is returned (None without a version), takes
        its place. `revision` is the one that was read (0 to create); `Conflict` when another has been written since.
        What is written has the revision after that. The marker is accepted at the subscription's `updated_ms`.
        """

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription with a last marker (owed nothing), accepted at its `updated_ms`.

        Its versions, lane and open rows go, its settled deliveries stay. One that is not there is deleted already.
        """

    async def subscription(self, number: int) -> Subscription | None: ...

    async def subscriptions(
        self, project: str, page: Page, *, tenant: str | None = None, status: Status | None = None
    ) -> Listing[Subscription]: ...

    async def subscriptions_of(self, project: str, tenant: str) -> Sequence[Subscription]:
        """Return all subscriptions of a tenant, in the order of their numbers."""

    async def subscription_called(self, project: str, external_id: str) -> Subscription | None:
        """Return a project's subscription that an older API knows by this id."""

    async def versions_of(self, project: str, tenant: str) -> Sequence[Version]:
        """Return all versions of a tenant's living subscriptions, by subscription and from_offset."""

    async def registry(self) -> Mapping[int, int]:
        """Return each partition's registry counter: it grows with every change of a subscription there."""

    # -- objects ----------------------------------------------------------------------------------------------------

    async def fold_objects(self, *, limit: int) -> int:
        """Fold the next entries of the log, at most `limit`, into the current state of their objects.

        Returns how many were looked at: fewer than `limit` means that all committed ones are folded. What a project
        with `keep_objects` off publishes is passed over. An event without data leaves the data as it was; resync,
        replay and marker entries change nothing.
        """

    async def object(self, project: str, tenant: str, object_: str, object_id: str) -> ObjectState | None: ...

    async def objects(
        self, project: str, tenant: str, object_: str, *, after: str, limit: int
    ) -> Sequence[ObjectState]:
        """Return a tenant's objects of one kind that are not deleted, in the order of their ids, after one of them."""

    async def object_kinds(self, project: str, tenant: str) -> Sequence[str]:
        """Return which kinds of objects a tenant has or had, in the order of their names."""

    async def count_objects(self, project: str, tenant: str, object_: str) -> int:
        """Return how many objects of one kind a tenant has that are not deleted."""

    async def data_at(self, project: str, tenant: str, object_: str, object_id: str, *, offset: int) -> bytes | None:
        """Return an object's data as the log up to and with an offset of its partition says; None when it says none.

        What has been folded is taken from the object's row, unless that is newer; then the log is searched.
        """

    async def append_states(
        self,
        project: str,
        tenant: str,
        ids: Sequence[tuple[str, str]],
        *,
        target: int,
        now_ms: int,
        event_of: Callable[[ObjectState], Event | None],
    ) -> Sequence[Place]:
        """Append a resync entry for each of these objects (kind, id), as it stands when this commits; return them.

        The log is folded first, up to its end, in the same transaction: an entry's offset lies after all that it
        contains, and nothing that is deleted is created. `event_of` makes an entry's event of the state, in the
        store's own thread: it is pure, and None leaves the object out. `NotFound` when the target was never a
        subscription of this tenant.
        """

    # -- lanes ------------------------------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Future[None]:
        """Write one flush, grouped with the publishes that wait.

        Deletions come first, so a key that is both closed and opened is open. `StoreAway` says that nothing was
        written, or, when `is_unknown`, perhaps. `OwnershipLost` is one: a partition that it is about is not owned here,
        or was lost in the midst; it is never to be tried again. (Embedded stores, with one owner, take all.)
        """

    async def watermarks(self) -> Mapping[int, int]:
        """Return each partition's watermark; 0 is left out."""

    async def lanes(self, partitions: Collection[int] | None = None) -> Sequence[LaneRow]:
        """Return the rows of all behind lanes, or those of some partitions; by partition, then subscription."""

    async def lane(self, partition: int, subscription: int) -> LaneRow | None: ...

    async def failing(self, project: str) -> Sequence[int]:
        """Return, ascending, the numbers of a project's subscriptions whose receivers may be failing.

        Those whose lane's row says so, and those of whose lane an open delivery has failed before.
        """

    async def opens(self, partitions: Collection[int] | None = None) -> Sequence[Open]:
        """Return all deliveries that are not settled, or those of some partitions; by their keys."""

    async def asked_for(self, partitions: Collection[int]) -> Sequence[Open]:
        """Return the open deliveries of some partitions that somebody asked for: tests and redeliveries; by keys."""

    async def settled_after(self, partition: int, offset: int) -> Sequence[Settled]:
        """Return what was settled with a last offset above `offset`, for recovery to skip."""

    async def reopen(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Move a settled delivery back to the open ones, or add a new one; False when it is open already.

        `attempt` is kept with it, in the same transaction: the one with which it had arrived, which its record told of.
        The partition's registry counter grows, so that its owner, wherever that is, looks for what it does not know.
        When it is open already nothing is written. Anybody may call this, owner or not.
        """

    # -- inspection -------------------------------------------------------------------------------------------------

    async def deliveries(self, query: DeliveryQuery, page: Page) -> Listing[Settled | Open]:
        """List deliveries, open and settled, newest first: by their keys' `last_ms`, then partition, offset, number."""

    async def delivery(self, key: Key) -> Settled | Open | None: ...

    async def attempts(self, key: Key) -> Sequence[Attempt]:
        """Return a delivery's failed attempts, oldest first."""

    async def counts(self, project: str) -> Mapping[str, int]:
        """Return how many deliveries of a project are in each state; range rows count for all that they stand for.

        Keys are values of `State`; a state without deliveries is left out. What retention drops is no longer counted.
        """

    # -- jobs and retention -----------------------------------------------------------------------------------------

    async def put_job(self, job: Job) -> None: ...

    async def job(self, number: int) -> Job | None: ...

    async def jobs(self, project: str, page: Page, *, tenant: str | None = None) -> Listing[Job]: ...

    async def jobs_in(self, state: JobState) -> Sequence[Job]: ...

    async def retain(self, *, before_ms: int, limit: int, now_ms: int = 0) -> int:
        """Drop at most `limit` rows that are older than a moment; return how many (fewer than `limit`: none is left).

        Entries go in the order of commits, but for those of a partition that come after one which is not old, or which
        a behind lane's cursor, a watermark or an open row still needs. Settled deliveries go with the last of their
        entries (tests: by their `last_ms`), attempts by their `at_ms`, idempotency keys and words that may be used once
        when they expired by `now_ms`. What does not count: superseded versions go when every entry that they were in
        force for is gone, objects that were deleted with their last event; others stay. What goes is folded before.
        A store that keeps each day apart may keep what is old until all of its day is, and then drop the day at once:
        its entries count, whatever the limit, and what goes with them does not.
        """
