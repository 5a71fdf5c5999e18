from __future__ import annotations

import json
from typing import Any

import pytest

from angarium.cli.demo_cast import CAST, Part
from angarium.cli.demo_events import EDITS, burst, packaged
from angarium.cli.demo_tally import Tally
from angarium.cli.receiver import Answer, Received
from angarium.core.signing import Scheme
from angarium.core.verifying import Fault, Problem, Verified

ALL = Part("all", "t", ("*",), "takes everything")
LAST = Part("last", "t", ("item.*",), "folds", policy={"batch": {"coalesce": "latest"}})
DEAD = Part("dead", "t", ("*",), "is dead", is_dead=True)
VERIFIED = Verified(Scheme.V1, 0)
OK = Answer(200)


def _event(number: int, object_id: str = "1") -> dict[str, Any]:
    return {"tenant": "t", "object": "item", "action": "update", "object_id": object_id, "data": {"n": number}}


def _tally(*parts: Part, events: list[dict[str, Any]]) -> Tally:
    tally = Tally(parts)
    for event in events:
        tally.expect(event, json.dumps(event["data"]).encode())
    return tally


def _received(message_id: str, *events: dict[str, Any]) -> Received:
    items = [
        {"id": message_id, "type": "item.update", **{name: value for name, value in event.items() if name != "tenant"}}
        for event in events
    ]
    document = items[0] if len(items) == 1 else {"id": message_id, "type": "batch", "events": items}
    return Received(0.0, "POST", "/", {"webhook-id": message_id}, json.dumps(document).encode())


def test_what_has_come_is_missing_no_more() -> None:
    events = [_event(1), _event(2)]
    tally = _tally(ALL, events=events)
    tally.receive(ALL, _received("e1", events[0]), VERIFIED, OK)
    assert (tally.count(ALL).missing, tally.is_complete()) == (1, False)
    tally.receive(ALL, _received("e2", events[1]), VERIFIED, OK)
    assert tally.is_complete()
    assert tally.is_right()


def test_what_was_refused_is_still_missing_and_comes_again() -> None:
    tally = _tally(ALL, events=[_event(1)])
    first = tally.receive(ALL, _received("e1", _event(1)), VERIFIED, Answer(500))
    again = tally.receive(ALL, _received("e1", _event(1)), VERIFIED, OK)
    assert (first.attempt, again.attempt) == (1, 2)
    assert (tally.count(ALL).retried, tally.count(ALL).taken, tally.is_right()) == (1, 1, True)


def test_the_last_state_stands_for_those_before_it() -> None:
    events = [_event(number) for number in range(20)]
    tally = _tally(LAST, events=events)
    arrival = tally.receive(LAST, _received("e20", events[-1]), VERIFIED, OK)
    assert (arrival.folded, tally.count(LAST).folded, tally.is_right()) == (19, 19, True)


def test_a_state_before_the_last_does_not() -> None:
    events = [_event(number) for number in range(20)]
    tally = _tally(LAST, events=events)
    tally.receive(LAST, _received("e19", events[-2]), VERIFIED, OK)
    assert (tally.count(LAST).missing, tally.is_complete()) == (1, False)


def test_a_batch_is_all_of_its_events() -> None:
    events = [_event(1, "a"), _event(2, "b")]
    tally = _tally(ALL, events=events)
    assert tally.receive(ALL, _received("d1", *events), VERIFIED, OK).types == ("item.update", "item.update")
    assert tally.count(ALL).taken == 2


def test_what_overtakes_is_out_of_order() -> None:
    events = [_event(1), _event(2)]
    tally = _tally(ALL, events=events)
    tally.receive(ALL, _received("e2", events[1]), VERIFIED, OK)
    assert (tally.count(ALL).out_of_order, tally.is_right()) == (1, False)


def test_other_bytes_are_not_what_was_published() -> None:
    tally = _tally(ALL, events=[_event(1)])
    tally.receive(ALL, _received("e1", _event(2)), VERIFIED, OK)
    assert tally.count(ALL).missing == 1


def test_one_that_does_not_verify_is_not_right() -> None:
    tally = _tally(ALL, events=[_event(1)])
    tally.receive(ALL, _received("e1", _event(1)), Problem(Fault.WRONG_SECRET, "", ""), OK)
    assert (tally.is_complete(), tally.is_right()) == (True, False)


def test_nothing_is_missed_where_nobody_is() -> None:
    tally = _tally(ALL, DEAD, events=[_event(1)])
    tally.receive(ALL, _received("e1", _event(1)), VERIFIED, OK)
    assert (tally.count(DEAD).missing, tally.is_right()) == (1, True)


@pytest.mark.parametrize("body", [b"", b"{", b'{"type": "verification"}', b"\xff"])
def test_a_body_that_is_no_event_holds_none(body: bytes) -> None:
    arrival = Tally([ALL]).receive(ALL, Received(0.0, "POST", "/", {}, body), VERIFIED, OK)
    assert arrival.types == ()


def test_each_part_of_the_cast_is_owed_something() -> None:
    tally = Tally(CAST)
    for event in packaged():
        tally.expect(event, b"")
    assert all(tally.count(part).owed >= 2 for part in CAST)


def test_a_burst_is_of_one_issue_and_no_two_states_are_the_same() -> None:
    edits = burst(3)
    assert {event["object_id"] for event in edits} == {edits[0]["object_id"]}
    assert len({event["data"]["issue"]["title"] for event in edits}) == EDITS
    assert burst(4)[0]["object_id"] != edits[0]["object_id"]
