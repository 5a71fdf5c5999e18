"""Drive one lane through a model of the world around it: a log, a tail, a wire, a disk, and crashes.

Time is a number, so that days take no time. What the disk holds changes only in `flush`, all at once; a crash forgets
everything else and takes up what the disk holds.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from angarium.clock import Moment
from angarium.core.coalescing import object_of
from angarium.core.deciding import Delivered, decide
from angarium.core.effects import Delivery, Expire, Fact, FallBehind, Free, GiveUp, Record, Settle, Write
from angarium.core.lane import Lane
from angarium.model.delivery import Accepted, Key, LaneRow, Open, Outcome, Settled, State
from angarium.model.event import Entry, Event
from angarium.model.subscription import Batch, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = Accepted()
NUMBER, PARTITION = 7, 3


def policy(**changes: Any) -> Policy:
    """Return a policy: two waits of ten seconds, four requests at once."""
    given = {
        "ordering": Ordering.OBJECT,
        "batch": Batch(),
        "retry": Retry((10.0, 10.0), jitter=0.0),
        "max_in_flight": 4,
        **changes,
    }
    return Policy(**given)


class LaneWorld:
    """One lane, and all that it needs."""

    def __init__(self, of: Policy | None = None, *, seed: int = 0, merges: bool = False) -> None:
        self.policy, self.merges = of or policy(), merges
        self.dice = Random(seed)
        self.mono = 1000.0
        self.log: list[Entry] = []
        self.lane = Lane(NUMBER, PARTITION, self.policy, merges=self.merges)
        self.position = 0
        self.wire: list[Delivery] = []
        self.sent: list[tuple[int, ...]] = []  # the offsets of each request, in order
        self.given_up: list[str] = []
        self.attempts: list[Record] = []
        self._skip: set[int] = set()
        self._owing: set[int] = set()  # by the live lane, as the ring counts
        # What the disk holds, and what the next flush writes.
        self.rows: dict[Key, Open] = {}
        self.lane_row: LaneRow | None = None
        self.watermark = 0
        self.settled: list[Settled] = []
        self._pending: list[Settle | Write] = []

    @property
    def now(self) -> Moment:
        """Return the moment: wall and monotonic time go together here."""
        return Moment(self.mono, int(self.mono * 1000))

    # -- the log ----------------------------------------------------------------------------------------------------

    def publish(self, *object_ids: str, data: bytes = b"{}") -> None:
        """Append an event of each object."""
        for object_id in object_ids:
            event = Event("p", "t", "item", object_id, "update", data)
            self.log.append(Entry(PARTITION, len(self.log) + 1, self.now.wall_ms, event))

    def tail(self, count: int = 10**9) -> None:
        """Hand so many entries over."""
        for entry in self.log[self.position : self.position + count]:
            if self.lane.is_behind:
                self.lane.count(entry.offset)
            elif entry.offset in self._skip:
                self.lane.pass_over(entry.offset)
            else:
                self._owing.add(entry.offset)
                self.lane.arrive(entry, self.now)
            self.position = entry.offset

    def read(self) -> None:
        """Let the lane read on from its cursor, and join when it has come to the tail."""
        if not (wanted := self.lane.reads(self.now)):
            return
        after = self.lane.progress.read_to
        owed = self.log[after : self.position][:wanted]
        self.lane.read(owed, owed[-1].offset if owed else self.position, self.now)
        self.carry_out()
        if self.lane.progress.read_to == self.position and self.lane.can_join(self.now):
            self.lane.join(self.position)
            self._owing |= self.lane.progress.unresolved

    # -- the wire ---------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send all that may go now."""
        while (delivery := self.lane.take(self.now)) is not None:
            self.carry_out()
            self.wire.append(delivery)
            self.sent.append((*delivery.members, delivery.key.last_offset))
        self.carry_out()

    def end(self, outcome: Outcome = OK, *, which: int = 0) -> None:
        """End one request."""
        delivery = self.wire.pop(which)
        verdict = decide(outcome, attempt=delivery.attempts + 1, schedule=self.lane.policy.retry, spread=0.0)
        status = getattr(outcome, "status", 0)
        fact = Fact(outcome, verdict, self.now.wall_ms, 1, status, "r", body=b"{}", content_type="c")
        self.lane.end(delivery, fact, self.now)
        self.carry_out()

    def end_all(self, outcome: Outcome = OK) -> None:
        """End all requests on the wire alike."""
        while self.wire:
            self.end(outcome)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.mono += seconds

    def carry_out(self) -> None:
        """Do as the engine does with effects."""
        effects, self.lane.effects = self.lane.effects, []
        for effect in effects:
            match effect:
                case Settle() | Write():
                    self._put(effect)
                case Free(offsets):
                    self._owing -= set(offsets)
                case Record():
                    self.attempts.append(effect)
                case FallBehind():
                    self.fall_behind()
                case Expire(before_ms):
                    self.expire(before_ms)
                case GiveUp(reason):
                    self.given_up.append(reason)

    def _put(self, effect: Settle | Write) -> None:
        self._pending.append(effect)
        delivery = effect.settled if isinstance(effect, Settle) else effect.row
        if effect.frees:
            self._owing -= {delivery.key.last_offset, *delivery.members}

    def fall_behind(self) -> None:
        """Do as the engine does when a lane has a reason of its own to wait."""
        self._owing -= self.lane.progress.unresolved
        self.lane.fall_behind(self.position, skipped=self._skip)

    def expire(self, before_ms: int) -> None:
        """Settle as one range what is older than its lifetime."""
        self.fall_behind()
        self.lane.leave(self.now)
        self.carry_out()
        old = [each for each in self.log[self.lane.progress.read_to : self.position] if each.accepted_ms < before_ms]
        if not old:
            return
        mine = [entry for entry in old if entry.offset not in self.lane.progress.ahead]
        self.lane.skip(old[-1].offset, len(mine))
        if mine:
            key = Key(PARTITION, mine[-1].offset, NUMBER, mine[-1].accepted_ms)
            settled = Settled(key, State.EXHAUSTED, 0, first_offset=mine[0].offset, count=len(mine))
            self._pending.append(Settle(settled, closes=False, frees=False))

    # -- the disk ---------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write all that is pending, with the lane's row and the watermark."""
        for effect in self._pending:
            match effect:
                case Settle(settled, closes, _):
                    self.settled.append(settled)
                    if closes:
                        self.rows.pop(settled.key, None)
                case Write(row, _):
                    self.rows[row.key] = row
        self._pending.clear()
        self.lane_row = self.lane.row() if self.lane.is_behind else None
        self.watermark = min([self.position, *(offset - 1 for offset in self._owing)])

    def crash(self) -> None:
        """Lose all but what the disk holds, and take that up."""
        self.wire.clear()
        self._pending.clear()
        self.lane = Lane(NUMBER, PARTITION, self.policy, merges=self.merges)
        self.position, self._owing = self.watermark, set()
        if self.lane_row is not None:
            self.lane.restore(self.lane_row, self.now)
            self.lane.counted_to = max(self.lane.counted_to, self.position)
        self._skip = set(self.covered())
        for row in sorted(self.rows.values(), key=lambda row: min((row.key.last_offset, *row.members))):
            offsets = (*row.members, row.key.last_offset)
            self._skip.update(offsets)
            self.lane.adopt(row, [object_of(self.log[offset - 1]) for offset in offsets], self.now, wait_s=0.0)
            self.lane.breaker.start_slowly()

    # -- what came of it --------------------------------------------------------------------------------------------

    def covered(self) -> Sequence[int]:
        """Return every offset that a settled record stands for, as often as one does: merged ones stand for none."""
        found: list[int] = []
        for settled in self.settled:
            if settled.state is State.MERGED:
                continue
            if settled.count:
                found += self._in_range(settled)
            else:
                found += [*settled.members, settled.key.last_offset]
        return found

    def _in_range(self, of: Settled) -> list[int]:
        alone = {
            offset
            for settled in self.settled
            if not settled.count
            for offset in (*settled.members, settled.key.last_offset)
        }
        alone |= {offset for row in self.rows.values() for offset in (*row.members, row.key.last_offset)}
        return [offset for offset in range(of.first_offset, of.key.last_offset + 1) if offset not in alone]

    def drain(self) -> None:
        """Let the receiver be well and everything go, however long it takes."""
        for _ in range(5000):
            self.tail()
            self.read()
            self.pump()
            self.end_all()
            if self.position == len(self.log) and not self.lane.backlog and not self.lane.has_unread:
                break
            self.tick(5)
        self.flush()

    def is_delivered(self, verdict: object) -> bool:
        """Say whether a verdict is the good one."""
        return isinstance(verdict, Delivered)
