"""The lane: one subscription's way through the log, as a state machine. Facts go in, effects come out.

| fact | method |
|---|---|
| the tail hands over an owed event (live), or the log was read on from the cursor (behind) | `arrive`, `read` |
| there is room on the wire | `take`, which seals and returns the next delivery |
| an attempt ended | `end` |
| it was paused, resumed, or its policy changed | `pause`, `resume`, `change` |
| it has a reason of its own to wait | `fall_behind`, until `join` |

A *live* lane has no row: the partition's watermark is its cursor. A lane that is *behind* (breaker, pause, rate, too
much waiting) holds only what it is about to send, and reads the log from its own cursor. Deliveries that failed, and
events that wait for an object whose delivery failed, are *open*: they have a row each, so that the cursor passes them.

The lane has no clock and no dice: each method is given the moment, and `end` the verdict. Effects gather in `effects`;
whoever drives the lane carries them out, in order, after each call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.core import effects, merging, sealing
from angarium.core.breaker import Breaker
from angarium.core.coalescing import object_of
from angarium.core.cursor import Progress
from angarium.core.deciding import Delivered, Disable, Exhausted, Retry, is_hopeless, lifetime_s
from angarium.core.effects import Delivery, Expire, FallBehind, GiveUp, Record, Settle, Write
from angarium.core.opening import Opened
from angarium.core.pacing import Pace
from angarium.core.queueing import Queue
from angarium.model.delivery import Accepted, Key, LaneRow, Origin, Refused, State, Throttled
from angarium.model.subscription import Ordering

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from angarium.clock import Moment
    from angarium.core.coalescing import Object
    from angarium.core.effects import Effect, Fact
    from angarium.model.delivery import Open, Settled
    from angarium.model.event import Entry
    from angarium.model.subscription import Policy

OPEN_MAX = 256
"""How many deliveries of a lane may have a row; a lane with so many reads no further."""

READ_MAX = 256
_TRACKED_MAX = 512


class Lane:
    """One subscription's lane; `scale` divides the breaker's pauses, `merges` is for `core.merging`."""

    __slots__ = (
        "breaker",
        "counted_to",
        "effects",
        "handed_to",
        "in_flight",
        "is_behind",
        "is_closed",
        "is_paused",
        "last_delivered_ms",
        "merges",
        "not_before",
        "not_before_ms",
        "number",
        "opened",
        "pace",
        "partition",
        "policy",
        "progress",
        "queue",
        "resumed_ms",
        "waiting",
    )

    def __init__(
        self, number: int, partition: int, policy: Policy, *, scale: float = 1.0, merges: bool = False
    ) -> None:
        self.number, self.partition, self.policy, self.merges = number, partition, policy, merges
        self.breaker = Breaker(scale=scale)
        self.pace = Pace(policy.per_minute)
        self.progress = Progress()
        self.effects: list[Effect] = []
        self.queue = Queue(weighs=policy.batch.max_events > 1)
        self.opened = Opened()
        self.in_flight = 0
        self.is_behind = False
        self.is_paused = False
        self.is_closed = False
        self.waiting = 0
        self.counted_to = 0
        self.handed_to = 0
        self.resumed_ms = 0
        self.last_delivered_ms = 0
        self.not_before = 0.0
        self.not_before_ms = 0

    # -- what it says of itself -------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Say whether nothing would be lost with this object."""
        return not (self.is_behind or self.queue.held or len(self.opened)) and self.breaker.is_at_rest

    @property
    def backlog(self) -> int:
        """Return how many owed events are not settled."""
        deliveries = self.opened.deliveries.values()
        opened = sum(len(delivery.members) + 1 for delivery in deliveries if delivery.origin is Origin.LANE)
        return self.waiting + self.queue.held + opened

    @property
    def has_unread(self) -> bool:
        """Say whether owed events lie in the log that it has not read yet, of a lane that is behind."""
        return self.is_behind and (self.waiting > 0 or self.progress.read_to < self.counted_to)

    @property
    def has_next(self) -> bool:
        """Say whether it is worth asking for one more delivery, now or later."""
        return bool(self.queue.entries) or self.is_behind or self.opened.due_at() is not None

    def is_past(self, offset: int) -> bool:
        """Say whether it is of what came after an offset of the log: an earlier owner has settled all before."""
        deliveries = self.opened.deliveries.values()
        has_sealed = any(each.key.last_offset > offset for each in deliveries if each.origin is Origin.LANE)
        return has_sealed or (self.is_behind and self.progress.read_to >= offset)

    @property
    def is_full(self) -> bool:
        """Say whether it has as many rows as it may have."""
        return self.opened.rows >= OPEN_MAX

    def row(self) -> LaneRow:
        """Return its durable state, of a lane that is behind."""
        return LaneRow(
            self.partition,
            self.number,
            self.progress.cursor,
            self.progress.above,
            self.waiting + len(self.progress.unresolved),  # a new owner reads again what is on the wire without a row
            max(self.counted_to, self.progress.read_to),
            self.breaker.failing_since_ms,
            self.breaker.failures,
            self.breaker.probe_s,
            self.not_before_ms,
            self.last_delivered_ms,
        )

    # -- events come ------------------------------------------------------------------------------------------------

    def arrive(self, entry: Entry, now: Moment) -> None:
        """Take an owed event from the tail; the lane is live."""
        self.handed_to = entry.offset
        self.progress.take_up(entry.offset)
        self.queue.push(entry, now.mono)

    def pass_over(self, offset: int) -> None:
        """Take note of an owed event that an earlier owner has settled."""
        self.handed_to = offset
        if not self.is_behind:
            self.progress.pass_over(offset)

    def count(self, offset: int) -> None:
        """Take note that one more owed event lies in the log; the lane is behind."""
        if offset > self.counted_to:
            self.waiting += 1
            self.counted_to = offset

    def reads(self, now: Moment) -> int:
        """Return how many events to read on from the cursor now; 0 for none."""
        if not self.is_behind or self.is_paused or self.is_closed or self.is_full:
            return 0
        if self._is_waiting(now.mono) or not (self.has_unread or self.can_join(now)):
            return 0
        wanted = max(READ_MAX, 2 * self.policy.batch.max_events)
        if merging.is_held(self):
            return merging.reads(self, now, wanted)
        if self.breaker.is_open:
            is_time = now.mono >= self.breaker.probe_at and not self.in_flight
            return 0 if self.queue or not is_time else max(1, self.policy.batch.max_events)
        self._pass_stuck()
        is_filled = self.queue.held + len(self.progress.tracked) >= wanted + _TRACKED_MAX
        return wanted if len(self.queue) * 2 < wanted and not is_filled else 0

    def read(self, owed: Sequence[Entry], scanned_to: int, now: Moment) -> None:
        """Take what was read on from the cursor: the owed entries up to an offset."""
        new = set(self.progress.read([entry.offset for entry in owed], scanned_to))
        for entry in owed:
            if entry.offset in new:
                self.queue.push(entry, now.mono)
        self.waiting = max(0, self.waiting - len(new)) if scanned_to < self.counted_to else 0
        self.counted_to = max(self.counted_to, scanned_to)

    def _pass_stuck(self) -> None:
        """Let the cursor pass what has been on the wire for long, by giving it a row."""
        if len(self.progress.tracked) < _TRACKED_MAX:
            return
        first = self.progress.tracked[0]
        for delivery in list(self.opened.deliveries.values()):
            if not delivery.has_row and (first == delivery.key.last_offset or first in delivery.members):
                self._write(delivery)

    # -- deliveries go ----------------------------------------------------------------------------------------------

    def take(self, now: Moment) -> Delivery | None:
        """Return the next delivery to be sent, sealed now or due again; None when nothing may go."""
        if self._is_waiting(now.mono) or self.in_flight >= self._limit():
            return None
        delivery = self._asked_for(now) if self.is_paused else merging.next_due(self, now) or self._sealed(now)
        if delivery is None:
            return None
        delivery.is_on_wire = True
        self.in_flight += 1
        self.pace.take(now.mono)
        return delivery

    def _asked_for(self, now: Moment) -> Delivery | None:
        """Return a test that is due: a pause holds back what happened, not what somebody wants to see now."""
        due = (each for each in self.opened.deliveries.values() if each.origin is Origin.TEST)
        return next((each for each in due if not each.is_on_wire and each.next_at <= now.mono), None)

    def wakes_at(self, now: Moment) -> float | None:
        """Return the monotonic second from which on `take` or `reads` may have something; None: only after a fact."""
        if self.is_paused or self.is_closed or self.in_flight >= self._limit():
            return None
        due_at = self.opened.due_at()
        moments = [] if due_at is None else [due_at]
        if self._may_seal():
            if self.breaker.is_open:
                moments += [self.breaker.probe_at] if self.queue or self.has_unread else []
            elif self.queue:
                moments.append(self._batch_due(now))
            elif self.has_unread:
                moments.append(now.mono)
        return max(min(moments), self.not_before, self.pace.free_at()) if moments else None

    def _may_seal(self) -> bool:
        is_strict = self.policy.ordering is Ordering.STRICT
        return not (self.is_closed or self.is_full or (is_strict and len(self.opened)) or merging.is_held(self))

    def _limit(self) -> int:
        if self.policy.ordering is Ordering.STRICT:
            return 1
        return self.breaker.limit(self.policy.max_in_flight)

    def _is_waiting(self, mono: float) -> bool:
        return mono < self.not_before or (self.pace.per_minute is not None and mono < self.pace.free_at())

    def _sealed(self, now: Moment) -> Delivery | None:
        if not self.queue.entries or not self._may_seal():
            return None
        if self.breaker.is_open and now.mono < self.breaker.probe_at:
            return None
        delivery = self._single() if self.policy.batch.max_events == 1 else self._batch(now)
        if delivery is None and not self.queue.entries:
            self.breaker.put_off(now.mono)  # All waits for its object: to read on at once would give each a row.
        return delivery

    def _single(self) -> Delivery | None:
        if self.policy.ordering is not Ordering.OBJECT:
            return self._seal([self.queue.pop()], ())
        while self.queue.entries and not self.is_full:
            entry = self.queue.pop()
            if not self._blocks(entry):
                return self._seal([entry], (object_of(entry),))
        return None

    def _batch(self, now: Moment) -> Delivery | None:
        is_ordered = self.policy.ordering is Ordering.OBJECT
        if is_ordered and self.opened.has_chains():
            self.queue.set_aside(self._blocks)
        batch = self.policy.batch
        is_due = bool(self.queue) and now.mono >= self._batch_due(now)
        is_small = len(self.queue) < batch.max_events and self.queue.bytes < batch.max_bytes
        if not self.queue or (is_small and not is_due):
            return None
        count, is_full = sealing.fill(self.queue.entries, batch)
        if not is_full and not is_due:
            return None
        # What had waited for its object stands first in the queue, whatever its offset.
        entries = sorted([self.queue.pop() for _ in range(count)], key=lambda entry: entry.offset)
        self.queue.since = now.mono
        return self._seal(entries, tuple(dict.fromkeys(map(object_of, entries))) if is_ordered or self.merges else ())

    def _batch_due(self, now: Moment) -> float:
        batch = self.policy.batch
        if batch.max_events == 1:
            return 0.0
        accepted_ms = self.queue.entries[0].accepted_ms
        return sealing.due_s(
            batch, first_mono=self.queue.since, accepted_ms=accepted_ms, now_mono=now.mono, now_ms=now.wall_ms
        )

    def _seal(self, entries: list[Entry], objects: tuple[Object, ...]) -> Delivery:
        last = entries[-1]
        key = Key(self.partition, last.offset, self.number, last.accepted_ms)
        members = tuple([entry.offset for entry in entries[:-1]]) if len(entries) > 1 else ()
        is_batch = self.policy.batch.max_events > 1
        delivery = Delivery(key, tuple(entries), members, objects, is_batch=is_batch)
        self.opened.add(delivery)
        if is_batch:
            self._write(delivery)
        return delivery

    # -- waiting for an object --------------------------------------------------------------------------------------

    def _blocks(self, entry: Entry) -> bool:
        """Let an event wait if its object is busy; say whether it is."""
        busy = object_of(entry)
        head = self.opened.head(busy)
        if head is not None:
            self._block(entry, busy, head)
        return head is not None

    def _block(self, entry: Entry, busy: Object, head: Delivery) -> None:
        """Let an event wait for its object: with a row, when what it waits for has failed and may take days."""
        if head.attempts and not self.queue.is_blocked(busy) and not self.is_full:
            key = Key(self.partition, entry.offset, self.number, entry.accepted_ms)
            delivery = Delivery(key, None, objects=(busy,), is_batch=self.policy.batch.max_events > 1)
            self.opened.add(delivery)
            self._write(delivery)
        else:
            self.queue.block(entry, busy)

    # -- attempts end -----------------------------------------------------------------------------------------------

    def end(self, delivery: Delivery, fact: Fact, now: Moment) -> None:
        """Take note of how an attempt ended, and of the verdict on it."""
        self.in_flight -= 1
        delivery.is_on_wire = False
        delivery.attempts += 1
        has_opened = self._judge_health(fact, now)
        match fact.verdict:
            case Delivered():
                self.last_delivered_ms = now.wall_ms
                self._settle(delivery, effects.settled(delivery, State.DELIVERED, fact, now), now)
            case Retry(wait_s) if not self.is_closed:
                self.effects.append(Record(effects.attempt(delivery, fact)))
                self._try_again(delivery, fact, now, wait_s)
            case Retry() | Exhausted() | Disable() as verdict:
                state = State.CANCELLED if self.is_closed and isinstance(verdict, Retry) else State.EXHAUSTED
                self.effects.append(Record(effects.attempt(delivery, fact)))
                self._settle(delivery, effects.settled(delivery, state, fact, now), now)
        if isinstance(fact.verdict, Disable) and not self.is_closed:
            self.effects.append(GiveUp("the receiver answered 410 Gone"))
        elif self.breaker.is_open and not isinstance(fact.verdict, Delivered):
            self._look_at_lifetimes(now)
        if has_opened and not self.is_behind:
            self.effects.append(FallBehind())

    def _judge_health(self, fact: Fact, now: Moment) -> bool:
        """Tell the breaker; return whether it has opened just now."""
        match fact.outcome:
            case Accepted():
                self.breaker.well(self.policy.max_in_flight)
            case Refused():
                self.breaker.refused(now.wall_ms)
            case Throttled(_, float(wait_s)):
                self.not_before = max(self.not_before, now.mono + wait_s)
                self.not_before_ms = now.wall_ms + int(wait_s * 1000)
                return self.breaker.sick(now.mono, now.wall_ms)
            case _:
                return self.breaker.sick(now.mono, now.wall_ms)
        return False

    def _look_at_lifetimes(self, now: Moment) -> None:
        if is_hopeless(self.breaker.failing_since_ms, now.wall_ms, self.policy.retry):
            self.effects.append(GiveUp("it has been failing for five days"))
            return
        lifetime = lifetime_s(self.policy.retry)
        if lifetime is None:
            return
        before_ms = now.wall_ms - int(lifetime * 1000)
        if before_ms > self.resumed_ms:
            self.effects.append(Expire(before_ms))

    def _try_again(self, delivery: Delivery, fact: Fact, now: Moment, wait_s: float) -> None:
        delivery.entries = None  # From now on the row holds what is sent.
        delivery.opened_ms = delivery.opened_ms or now.wall_ms
        next_ms = now.wall_ms + int(wait_s * 1000)
        self._write(delivery, fact, next_ms)
        self.opened.schedule(delivery, now.mono + wait_s)
        if (self.policy.ordering is Ordering.STRICT or self.merges) and not self.is_behind:
            self.effects.append(FallBehind())
        for each in delivery.objects:
            waiting = self.queue.unblock(each)
            if self.merges:
                self.queue.put_first(waiting)
            else:
                for entry in waiting:
                    self._block(entry, each, delivery)

    def _settle(self, delivery: Delivery, settled: Settled, now: Moment) -> None:
        self.effects.append(Settle(settled, closes=delivery.has_row, frees=self._resolve(delivery)))
        freed = self.opened.remove(delivery, now.mono)
        if freed and self.queue.is_blocking:
            self.queue.put_first([entry for each in freed for entry in self.queue.unblock(each)])

    def _write(self, delivery: Delivery, fact: Fact | None = None, next_ms: int = 0) -> None:
        self.opened.gives_row(delivery)
        self.effects.append(Write(effects.row(delivery, fact, next_ms), frees=self._resolve(delivery)))

    def _resolve(self, delivery: Delivery) -> bool:
        is_new = self.progress.resolve(delivery.key.last_offset)
        for offset in delivery.members:
            self.progress.resolve(offset)
        return is_new

    # -- its state changes ------------------------------------------------------------------------------------------

    def fall_behind(self, position: int, *, skipped: Iterable[int] = ()) -> None:
        """Drop what is not sealed; it is read again from the log. The tail has handed over all up to `position`.

        `skipped` are offsets that need not be sent: an earlier owner of the lane has resolved them.
        """
        dropped = self.queue.clear()
        self.waiting += len(dropped)
        position = max(position, self.handed_to)
        self.progress.drop(dropped, self.progress.read_to if self.is_behind else position)
        if not self.is_behind:
            self.counted_to = position
            self.is_behind = True
            self.progress.ahead.update(offset for offset in skipped if offset > self.progress.read_to)

    def can_join(self, now: Moment) -> bool:
        """Say whether it may be live again once it has come to the tail's position: it has no reason to wait."""
        is_held = self.is_paused or self.is_closed or self.breaker.is_open or self._is_waiting(now.mono)
        is_strict = self.policy.ordering is Ordering.STRICT
        is_stuck = (is_strict or self.merges) and any(each.attempts for each in self.opened.deliveries.values())
        is_ready = self.opened.rows < OPEN_MAX // 2 and len(self.queue) < READ_MAX
        return is_ready and not (is_held or is_stuck)

    def join(self, position: int) -> None:
        """Become live: the tail, which has come to `position`, hands over what is owed from there on."""
        self.is_behind, self.waiting, self.handed_to = False, 0, position

    def pause(self, position: int) -> None:
        """Seal and send no more; what is owed is kept in the log."""
        self.is_paused = True
        self.fall_behind(position)

    def resume(self, now: Moment) -> None:
        """Go on, slowly at first; lifetimes count from here."""
        self.is_paused = False
        self.resumed_ms = now.wall_ms
        self.breaker.forget()
        self.breaker.start_slowly()

    def put_back(self, delivery: Delivery, now: Moment) -> None:
        """Take back what `take` returned and was not sent after all."""
        self.in_flight -= 1
        delivery.is_on_wire = False
        self.opened.schedule(delivery, now.mono)

    def leave(self, now: Moment, *, due_ms: int = 0) -> None:
        """Write what is still on the wire as open: a new owner sends it again, from a moment on (0: now)."""
        for delivery in list(self.opened.deliveries.values()):
            if delivery.is_on_wire and not delivery.has_row:
                self._write(delivery, next_ms=due_ms or now.wall_ms)

    def change(self, policy: Policy, *, merges: bool = False) -> None:
        """Serve by another policy from now on; what is sealed stays as it is."""
        self.policy, self.merges = policy, merges
        self.pace = self.pace.changed(policy.per_minute)
        self.queue.weigh(weighs=policy.batch.max_events > 1)

    def close(self, state: State, reason: str, position: int, now: Moment) -> None:
        """End: settle all that is not on the wire; what is ends with its attempt. The log's rest is the caller's."""
        self.fall_behind(position)
        self.is_closed = True
        for delivery in [each for each in self.opened.deliveries.values() if not each.is_on_wire]:
            self._settle(delivery, effects.closed(delivery, state, reason, now), now)

    def skip(self, scanned_to: int, count: int) -> None:
        """Take note that all up to an offset was looked at, and `count` events there were settled as one range."""
        self.progress.read(sorted(offset for offset in self.progress.ahead if offset <= scanned_to), scanned_to)
        self.waiting = max(0, self.waiting - count)
        self.counted_to = max(self.counted_to, scanned_to)

    def restore(self, row: LaneRow, now: Moment) -> None:
        """Take up where a row says that the lane stood; it is behind."""
        self.is_behind = True
        self.progress = Progress(row.cursor, row.above)
        self.waiting, self.counted_to = row.waiting, row.counted_to
        self.last_delivered_ms = row.last_delivered_ms
        self.not_before = now.mono + max(0, row.not_before_ms - now.wall_ms) / 1000
        self.not_before_ms = row.not_before_ms
        self.breaker.restore(row.failures, row.failing_since_ms, row.probe_s, now.mono)

    def adopt(self, row: Open, objects: Sequence[Object], now: Moment, *, wait_s: float) -> None:
        """Take up an open delivery's row, due in so many seconds; rows come in the order of their first events."""
        is_ordered = (self.policy.ordering is Ordering.OBJECT or self.merges) and row.origin is Origin.LANE
        is_batch = bool(row.members) or self.policy.batch.max_events > 1
        delivery = effects.delivery_of(row, objects if is_ordered else (), is_batch=is_batch)
        if self.opened.add(delivery):
            self.opened.schedule(delivery, now.mono + wait_s)
