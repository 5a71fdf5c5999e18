"""Several Angarium processes on one database, who is subscribed, and what is owed to whom once all is calm."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from angarium.core.partitioning import partition_of
from angarium.model.event import PARTITIONS
from angarium.store.postgres import PostgresStore
from tests.cluster.load import Load
from tests.stories.calling import Project
from tests.stories.receiving import OK, Answer, Hook, Receiver
from tests.stories.serving import Server
from tests.stories.waiting import eventually

PROJECT = "stories"
TENANTS_COUNT = 12


def _spread() -> Iterator[str]:
    """Yield tenants whose partitions lie as far apart as can be, so that each worker has some."""
    names = [f"tenant-{number}" for number in range(2000)]
    for number in range(TENANTS_COUNT):
        partition = number * PARTITIONS // TENANTS_COUNT
        yield next(name for name in names if partition_of(PROJECT, name) == partition)


TENANTS = list(_spread())
SECRET_KEY = base64.b64encode(bytes(range(32))).decode()
IN_FLIGHT = 512
"""What a process may repeat at most, as often as it loses what it owns: as much as it has in flight."""
DRAINS_S = 120.0
SLOW_S = 0.2


class Fleet:
    """Processes that share a database."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self.database = folder, database
        self.members: list[Server] = []

    def add(self, role: str, *, kind: type[Server] = Server, **settings: str) -> Server:
        """Start one more."""
        return self.make(role, kind=kind, **settings).start()

    def make(self, role: str, *, kind: type[Server] = Server, **settings: str) -> Server:
        """Return one that has not started."""
        folder = self._folder / f"{role}-{len(self.members) + 1}"
        folder.mkdir()
        given = {"store": self.database, "secret_key": SECRET_KEY, "role": role, **settings}
        self.members.append(kind(folder, **given))
        return self.members[-1]

    def told(self) -> str:
        """Return the end of what each has said."""
        return "\n".join(f"--- {member.folder.name}\n{member.told()}" for member in self.members)

    def close(self) -> None:
        """End them all."""
        for member in self.members:
            member.close()


class Later(threading.Event):
    """An event that sets itself after a while."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self._at_s = time.monotonic() + after_s

    def is_set(self) -> bool:
        return time.monotonic() >= self._at_s


class Audience:
    """A subscription of each tenant, with a hook of its own.

    Those of `slow` tenants answer after a while, and are sent less than is published: what waits for them is in the
    memory of whoever serves them.
    """

    def __init__(
        self, project: Project, receiver: Receiver, *, host: str = "127.0.0.1", slow: Collection[str] = ()
    ) -> None:
        self._project = project
        self.hooks: dict[str, Hook] = {tenant: receiver.hook(host=host) for tenant in TENANTS}
        self._subscriptions = {
            tenant: project.subscribe(hook.url, tenant=tenant, max_in_flight=2 if tenant in slow else 16)["id"]
            for tenant, hook in self.hooks.items()
        }
        for tenant in slow:
            self.hooks[tenant].answer = lambda _: Answer(gate=Later(SLOW_S))

    def hurry(self) -> None:
        """Have all answer at once from now on."""
        for tenant, hook in self.hooks.items():
            hook.always(OK)
            self._project.change(self._subscriptions[tenant], max_in_flight=16)

    @property
    def received(self) -> int:
        """Return how many requests have come."""
        return sum(len(hook.requests) for hook in self.hooks.values())

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more requests have come."""
        expected = self.received + number
        eventually(lambda: self.received >= expected, within_s=DRAINS_S)

    def first_received_s(self, *, since_s: float) -> float | None:
        """Return the moment of the first request since a moment."""
        moments = [each.at_s for hook in self.hooks.values() for each in list(hook.requests) if each.at_s >= since_s]
        return min(moments, default=None)

    def settle(self, load: Load, fleet: Fleet) -> int:
        """Wait until all that was accepted has come, see that it is what the feed shows; return how much came twice."""
        for tenant, hook in self.hooks.items():
            owed = self._feed(tenant)
            assert len(set(owed)) == len(owed)
            assert set(owed) >= {id_ for id_, whose in load.accepted.items() if whose == tenant}
            _wait_for(hook, owed, fleet)
            assert set(hook.ids) == set(owed)
        came = self.came
        return sum(came.values()) - len(came)

    @property
    def came(self) -> Counter[str]:
        """Return how often each event has come."""
        return Counter(id_ for hook in self.hooks.values() for id_ in hook.ids)

    def _feed(self, tenant: str) -> Sequence[str]:
        return [item["id"] for item in self._project.feed(self._subscriptions[tenant])]


def _wait_for(hook: Hook, owed: Sequence[str], fleet: Fleet) -> None:
    eventually(lambda: set(hook.ids) >= set(owed), told=fleet.told, within_s=DRAINS_S)


def said(server: Server) -> str:
    """Return all that a server has said."""
    return (server.folder / "server.log").read_text(errors="replace")


def check(database: str) -> Sequence[str]:
    """Return what is wrong with a store."""

    async def look() -> Sequence[str]:
        store = PostgresStore(database)
        await store.open()
        try:
            return await store.check()
        finally:
            await store.close()

    return asyncio.run(look())
