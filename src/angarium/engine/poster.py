"""Make one attempt at a delivery: encode, sign, post, judge, decide. What follows from it is the lane's to say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.core.deciding import Delivered, Exhausted, Retry, decide
from angarium.core.effects import Fact
from angarium.dialects.dialect import Body
from angarium.engine.routes import event_id
from angarium.errors import StoreAway
from angarium.model.delivery import Accepted, Gone, Open, Origin, Refused, Silent
from angarium.model.event import Kind
from angarium.model.wire import WITHHELD, NoResponse, Reason, Response
from angarium.telemetry import DEBUG, DELIVERY_ATTEMPTED, ENGINE_FAILED, INFO, emit, is_said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from angarium.clock import Clock, Moment
    from angarium.core.effects import Delivery
    from angarium.egress.contract import Sender
    from angarium.engine.courier import Courier
    from angarium.engine.routes import Route
    from angarium.engine.settler import Settler
    from angarium.model.delivery import Outcome
    from angarium.model.event import Entry
    from angarium.model.ids import Ids
    from angarium.store.contract import Store

    Ended = Callable[[Fact | None, Moment], None]

ANSWER_HEAD = 1024
"""How much of an answer is recorded."""

POISON_ATTEMPTS_MAX = 3
"""So often an event is tried that breaks our own code."""

POISON_WAIT_S = 5.0
_AWAY_S = 0.5

_ACCEPTED, _GONE, _STATUS = str(Reason.ACCEPTED), str(Reason.GONE), str(Reason.STATUS)


class Poster:
    """Post deliveries and say what is known of each attempt once it has ended: None when it was not begun after all.

    `may_send`, where there is one, is asked before each request's first byte leaves.
    """

    def __init__(  # noqa: PLR0913  the engine wires it once, by name
        self,
        *,
        store: Store,
        sender: Sender,
        settler: Settler,
        clock: Clock,
        ids: Ids,
        dice: Random,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self._store, self._sender, self._settler = store, sender, settler
        self._clock, self._ids, self._dice = clock, ids, dice
        self._may_send = may_send
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, route: Route, delivery: Delivery, now: Moment, ended: Ended) -> None:
        """Make an attempt at what is held; `ended` is called once, on the loop, with what is known and the moment."""
        assert delivery.entries is not None, "what must be read again is for `post_again`"
        last = delivery.entries[-1]
        try:
            body = route.encode(delivery, delivery.entries, self._ids, now)
        except Exception as error:  # noqa: BLE001  an event that breaks our own code must not break its neighbours
            self._fail(delivery, error, ended)
            return
        message_id = self._ids.delivery(delivery.key) if delivery.is_batch else event_id(last, self._ids)
        self._send(route, delivery, body, message_id, now, ended, is_replay=last.kind is Kind.REPLAY)

    def post_again(self, courier: Courier, delivery: Delivery, ended: Ended, withdrawn: Callable[[], None]) -> None:
        """Make an attempt at what must be read first; `withdrawn` is called instead when it may not go any more."""
        task = asyncio.get_running_loop().create_task(self._load_and_post(courier, delivery, ended, withdrawn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Read and post nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load_and_post(
        self, courier: Courier, delivery: Delivery, ended: Ended, withdrawn: Callable[[], None]
    ) -> None:
        """Read what is to be sent again, its body from its row when there is one."""
        try:
            row, entries = await self._load(delivery)
            states = {} if row is not None and row.body is not None else await self._states(courier, delivery, entries)
            if not courier.may_send(delivery):
                withdrawn()  # It was paused, or worse, while it was read.
                return
            route = courier.route
            body = self._body(route, delivery, row, entries, states)
        except Exception as error:  # noqa: BLE001  the lane goes on whatever the store says
            self._fail(delivery, error, ended)
            return
        is_replay = delivery.origin is Origin.REDELIVER or any(entry.kind is Kind.REPLAY for entry in entries)
        message_id = self._message_id(delivery, entries)
        self._send(route, delivery, body, message_id, self._clock.now(), ended, is_replay=is_replay)

    async def _load(self, delivery: Delivery) -> tuple[Open | None, Sequence[Entry]]:
        key = delivery.key
        while True:
            try:
                row = self._settler.opened(key) or await self._store.delivery(key)
                if delivery.origin is Origin.TEST:
                    return row if isinstance(row, Open) else None, ()
                entries = await self._store.entries(key.partition, (*delivery.members, key.last_offset))
                return row if isinstance(row, Open) else None, entries
            except StoreAway:
                await asyncio.sleep(_AWAY_S)  # That is no attempt: it waits until the store is back.

    async def _states(self, courier: Courier, delivery: Delivery, entries: Sequence[Entry]) -> Mapping[int, bytes]:
        """Return, by offset, what must be sent in place of missing data: what the object was at that moment."""
        found: dict[int, bytes] = {}
        for entry in courier.route.lacking(delivery, [entry for entry in entries if entry.event is not None]):
            data = await self._state(entry)
            if data is not None:
                found[entry.offset] = data
        return found

    async def _state(self, entry: Entry) -> bytes | None:
        event = entry.event
        assert event is not None, "an entry that is sent has an event"
        while True:
            try:
                return await self._store.data_at(
                    event.project, event.tenant, event.object, event.object_id, offset=entry.of or entry.offset
                )
            except StoreAway:
                await asyncio.sleep(_AWAY_S)

    def _body(
        self,
        route: Route,
        delivery: Delivery,
        row: Open | None,
        entries: Sequence[Entry],
        states: Mapping[int, bytes],
    ) -> Body:
        if row is not None and row.body is not None:
            return Body(row.body, row.content_type)
        found = [entry for entry in entries if entry.event is not None]
        if not found:
            raise LookupError("its events are not in the log any more")
        return route.encode(delivery, found, self._ids, self._clock.now(), states)

    def _message_id(self, delivery: Delivery, entries: Sequence[Entry]) -> str:
        if delivery.is_batch:
            return self._ids.delivery(delivery.key)
        if entries:
            return event_id(entries[-1], self._ids)
        key = delivery.key
        return self._ids.event(key.partition, key.last_offset, key.last_ms)

    def _send(  # noqa: PLR0913  all that an attempt is
        self,
        route: Route,
        delivery: Delivery,
        body: Body,
        message_id: str,
        sent: Moment,
        ended: Ended,
        *,
        is_replay: bool,
    ) -> None:
        try:
            request = route.sign(delivery, body, message_id, sent, is_replay=is_replay)
        except Exception as error:  # noqa: BLE001  as above
            self._fail(delivery, error, ended)
            return

        def done(answer: Response | NoResponse) -> None:
            now = self._clock.now()
            ended(None if answer is WITHHELD else self._fact(route, delivery, body, sent, answer, now), now)

        self._sender.post(
            request,
            timeout_s=route.policy.timeout_s,
            allow_http=route.allow_http,
            owner=route.owner,
            ports=route.ports,
            done=done,
            may_send=self._may_send,
        )

    def _fact(
        self,
        route: Route,
        delivery: Delivery,
        body: Body,
        sent: Moment,
        answer: Response | NoResponse,
        now: Moment,
    ) -> Fact:
        attempt = delivery.attempts + 1
        outcome = _outcome(route, answer, now)
        verdict = decide(outcome, attempt=attempt, schedule=route.policy.retry, spread=2 * self._dice.random() - 1)
        took_ms = int((now.mono - sent.mono) * 1000)
        if isinstance(answer, Response):
            reason = _reason(outcome)
            head = route.without_secrets(answer.body)[:ANSWER_HEAD]
            fact = Fact(
                outcome, verdict, sent.wall_ms, took_ms, answer.status, reason, answer.phases, head,
                "", body.content, body.content_type,
            )  # fmt: skip
        else:
            fact = Fact(
                outcome, verdict, sent.wall_ms, took_ms, 0, str(answer.reason), answer.phases, b"",
                answer.detail, body.content, body.content_type,
            )  # fmt: skip
        self._tell(route, delivery, fact)
        return fact

    def _fail(self, delivery: Delivery, error: Exception, ended: Ended) -> None:
        """End an attempt that our own code, or the store, did not let begin."""
        emit(ENGINE_FAILED, part="poster", subscription=delivery.key.subscription, error=error)
        now = self._clock.now()
        outcome = Refused(0)
        schedule_end = delivery.attempts + 1 >= POISON_ATTEMPTS_MAX
        verdict = Exhausted() if schedule_end else Retry(POISON_WAIT_S)
        detail = f"{type(error).__name__} on our side; see the server's log"
        fact = Fact(outcome, verdict, now.wall_ms, 0, 0, str(Reason.INTERNAL), detail=detail)
        asyncio.get_running_loop().call_soon(ended, fact, now)

    def _tell(self, route: Route, delivery: Delivery, fact: Fact) -> None:
        level = DEBUG if isinstance(fact.verdict, Delivered) else INFO
        if not is_said(DELIVERY_ATTEMPTED, level=level):
            return
        emit(
            DELIVERY_ATTEMPTED,
            level=level,
            delivery=self._ids.delivery(delivery.key),
            subscription=route.subscription.id,
            project=route.subscription.project,
            tenant=route.subscription.tenant,
            dialect=route.dialect.name,
            attempt=delivery.attempts + 1,
            events=len(delivery.members) + 1,
            status=fact.status,
            reason=fact.reason,
            detail=fact.detail,
            took_ms=fact.took_ms,
            body_bytes=len(fact.body),
            verdict=type(fact.verdict).__name__.lower(),
            origin=str(delivery.origin),
        )


def _outcome(route: Route, answer: Response | NoResponse, now: Moment) -> Outcome:
    if isinstance(answer, Response):
        return route.dialect.judge(answer, now.wall_ms / 1000)
    return Silent(answer.reason)


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Accepted():
            return _ACCEPTED
        case Gone():
            return _GONE
        case Silent(reason):
            return str(reason)
        case _:
            return _STATUS
