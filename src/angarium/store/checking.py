"""Prove that a store is whole: read all of it once, partition by partition in the order of the log, and compare.

| what | must be |
|---|---|
| the log | without gaps from what was dropped to the head |
| watermarks and cursors | not beyond the head |
| deliveries, settled and open | of offsets up to the head, of their tenant's events, found by each of their events |
| what is owed | settled or open, up to the watermark; for a lane that is behind, up to its cursor |
| an offset | settled once for a subscription, but for redeliveries and what was merged |
| counts | those of the rows |
| objects | what the log makes of them, as far as it still reaches |
| idempotency keys | of entries that are there, or were dropped |

Rows come side by side in the order of partitions and offsets, so that what is held is one page of the log, what settles
it, and one partition's subscriptions and objects. What a damaged row is called, and what to do, is `wrong`'s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from angarium.core.matching import Index, in_force
from angarium.model.delivery import TEST_OFFSET, Key, LaneRow, Open, Origin, Settled, State
from angarium.model.event import Entry, Kind, Place
from angarium.model.subscription import Owed, Version
from angarium.store import bodies
from angarium.store.copying import BY_NAME, Page, Standing, Table, table_of
from angarium.store.refolding import Refold
from angarium.store.rows import Row, entry_from, open_of, settled_of, unpack_places
from angarium.store.wrong import Wrong

_KEY: Final = "partition last_offset subscription last_ms"
_COLUMNS: Final = "sequence tenant project accepted_ms kind object action object_id extra data"

ENTRY: Final = table_of("entry", "partition offset", _COLUMNS, names="object action object_id")
SETTLED: Final = table_of("settled", _KEY, "project tenant state origin first_offset record")
RANGE: Final = table_of("range", _KEY, "first_offset")
VERSION: Final = table_of("version", "subscription from_offset", "body")
_OFFSET_MAX: Final = 2**62
_AT_ONCE: Final = 500


class Reader(Protocol):
    """A store that is read as it stands."""

    async def standing(self) -> Standing: ...

    async def counts(self) -> Mapping[str, int]:
        """Return how many rows each table has."""

    async def settled_counts(self) -> Mapping[tuple[int, int], int]:
        """Return how many deliveries the store says are settled, by project and state."""

    def pages(self, table: Table, after: Any) -> AsyncGenerator[Page, None]:  # noqa: ANN401  the store's own JSON
        """Yield a table's rows in the order of its key."""

    async def find(self, table: Table, keys: Sequence[Row]) -> Sequence[Row]:
        """Return the rows with these keys that are there."""

    async def of_partition(self, table: Table, partition: int) -> Sequence[Row]:
        """Return a partition's rows in the order of the table's key."""

    def is_folded(self, row: Row) -> bool:
        """Say whether an entry is folded into its object."""

    async def damage(self) -> Sequence[str]:
        """Return what else is wrong, as the store itself finds, once its entries have been read."""


class Looked(NamedTuple):
    """How far a check is: how many entries it has looked at, of how many."""

    entries: int
    total: int


class Subscribed(NamedTuple):
    """A living subscription: whose it is, its versions, since when all of them push, and its lane if behind."""

    tenant: int
    versions: Sequence[Version]
    since: int
    lane: LaneRow | None

    def must_have(self, offset: int, watermark: int) -> bool:
        """Say whether what it is owed at an offset must be settled or open by now."""
        if offset <= self.since:
            return False  # What waited was ended when it was disabled, by one range.
        if self.lane is None:
            return offset <= watermark
        return offset <= self.lane.cursor or offset in self.lane.above


