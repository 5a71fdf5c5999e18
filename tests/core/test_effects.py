"""Hold what the rows say that a lane's effects carry."""

from __future__ import annotations

import pytest

from angarium.clock import Moment
from angarium.core import effects
from angarium.core.deciding import Delivered, Retry
from angarium.core.effects import Delivery, Fact
from angarium.model.delivery import Accepted, Attempt, Key, Open, Origin, Refused, Settled, State
from angarium.model.wire import Phases

KEY = Key(3, 12, 7, 1_000)
NOW = Moment(50.0, 9_000)
PHASES = Phases(1, 2, 3, 4, 10)
FAILED = Fact(Refused(400), Retry(5.0), 8_000, 37, 400, "status", PHASES, b"no", "why", b"{}", "application/json")
DONE = Fact(Accepted(), Delivered(), 8_000, 37, 200, "accepted", PHASES, b"thanks", "", b"{}", "application/json")


def _delivery() -> Delivery:
    return Delivery(KEY, None, (9, 11), attempts=2, opened_ms=7_000, origin=Origin.REDELIVER)


def test_a_delivered_one_keeps_the_head_of_its_answer() -> None:
    assert effects.settled(_delivery(), State.DELIVERED, DONE, NOW) == Settled(
        KEY,
        State.DELIVERED,
        9_000,
        (9, 11),
        attempts=2,
        status=200,
        reason="accepted",
        at_ms=8_000,
        took_ms=37,
        phases=PHASES,
        answer=b"thanks",
        origin=Origin.REDELIVER,
    )


@pytest.mark.parametrize("state", [State.EXHAUSTED, State.CANCELLED])
def test_the_answer_of_a_failure_is_its_attempt_s(state: State) -> None:
    found = effects.settled(_delivery(), state, FAILED, NOW)
    assert (found.state, found.status, found.reason, found.answer) == (state, 400, "status", b"")


def test_what_ends_without_an_attempt_says_why() -> None:
    assert effects.closed(_delivery(), State.CANCELLED, "deleted", NOW) == Settled(
        KEY, State.CANCELLED, 9_000, (9, 11), attempts=2, reason="deleted", origin=Origin.REDELIVER
    )


def test_a_row_holds_what_is_sent_from_the_first_failure_on() -> None:
    assert effects.row(_delivery(), FAILED, 14_000) == Open(
        KEY, (9, 11), Origin.REDELIVER, 2, 14_000, 7_000, 400, "status", b"{}", "application/json"
    )


def test_a_row_that_is_written_before_the_first_attempt_holds_no_body() -> None:
    found = effects.row(_delivery(), None, 0)
    assert (found.body, found.content_type, found.status, found.reason, found.next_ms) == (None, "", 0, "", 0)


def test_an_attempt_that_never_began_leaves_no_body() -> None:
    nothing = Fact(Refused(0), Retry(5.0), 8_000, 0, 0, "internal")
    assert effects.row(_delivery(), nothing, 14_000).body is None


def test_an_attempt_is_recorded_with_its_number() -> None:
    assert effects.attempt(_delivery(), FAILED) == Attempt(KEY, 2, 8_000, 400, "status", 37, PHASES, b"no", "why")
