"""What one process says the others hear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from angarium.store.postgres.waking import SAYS_MAX

if TYPE_CHECKING:
    from angarium.store.postgres import PostgresStore

_LONG = "ü" * 3_000


async def _until_last(heard: list[str]) -> None:
    while not heard or heard[-1] != "last":  # noqa: ASYNC110  nobody tells a test
        await asyncio.sleep(0.01)


async def test_what_one_process_says_others_hear_in_order(one: PostgresStore, other: PostgresStore) -> None:
    heard: list[str] = []
    own: list[str] = []
    other.listen_said(heard.append)
    one.listen_said(own.append)
    for words in ("first", "a, b: c", _LONG, "last"):
        one.say(words)
    await _until_last(heard)
    assert heard == ["first", "a, b: c", _LONG, "last"]
    assert own == []


async def test_who_says_too_much_at_once_is_heard_in_part(one: PostgresStore, other: PostgresStore) -> None:
    heard: list[str] = []
    other.listen_said(heard.append)
    for number in range(SAYS_MAX + 10):
        one.say(str(number))
    while len(heard) < SAYS_MAX:  # noqa: ASYNC110  nobody tells a test
        await asyncio.sleep(0.01)
    one.say("last")
    await _until_last(heard)
    assert heard == [*map(str, range(SAYS_MAX)), "last"]