class Checking:
    """One check: `run` reads everything, and tells how far it is."""

    def __init__(self, reader: Reader, told: Callable[[Looked], None]) -> None:
        self.reader, self._told = reader, told
        self.wrong = Wrong(reader.find)
        self._counted: Counter[tuple[int, int]] = Counter()
        self._looked = 0

    async def run(self) -> Sequence[str]:
        """Return what is wrong, in sentences; nothing when all is whole."""
        reader = self.reader
        self._total = (await reader.counts())["event"]
        self._standing = {each.partition: each for each in (await reader.standing()).partitions}
        self._watermarks: dict[int, int] = {row[0]: row[1] async for row in _rows(reader, BY_NAME["progress"])}
        self._keeps = {row[0]: bool(row[4]) async for row in _rows(reader, BY_NAME["project"])}
        self._ranges: dict[int, _Ranges] = defaultdict(_Ranges)
        async for partition, last, number, _, first in _rows(reader, RANGE):
            self._ranges[partition].add(number, first, last)
        self._entries, self.settled = _Stream(reader, ENTRY), _Stream(reader, SETTLED)
        self.opens, self.members = _Stream(reader, BY_NAME["open"]), _Stream(reader, BY_NAME["member"])
        for partition in sorted(self._standing):
            await self._check_partition(partition)
        await self._check_counts()
        await self._check_keys()
        for damage in await reader.damage():
            self.wrong.add("damage", detail=damage)
        return await self.wrong.sentences()

    # -- a partition ------------------------------------------------------------------------------------------------

    async def _check_partition(self, partition: int) -> None:
        head, floor = self._standing[partition].head, self._standing[partition].floor
        watermark = self._watermarks.get(partition, 0)
        if watermark > head:
            self.wrong.add("watermark", partition=partition, found=watermark, head=head)
        owing = await self._owing(partition, head, watermark)
        refold, settling = Refold(self._keeps, floor), _Settling(self, partition, head, floor)
        last = floor
        while page := await self._entries.page(partition):
            self._check_gaps(partition, last, page)
            first, last = last + 1, page[-1][1]
            settled = await settling.of(first, last, page)
            for row in page:
                if self.reader.is_folded(row):
                    refold.add(row)
                self._check_owed(row, owing, settled)
            self._looked += len(page)
            self._told(Looked(self._looked, self._total))
        if last != head:
            self.wrong.add("head", partition=partition, last=last, head=head)
        await settling.of(last + 1, _OFFSET_MAX, ())
        await refold.check(self.reader.find, self.wrong)

    async def _owing(self, partition: int, head: int, watermark: int) -> _Owing:
        """Return what is known of a partition's subscriptions; hold its lanes against its head."""
        versions: dict[int, list[Version]] = defaultdict(list)
        for *_, body in await self.reader.of_partition(VERSION, partition):
            version = bodies.unpack(Version, body)
            versions[version.subscription].append(version)
        rows = await self.reader.of_partition(BY_NAME["lane"], partition)
        lanes = {number: bodies.unpack(LaneRow, body) for _, number, _, body in rows}
        for number, lane in lanes.items():
            if (highest := max((lane.cursor, *lane.above))) > head:
                self.wrong.add("lane", partition=partition, subscription=number, found=highest, head=head)
        owners = await _found(self.reader, BY_NAME["owner"], versions)
        tenants = {number: tenant for number, _, tenant, _ in owners}
        names = {row[0]: row[2] for row in await _found(self.reader, BY_NAME["tenant"], set(tenants.values()))}
        subscribed = {
            number: Subscribed(tenants.get(number, 0), some, _since(some), lanes.get(number))
            for number, some in versions.items()
        }
        return _Owing(subscribed, names, watermark, self._standing[partition].floor)

    def _check_gaps(self, partition: int, last: int, page: Sequence[Row]) -> None:
        for row in page:
            if row[1] != last + 1:
                self.wrong.add("gap", partition=partition, last=last, offset=row[1])
            last = row[1]

    def _check_owed(self, row: Row, owing: _Owing, settled: Mapping[int, Mapping[int, bool]]) -> None:
        partition, offset = row[:2]
        for number in owing.of(row):
            if offset not in settled.get(number, ()) and not self._ranges[partition].hold(number, offset):
                self.wrong.add("unsettled", partition=partition, offset=offset, subscription=number)

    # -- the rest ---------------------------------------------------------------------------------------------------

    def count(self, settled: Settled, project: int, state: int) -> None:
        """Count a settled delivery."""
        self._counted[project, state] += settled.count or 1

    async def _check_counts(self) -> None:
        said = await self.reader.settled_counts()
        for key in sorted(said.keys() | self._counted.keys()):
            if said.get(key, 0) != self._counted[key]:
                project, state = key
                self.wrong.add(
                    "count", project=project, state=state, found=said.get(key, 0), expected=self._counted[key]
                )

    async def _check_keys(self) -> None:
        # Most keys have one place, and each look is a round trip: many are looked for at once.
        said: list[tuple[int, str, Place]] = []
        async for row in _rows(self.reader, BY_NAME["idempotency"]):
            project, key, *_, packed = row
            kept = (each for each in unpack_places(packed) if each.offset > self._standing[each.partition].floor)
            said += [(project, key, place) for place in kept]
            if len(said) >= _AT_ONCE:
                await self._check_places(said)
                said.clear()
        await self._check_places(said)

    async def _check_places(self, said: Sequence[tuple[int, str, Place]]) -> None:
        found = await _found_by(self.reader, ENTRY, [(place.partition, place.offset) for _, _, place in said])
        there = {(entry[0], entry[1], entry[5]) for entry in found}
        for project, key, place in said:
            if (place.partition, place.offset, place.accepted_ms) not in there:
                self.wrong.add("key", name=project, key=key, partition=place.partition, offset=place.offset)


