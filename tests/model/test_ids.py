"""Hold ids: what they look like, and that only ours are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.model.delivery import Key
from angarium.model.event import Place
from angarium.model.ids import Ids

KEY = bytes(range(16))
NOON_MS = 1795348800_000
IDS = Ids(KEY)

PARTITIONS = st.integers(0, 255)
OFFSETS = st.integers(0, 2**46 - 1)
NUMBERS = st.integers(0, 2**32 - 1)
MOMENTS_MS = st.integers(0, 2**42 - 1)


def test_ids_are_the_same_after_years() -> None:
    """Receivers keep ids, so what one place is called never changes.

    The last 32 digits are what `openssl enc -aes-128-ecb -nopad` makes of blocks put together by hand.
    """
    assert IDS.event(7, 1234, NOON_MS) == "evt_01a20320a20080bfa49f8427096d1cc6a86f913b9e06"
    assert IDS.delivery(Key(7, 1234, 42, NOON_MS)) == "dlv_01a20320a2009281bbe03f106d5af48922c95a23df3b"
    assert IDS.numbered("sub_", 42, NOON_MS) == "sub_01a20320a20056d545fab2c4847546767c78db32c837"


@given(PARTITIONS, OFFSETS, MOMENTS_MS)
def test_an_events_id_names_its_place(partition: int, offset: int, accepted_ms: int) -> None:
    assert IDS.place(IDS.event(partition, offset, accepted_ms)) == Place(partition, offset, accepted_ms)


@given(PARTITIONS, OFFSETS, NUMBERS, MOMENTS_MS)
def test_a_deliverys_id_names_its_key(partition: int, offset: int, subscription: int, last_ms: int) -> None:
    key = Key(partition, offset, subscription, last_ms)
    assert IDS.key(IDS.delivery(key)) == key


@given(st.sampled_from(["sub_", "job_", "key_"]), OFFSETS, MOMENTS_MS)
def test_a_numbered_id_names_its_number(prefix: str, number: int, created_ms: int) -> None:
    assert IDS.number(prefix, IDS.numbered(prefix, number, created_ms)) == number


@given(st.tuples(PARTITIONS, OFFSETS, MOMENTS_MS), st.tuples(PARTITIONS, OFFSETS, MOMENTS_MS))
def test_ids_differ_and_sort_by_time(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (IDS.event(*one) == IDS.event(*other)) == (one == other)
    if one[2] < other[2]:
        assert IDS.event(*one) < IDS.event(*other)


def test_neighbours_look_unlike_each_other() -> None:
    """Nobody reads from two ids how much was published between them."""
    first, second = (int(IDS.event(7, offset, NOON_MS)[16:], 16) for offset in (1, 2))
    assert (first ^ second).bit_count() > 30


OURS = IDS.event(7, 1234, NOON_MS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evt_",
        "1234",
        OURS[:-1],
        OURS + "0",
        OURS + "\n",
        " " + OURS,
        OURS.upper(),
        "dlv_" + OURS[4:],
        "evt_" + OURS[4:].upper(),
        "evt_0000000000000000000000000000000000000000000",
        "evt_" + "0" * 44,
        "evt_+" + OURS[5:],
        "evt_0_" + OURS[6:],
        "evt_ " + OURS[5:],
        OURS[:16] + "  " + OURS[18:],
        OURS.replace("1", "١"),
        Ids(bytes(16)).event(7, 1234, NOON_MS),
        IDS.delivery(Key(7, 1234, 42, NOON_MS)),
        IDS.numbered("sub_", 1234, NOON_MS),
    ],
)
def test_what_is_no_event_of_this_store_is_recognised(text: str) -> None:
    assert IDS.place(text) is None


def test_an_id_with_one_digit_changed_is_none_of_ours() -> None:
    for position in range(4, len(OURS)):
        for digit in set("0123456789abcdef") - {OURS[position]}:
            assert IDS.place(OURS[:position] + digit + OURS[position + 1 :]) is None


@given(MOMENTS_MS)
def test_an_id_with_another_time_is_none_of_ours(accepted_ms: int) -> None:
    changed = f"evt_{accepted_ms:012x}{OURS[16:]}"
    assert (IDS.place(changed) is None) == (accepted_ms != NOON_MS)


def test_kinds_are_not_taken_for_each_other() -> None:
    numbered = IDS.numbered("sub_", 42, NOON_MS)
    assert IDS.number("job_", numbered) is None
    assert IDS.number("job_", "job_" + numbered[4:]) is None
    assert IDS.key(OURS) is None
    assert IDS.key("dlv_" + OURS[4:]) is None
    assert IDS.number("evt_", OURS) is None


@given(st.text())
def test_any_text_may_be_asked_about(text: str) -> None:
    assert IDS.place(text) is None
    assert IDS.place("evt_" + text) is None
    assert IDS.key("dlv_" + text) is None
    assert IDS.number("sub_", "sub_" + text) is None
