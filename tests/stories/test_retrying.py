"""What becomes of a delivery whose receiver fails, one fault at a time. A second is a millisecond here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import repeat

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, RESET, Answer, Hook, Receiver
from tests.stories.verifying import is_signed


def test_a_failing_receiver_gets_the_same_id_and_body_until_it_accepts(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [5, 5, 5, 5, 5]})
    hook.script(Answer(500), Answer(502, body=b"bad day"), Answer(404), OK)

    [id_] = project.publish(event(data={"n": 1}))

    [delivery] = project.wait_for("delivered", event=id_)
    assert hook.ids == [id_] * 4
    assert len({request.body for request in hook.requests}) == 1
    assert all(is_signed(request, made["secret"]) for request in hook.requests)
    attempts = [(attempt["number"], attempt["status"], attempt["reason"]) for attempt in delivery["attempts"]]
    assert attempts == [(1, 500, "status"), (2, 502, "status"), (3, 404, "status"), (4, 200, "accepted")]
    assert "bad day" in str(delivery["attempts"][1]["response"])


def test_a_delivery_is_exhausted_after_its_schedule(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [2, 3]})
    hook.always(Answer(500))

    [id_] = project.publish(event())

    [delivery] = project.wait_for("exhausted", event=id_)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 500, 500]
    assert hook.ids == [id_] * 3
    assert [item["id"] for item in project.feed(made["id"])] == [id_]
    hook.always(OK)
    [next_id] = project.publish(event())
    project.wait_for("delivered", event=next_id)
    assert hook.ids == [id_] * 3 + [next_id]


def test_an_empty_schedule_means_one_attempt(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, retry={"delays_s": []})
    hook.always(Answer(500))

    [id_] = project.publish(event())

    [delivery] = project.wait_for("exhausted", event=id_)
    assert len(delivery["attempts"]) == len(hook.requests) == 1


def test_a_subscription_that_never_gives_up_goes_on_beyond_its_schedule(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, retry={"delays_s": [1, 2], "give_up": False})
    hook.script(*[Answer(500)] * 8, OK)

    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    assert hook.ids == [id_] * 9


def test_a_receiver_that_is_gone_is_disabled_at_once_and_can_be_resumed(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, max_in_flight=1, ordering="strict")
    hook.always(Answer(410))

    ids = project.publish(*(event(number) for number in range(10)))

    hook.wait_for(1)
    project.wait_for("exhausted", subscription=made["id"])
    subscription = project.subscription(made["id"])
    assert subscription["state"] == "disabled"
    [while_disabled] = project.publish(event(99))
    hook.always(OK)
    project.post(f"subscriptions/{made['id']}/resume", status=200)
    assert project.subscription(made["id"])["state"] == "active"
    [after] = project.publish(event(100))
    hook.wait_for_ids([after])
    assert hook.ids == [ids[0], after]
    assert [item["id"] for item in project.feed(made["id"])] == [*ids, while_disabled, after]


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttling_receiver_is_left_alone_for_as_long_as_it_asks(
    project: Project, hooks: Callable[[], Hook], status: int
) -> None:
    asks, other = hooks(), hooks()
    made = project.subscribe(asks.url)
    project.subscribe(other.url)
    asks.script(Answer(status, {"retry-after": "2"}), OK)
    [first] = project.publish(event(1))
    project.wait_for("retrying", subscription=made["id"])
    [second] = project.publish(event(2))

    other.wait_for_ids([first, second])
    assert len(asks.requests) == 1
    asks.wait_for(3)
    assert asks.requests[1].at_s - asks.answered_at_s[0] >= 2
    assert sorted(asks.ids) == sorted([first, first, second])


def test_retry_after_may_be_a_date(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url)
    now = datetime.now(UTC)
    then = format_datetime(now + timedelta(seconds=3), usegmt=True)
    hook.script(Answer(503, {"retry-after": then, "date": format_datetime(now, usegmt=True)}), OK)

    project.publish(event())

    hook.wait_for(2)
    assert hook.requests[1].at_s - hook.answered_at_s[0] >= 2


@pytest.mark.parametrize("asked", ["Wed, 21 Oct 2015 07:28:00 GMT", "0"])
def test_a_retry_after_that_has_passed_means_a_second(project: Project, hook: Hook, asked: str) -> None:
    project.subscribe(hook.url)
    hook.script(Answer(429, {"retry-after": asked}), OK)

    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    assert hook.requests[1].at_s - hook.answered_at_s[0] >= 1


@pytest.mark.parametrize("asked", ["1000000000", "9" * 400])
def test_nobody_can_ask_for_more_than_a_day(project: Project, hook: Hook, asked: str) -> None:
    made = project.subscribe(hook.url)
    hook.always(Answer(429, {"retry-after": asked}))

    [id_] = project.publish(event())

    [delivery] = project.wait_for("retrying", subscription=made["id"])
    wait = datetime.fromisoformat(delivery["next_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < wait <= timedelta(hours=24)
    assert hook.ids == [id_]


@pytest.mark.parametrize("asked", ["soon", "-5", "1.5", "٣", "", "Wed, 99 Oct 2015", "\x85"])
def test_a_retry_after_without_sense_is_ignored(project: Project, hook: Hook, asked: str) -> None:
    project.subscribe(hook.url, retry={"delays_s": [1, 1, 1]})
    hook.script(Answer(503, {"retry-after": asked.encode().decode("latin-1")}), OK)

    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    assert hook.ids == [id_] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(project: Project, hooks: Callable[[], Hook], status: int) -> None:
    asks, elsewhere = hooks(), hooks()
    asks.always(Answer(status, {"location": elsewhere.url}))
    project.subscribe(asks.url, retry={"delays_s": [1]})

    [id_] = project.publish(event())

    [delivery] = project.wait_for("exhausted", event=id_)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [status] * 2
    assert len(asks.requests) == 2
    assert elsewhere.requests == []


def test_a_receiver_that_never_answers_times_out_and_is_asked_again(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url, timeout_s=1)
    hook.script(Answer(gate=threading.Event()), OK)

    [id_] = project.publish(event())

    [delivery] = project.wait_for("delivered", event=id_)
    assert [attempt["reason"] for attempt in delivery["attempts"]] == ["timeout", "accepted"]
    assert delivery["attempts"][0]["status"] is None
    assert hook.ids == [id_] * 2


def test_an_answer_that_comes_too_late_settles_nothing(project: Project, hook: Hook) -> None:
    gate = threading.Event()
    project.subscribe(hook.url, timeout_s=1)
    hook.script(Answer(gate=gate), Answer(500), OK)

    [id_] = project.publish(event())
    hook.wait_for(2)
    gate.set()

    [delivery] = project.wait_for("delivered", event=id_)
    reasons = [(attempt["reason"], attempt["status"]) for attempt in delivery["attempts"]]
    assert reasons == [("timeout", None), ("status", 500), ("accepted", 200)]
    assert hook.ids == [id_] * 3


def _drip() -> Iterator[bytes]:
    """Answer one byte now and then, never to an end."""
    pause = threading.Event()
    for piece in (b"HTTP/1.1 200 OK\r\nx-slow: ", *repeat(b"z", 400)):
        yield piece
        pause.wait(0.01)


def test_a_receiver_that_drips_its_headers_ends_at_the_deadline(project: Project) -> None:
    slow = Receiver()
    try:
        hook = slow.hook()
        hook.script(Answer(raw=_drip), OK)
        project.subscribe(hook.url, timeout_s=1)

        [id_] = project.publish(event())

        [delivery] = project.wait_for("delivered", event=id_)
    finally:
        slow.close()
    assert [attempt["reason"] for attempt in delivery["attempts"]] == ["timeout", "accepted"]


def _endless() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    yield from repeat(b"1000\r\n" + b"z" * 4096 + b"\r\n", 1 << 16)


def test_an_endless_answer_counts_by_its_status_and_is_cut_off(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url)
    hook.always(Answer(raw=_endless))

    [id_] = project.publish(event())

    [delivery] = project.wait_for("delivered", event=id_)
    assert hook.ids == [id_]
    assert len(str(delivery["attempts"][0]["response"])) < 4096


def test_a_compressed_answer_is_not_unpacked(project: Project, hook: Hook) -> None:
    project.subscribe(hook.url)
    hook.always(Answer(200, {"content-encoding": "gzip"}, b"\x1f\x8b\x08\x00 not gzip at all"))

    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    assert hook.ids == [id_]


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (RESET, {"reset"}),
        (Answer(raw=lambda: [b"HTTP/1.1 200 OK\r\ncontent-len"]), {"reset", "bad_answer"}),
        (Answer(raw=lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"] * 3), {"bad_answer"}),
        (Answer(raw=lambda: [b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"]), {"bad_answer"}),
        (Answer(raw=lambda: [b"\x00" * 100]), {"bad_answer"}),
    ],
)
def test_a_receiver_that_breaks_off_or_talks_nonsense_is_asked_again(
    project: Project, hook: Hook, answer: Answer, reasons: set[str]
) -> None:
    project.subscribe(hook.url)
    hook.script(answer, OK)

    [id_] = project.publish(event())

    [delivery] = project.wait_for("delivered", event=id_)
    assert delivery["attempts"][0]["reason"] in reasons
    assert hook.ids == [id_] * 2


def test_a_port_where_nobody_listens_is_refused(project: Project) -> None:
    away = Receiver()
    hook = away.hook()
    away.close()
    project.subscribe(hook.url, retry={"delays_s": [10] * 3})

    [id_] = project.publish(event())

    [delivery] = project.wait_for("exhausted", event=id_)
    assert [attempt["reason"] for attempt in delivery["attempts"]] == ["refused"] * 4
    assert [attempt["status"] for attempt in delivery["attempts"]] == [None] * 4


def test_a_failing_subscription_says_so_until_it_is_well(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [200] * 30})
    hook.always(Answer(500))
    ids = project.publish(*(event(number) for number in range(30)))
    hook.wait_for(12)

    shown = project.subscription(made["id"])
    assert shown["state"] == "failing"
    assert shown["failing_since"]
    assert shown["backlog"] >= 1
    hook.always(OK)
    for id_ in ids:
        project.wait_for("delivered", event=id_)

    shown = project.subscription(made["id"])
    assert (shown["state"], shown["failing_since"], shown["backlog"]) == ("active", None, 0)
    assert shown["last_delivered_at"]
