"""Hold what each answer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.judging import judge_by_status, retry_after
from angarium.model.delivery import Accepted, Gone, Outcome, Refused, Silent, Throttled
from angarium.model.wire import Reason, Response

NOW_S = 1795348800.0  # Sun, 22 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Accepted(200)),
        (204, Accepted(204)),
        (299, Accepted(299)),
        (300, Refused(300)),
        (301, Refused(301)),
        (304, Refused(304)),
        (308, Refused(308)),
        (400, Refused(400)),
        (404, Refused(404)),
        (408, Silent(Reason.STATUS, 408)),
        (410, Gone(410)),
        (422, Refused(422)),
        (429, Throttled(429)),
        (499, Refused(499)),
        (500, Silent(Reason.STATUS, 500)),
        (502, Silent(Reason.STATUS, 502)),
        (503, Throttled(503)),
        (504, Silent(Reason.STATUS, 504)),
        (599, Silent(Reason.STATUS, 599)),
        (0, Silent(Reason.BAD_ANSWER, 0)),
        (101, Silent(Reason.BAD_ANSWER, 101)),
        (199, Silent(Reason.BAD_ANSWER, 199)),
        (600, Silent(Reason.BAD_ANSWER, 600)),
        (999, Silent(Reason.BAD_ANSWER, 999)),
    ],
)
def test_a_status_means_one_outcome(status: int, expected: Outcome) -> None:
    assert judge_by_status(Response(status), NOW_S) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("0", 1.0),
        ("86400", 86400.0),
        ("86401", 86400.0),
        ("1000000000", 86400.0),
        ("9" * 5000, 86400.0),
        ("Sun, 22 Nov 2026 12:05:00 GMT", 300.0),
        ("Sunday, 22-Nov-26 12:05:00 GMT", 300.0),
        ("Sun Nov 22 12:05:00 2026", 300.0),
        ("Sun, 22 Nov 2026 13:05:00 +0100", 300.0),
        ("Mon, 23 Nov 2026 12:00:01 GMT", 86400.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 1.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("+5", None),
        ("٣", None),
        ("soon", None),
        ("120, 30", None),
        ("Sun, 32 Nov 2026 12:05:00 GMT", None),
        ("Wed, 21 Oct 9999999999 07:28:00 GMT", None),
        ("Sun, 22 Nov 2026 12:05:00 GMT" + " " * 100 + "x", None),
    ],
)
def test_what_retry_after_asks_for(asked: str, expected: float | None) -> None:
    for status in (429, 503):
        answer = Response(status, (("retry-after", asked),))
        assert judge_by_status(answer, NOW_S) == Throttled(status, expected)


def test_a_date_counts_from_the_receivers_own_clock() -> None:
    """A receiver whose clock is an hour ahead asks for five minutes."""
    headers = (("date", "Sun, 22 Nov 2026 13:00:00 GMT"), ("retry-after", "Sun, 22 Nov 2026 13:05:00 GMT"))
    assert retry_after(Response(503, headers), NOW_S) == 300.0


def test_a_garbled_date_header_does_not_count() -> None:
    headers = (("date", "today"), ("retry-after", "Sun, 22 Nov 2026 12:05:00 GMT"))
    assert retry_after(Response(503, headers), NOW_S) == 300.0


def test_of_two_retry_after_headers_the_first_counts() -> None:
    assert retry_after(Response(429, (("retry-after", "5"), ("retry-after", "50"))), NOW_S) == 5.0


def test_retry_after_says_nothing_elsewhere() -> None:
    assert judge_by_status(Response(500, (("retry-after", "5"),)), NOW_S) == Silent(Reason.STATUS, 500)


@given(st.integers(), st.text(), st.text(), st.floats(min_value=0, max_value=2**33))
def test_every_answer_is_judged(status: int, asked: str, date: str, now_s: float) -> None:
    outcome = judge_by_status(Response(status, (("retry-after", asked), ("date", date))), now_s)
    if isinstance(outcome, Throttled) and outcome.retry_after_s is not None:
        assert 1 <= outcome.retry_after_s <= 86400
