"""Heads: who waits for the log to go on is told when it does."""

from __future__ import annotations

import asyncio

from angarium.engine.heads import Heads


async def test_who_waits_is_told_once_the_log_reaches_further() -> None:
    heads = Heads()
    heads.learn({7: 3})
    assert await heads.moved(7, beyond=2, within_s=0)
    waiting = [asyncio.ensure_future(heads.moved(7, beyond=beyond, within_s=30)) for beyond in (3, 3, 5)]
    await asyncio.sleep(0)
    heads.learn({6: 9, 7: 4})
    await asyncio.wait(waiting[:2])
    assert [each.done() for each in waiting] == [True, True, False]
    heads.learn({7: 6})
    assert await asyncio.gather(*waiting) == [True] * 3


async def test_what_is_told_late_does_not_take_a_head_back() -> None:
    heads = Heads()
    heads.learn({7: 3})
    heads.learn({7: 2})
    assert (heads.of(7), heads.of(8)) == (3, 0)


async def test_who_waits_in_vain_is_told_so_and_leaves_nothing_behind() -> None:
    heads = Heads()
    assert not await heads.moved(7, beyond=0, within_s=0.01)
    gone = asyncio.ensure_future(heads.moved(7, beyond=0, within_s=30))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert heads._waiting == {7: []}