class _Owing:
    """Says which of a partition's subscriptions an entry was owed to that must have it settled, or open, by now."""

    def __init__(
        self, subscribed: Mapping[int, Subscribed], names: Mapping[int, str], watermark: int, floor: int
    ) -> None:
        self._subscribed, self._names, self._watermark, self._floor = subscribed, names, watermark, floor
        lanes = [each.lane for each in subscribed.values() if each.lane]
        self._highest = max((watermark, *(lane.cursor for lane in lanes)))
        self._above = {offset for lane in lanes for offset in lane.above}
        of_tenant: dict[int, list[Sequence[Version]]] = defaultdict(list)
        for each in subscribed.values():
            of_tenant[each.tenant].append(each.versions)
        self._rules = {tenant: _Rules(versions) for tenant, versions in of_tenant.items()}

    def of(self, row: Row) -> Iterable[int]:
        """Return the numbers of those subscriptions."""
        offset, tenant, kind = row[1], row[3], row[6]
        if kind == Kind.MARKER or tenant not in self._rules:
            return ()
        if offset > self._highest and offset not in self._above:
            return ()
        return [each for each in self._pushed(row) if self._subscribed[each].must_have(offset, self._watermark)]

    def _pushed(self, row: Row) -> Iterable[int]:
        partition, offset, _, tenant, _, accepted_ms, kind, object_, action, object_id, extra, data = row
        columns = (partition, offset, accepted_ms, kind, object_, action, object_id, extra, data)
        entry = entry_from(columns, "", self._names.get(tenant, ""))
        if kind == Kind.EVENT:
            return self._rules[tenant].push(entry)
        if kind == Kind.REPLAY and entry.of <= self._floor:
            return ()  # Its event is gone.
        target = self._subscribed.get(entry.target)
        version = in_force(target.versions, offset) if target else None
        return (entry.target,) if version is not None and version.owed is Owed.PUSH else ()


class _Rules:
    """One tenant's versions, as they are in force at one offset after the other."""

    def __init__(self, versions: Sequence[Sequence[Version]]) -> None:
        self._versions = versions
        self._turns = sorted({each.from_offset for some in versions for each in some})
        self._until = 0
        self._index = Index(())

    def push(self, entry: Entry) -> Sequence[int]:
        """Return who an event is pushed to; offsets are asked for in ascending order."""
        assert entry.event
        if entry.offset >= self._until:
            found = (in_force(versions, entry.offset) for versions in self._versions)
            self._index = Index([version for version in found if version is not None])
            self._until = min((turn for turn in self._turns if turn > entry.offset), default=_OFFSET_MAX)
        return self._index.push(entry.event)


class _Ranges:
    """One partition's ranges, by subscription."""

    def __init__(self) -> None:
        self._held: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, number: int, first: int, last: int) -> None:
        """Take in a range; they come in the order of their last offsets."""
        self._held[number].append((last, first))

    def hold(self, number: int, offset: int) -> bool:
        """Say whether an offset lies in a range of a subscription."""
        held = self._held.get(number, [])
        return any(first <= offset for _, first in held[bisect_left(held, (offset, 0)) :])


