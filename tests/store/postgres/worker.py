"""Run a worker of its own process: it owns a share and settles all the time, and prints what befalls it.

Lines are `owns <count>` whenever that has changed, `lost` when it owns nothing any more, and `refused` when a
settlement failed for want of ownership. It ends when its input does, leaving in order.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from angarium.errors import OwnershipLost, StoreAway
from angarium.store.contract import Settlement
from angarium.store.postgres import PostgresStore

BALANCES_S = 0.1


def say(*words: object) -> None:
    """Print a line."""
    print(*words, flush=True)  # noqa: T201  whoever started this process reads it


async def share(store: PostgresStore) -> None:
    """Take what is ours, and let others have what is too much."""
    count = -1

    def forget() -> None:
        nonlocal count
        count = -1
        say("lost")

    store.owner.lost(forget)
    while True:
        with suppress(StoreAway):
            balance = await store.owner.balance()
            await store.owner.release(balance.excess)
        if count != (count := len(store.owner.owned)):
            say("owns", count)
        await asyncio.sleep(BALANCES_S)


async def settle(store: PostgresStore) -> None:
    """Write watermarks that grow."""
    watermark = 0
    while True:
        watermark += 1
        owned = store.owner.owned
        try:
            await store.settle(Settlement(watermarks=dict.fromkeys(owned, watermark)))
        except OwnershipLost:
            say("refused")
        await asyncio.sleep(0.01)


async def main(dsn: str) -> None:
    """Work until the input ends."""
    store = PostgresStore(dsn, committers=1, readers=1)
    await store.open()
    await store.owner.join()
    tasks = [asyncio.create_task(work(store)) for work in (share, settle)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await store.owner.leave()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