class _Settling:
    """What settles a partition's offsets, one page of the log after the other."""

    def __init__(self, checking: Checking, partition: int, head: int, floor: int) -> None:
        self._checking, self._wrong = checking, checking.wrong
        self._partition, self._head, self._floor = partition, head, floor
        self._ahead: dict[Key, set[int]] = {}
        """Of deliveries whose last event is still to come, by which of their other events they were found."""

    async def of(self, first: int, last: int, page: Sequence[Row]) -> Mapping[int, Mapping[int, bool]]:
        """Return which offsets of a page are settled or open, by subscription, and whether in a lane's own order.

        Each delivery is held against the log on the way.
        """
        tenants = {row[1]: row[3] for row in page}
        found: dict[int, dict[int, bool]] = defaultdict(dict)
        joined: dict[Key, set[int]] = defaultdict(set)
        for partition, offset, *rest in await self._checking.members.upto(self._partition, last):
            joined[Key(partition, *rest)].add(offset)
        for delivery, tenant in await self._deliveries(last):
            key = delivery.key
            by = joined.pop(key, set()) | self._ahead.pop(key, set())
            self._take(delivery, found, by, first)
            if not _is_range(delivery) and tenants.get(key.last_offset, tenant) != tenant:
                self._wrong.add(
                    "tenant", partition=key.partition, offset=key.last_offset, subscription=key.subscription
                )
        await self._look_ahead({key: by for key, by in joined.items() if last < key.last_offset}, found)
        self._ahead = {key: by for key, by in self._ahead.items() if last < key.last_offset}
        return found

    async def _deliveries(self, last: int) -> list[tuple[Settled | Open, int]]:
        """Return the deliveries whose last event comes next, up to an offset, with their tenants' numbers."""
        found: list[tuple[Settled | Open, int]] = []
        for row in await self._checking.settled.upto(self._partition, last):
            settled = _settled(row)
            self._checking.count(settled, row[4], row[6])
            found.append((settled, row[5]))
        found += [(_open(row), row[5]) for row in await self._checking.opens.upto(self._partition, last)]
        return [each for each in found if each[0].key.last_offset < TEST_OFFSET]

    def _take(self, delivery: Settled | Open, found: dict[int, dict[int, bool]], by: set[int], first: int) -> None:
        """Hold a delivery against the log, and note what it settles; `by` which of its other events it was found."""
        key, members = delivery.key, delivery.members
        whose = {"partition": key.partition, "subscription": key.subscription}
        if not 0 < key.last_offset <= self._head or (members and max(members) >= key.last_offset):
            self._wrong.add("beyond", **whose, offset=max((key.last_offset, *members)), head=self._head)
        if _is_range(delivery):
            return
        for lost in sorted({each for each in members if each > self._floor} - by):
            self._wrong.add("member", **whose, offset=lost, last=key.last_offset)
        for offset in (key.last_offset, *(each for each in members if each >= first)):
            self._mark(delivery, offset, found)

    async def _look_ahead(self, joined: Mapping[Key, set[int]], found: dict[int, dict[int, bool]]) -> None:
        """Note what of a page is settled by deliveries whose last event is still to come."""
        reader = self._checking.reader
        keys = [(key.partition, key.last_offset, key.subscription, key.last_ms) for key in joined]
        later: list[Settled | Open] = [_settled(row) for row in await _found_by(reader, SETTLED, keys)]
        later += [_open(row) for row in await _found_by(reader, BY_NAME["open"], keys)]
        for delivery in later:
            for offset in joined[delivery.key] & set(delivery.members):
                self._mark(delivery, offset, found)
        for key, by in joined.items():
            self._ahead.setdefault(key, set()).update(by)

    def _mark(self, delivery: Settled | Open, offset: int, found: dict[int, dict[int, bool]]) -> None:
        if isinstance(delivery, Settled) and delivery.state is State.MERGED:
            return  # What it was merged into settles its events.
        key, is_lane = delivery.key, delivery.origin is Origin.LANE
        before = found[key.subscription].get(offset, False)
        if before and is_lane:
            self._wrong.add("twice", partition=key.partition, offset=offset, subscription=key.subscription)
        found[key.subscription][offset] = before or is_lane


def _is_range(delivery: Settled | Open) -> bool:
    return isinstance(delivery, Settled) and delivery.count > 0


def _settled(row: Row) -> Settled:
    *key, _, _, state, origin, _, record = row
    return settled_of((*key, state, origin, record))


def _open(row: Row) -> Open:
    *key, _, _, origin, _, record = row
    return open_of((*key, origin, record))


def _since(versions: Sequence[Version]) -> int:
    return max((version.from_offset for version in versions if version.owed is not Owed.PUSH), default=0)


# -- rows in their order -----------------------------------------------------------------------------------------------


async def _found(reader: Reader, table: Table, numbers: Iterable[int]) -> list[Row]:
    """Return the rows with these numbers that are there."""
    return await _found_by(reader, table, [(number,) for number in numbers])


async def _found_by(reader: Reader, table: Table, keys: Sequence[Row]) -> list[Row]:
    """Return the rows with these keys that are there."""
    found: list[Row] = []
    for start in range(0, len(keys), _AT_ONCE):
        found += await reader.find(table, keys[start : start + _AT_ONCE])
    return found


async def _rows(reader: Reader, table: Table) -> AsyncGenerator[Row, None]:
    async for page in reader.pages(table, None):
        for row in page.rows:
            yield row


class _Stream:
    """A table's rows in the order of partition and offset, its first two columns; each is taken once."""

    def __init__(self, reader: Reader, table: Table) -> None:
        self._pages = reader.pages(table, None)
        self._rows: Sequence[Row] = ()
        self._next = 0

    async def page(self, partition: int) -> Sequence[Row]:
        """Take what is in hand of a partition, reading on when that is nothing; none when all of it was taken."""
        if not await self._has_next():
            return ()
        start = self._next
        while self._next < len(self._rows) and self._rows[self._next][0] <= partition:
            self._next += 1
        return self._rows[start : self._next]

    async def upto(self, partition: int, offset: int) -> list[Row]:
        """Take the rows up to an offset of a partition."""
        found: list[Row] = []
        while await self._has_next() and self._rows[self._next][:2] <= (partition, offset):
            found.append(self._rows[self._next])
            self._next += 1
        return found

    async def _has_next(self) -> bool:
        if self._next == len(self._rows):
            page = await anext(self._pages, None)
            self._rows, self._next = (page.rows, 0) if page else ((), 0)
        return bool(self._rows)
