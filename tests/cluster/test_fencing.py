"""A worker that hangs, or is cut off from its database, has lost what it owned before it sends anything again.

Three workers share the partitions. What one of them can no longer settle, the others take over; nothing that it still
holds in memory is sent twice, whenever it wakes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.cluster.figures import note
from tests.cluster.hearing import Hearing
from tests.cluster.load import Load
from tests.cluster.namespace import (
    ALLOWED,
    DATABASE_HOST,
    HOOKS_FAR,
    HOOKS_HOST,
    FarServer,
    Namespace,
    can_be_made,
)
from tests.cluster.nodes import Cluster
from tests.cluster.relay import Relay
from tests.cluster.world import IN_FLIGHT, TENANTS, Audience, Fleet, check, said
from tests.stories.receiving import Received
from tests.stories.serving import LOOPBACK, Server
from tests.stories.waiting import eventually

SESSION_S = 15.0
"""After so long without a word the server ends a worker's session."""
SENDS_S = 5.0
"""So long after its last acknowledged commit a worker may begin to send."""
TAKEN_S = 20.0
"""Within this others have taken over what a silent worker owned."""
SLACK_S = 3.0
"""For a machine that is busy, and the way of a request to the receiver's clock."""


class Cut:
    """A victim that can be cut off from its database, by a relay that lets nothing through."""

    host = "127.0.0.1"
    allowed = LOOPBACK

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.relay = Relay([node.port for node in cluster.nodes])

    def victim(self, fleet: Fleet, hearing: Hearing) -> Server:
        """Start the victim."""
        return fleet.add("worker", store=self._cluster.through(fleet.database, self.relay))

    def cut(self) -> None:
        self.relay.cut()

    def mend(self) -> None:
        self.relay.mend()

    def close(self) -> None:
        self.relay.close()


class LinkCut(Cut):
    """The same, in a network of its own whose link to the database is pulled."""

    host = HOOKS_HOST
    allowed = f"{LOOPBACK},{ALLOWED}"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._namespace = Namespace()
        self._namespace.open()
        self.relay = Relay([node.port for node in cluster.nodes], host=DATABASE_HOST)

    def victim(self, fleet: Fleet, hearing: Hearing) -> Server:
        """Start the victim."""
        dsn = self._cluster.through(fleet.database, self.relay)
        victim = fleet.add("worker", kind=FarServer, store=dsn, egress_allow=self.allowed)
        hearing.far[HOOKS_FAR] = victim
        return victim

    def cut(self) -> None:
        self._namespace.cut()

    def mend(self) -> None:
        self._namespace.mend()

    def close(self) -> None:
        super().close()
        self._namespace.close()


class Story:
    """Load on three workers, one of whom will be the victim."""

    def __init__(self, fleet: Fleet, hearing: Hearing, cut: Cut) -> None:
        self.victim = cut.victim(fleet, hearing)
        api, *self.others = (fleet.add(role, egress_allow=cut.allowed) for role in ("api", "worker", "worker"))
        hearing.servers = fleet.members
        self._fleet, self._hearing = fleet, hearing
        project = api.project()
        self.audience = Audience(project, hearing, host=cut.host)
        self.load = Load(project, [api.port], TENANTS)

    def sent(self, server: Server, *, since_s: float = 0.0) -> list[Received]:
        """Return the requests that came from a server since a moment."""
        return [
            request
            for hook in self.audience.hooks.values()
            for request in list(hook.requests)
            if request.at_s >= since_s and self._hearing.sender(request) is server
        ]

    def begin(self) -> None:
        """Wait until all workers send."""
        for server in (self.victim, *self.others):
            self._wait_for(server, since_s=0.0)
        self.audience.wait_for_more(1000)

    def _wait_for(self, server: Server, *, since_s: float) -> None:
        eventually(lambda: self.sent(server, since_s=since_s), told=self._fleet.told)

    def taken_over_s(self, *, since_s: float) -> float:
        """Wait until every tenant is served by the others; return the moment at which the last one was first."""
        eventually(lambda: self._served_s(since_s).keys() >= set(TENANTS), told=self._fleet.told)
        return max(self._served_s(since_s).values())

    def _served_s(self, since_s: float) -> dict[str, float]:
        """Return the moments at which the others have served tenants first since a moment."""
        mine = {server.pid for server in self.others}
        served: dict[str, float] = {}
        for tenant, hook in self.audience.hooks.items():
            for request in list(hook.requests):
                sender = self._hearing.sender(request)
                if request.at_s >= since_s and sender and sender.pid in mine:
                    served.setdefault(tenant, request.at_s)
        return served

    def wait_for_return(self, *, since_s: float) -> None:
        """Wait until the victim sends again, what it has claimed anew."""
        self._wait_for(self.victim, since_s=since_s)
        self.audience.wait_for_more(500)

    def sent_again(self, *, since_s: float) -> list[str]:
        """Return what the victim sent since a moment and came more than once."""
        came = self.audience.came
        return [request.id for request in self.sent(self.victim, since_s=since_s) if came[request.id] > 1]

    def settle(self) -> int:
        """See that nothing is lost and the store whole; return how much came twice."""
        repeated = self.audience.settle(self.load, self._fleet)
        assert check(self._fleet.database) == []
        assert repeated <= IN_FLIGHT
        return repeated


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    hearing = Hearing(host="0.0.0.0")  # noqa: S104  the victim's network reaches it too
    yield hearing
    hearing.close()


CUTS = [Cut, *([LinkCut] if can_be_made() else [])]
"""Root can pull a link as well."""


@pytest.fixture(params=CUTS)
def cut(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Cut]:
    cut: Cut = request.param(cluster)
    yield cut
    cut.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cut", [Cut], indirect=True)
def test_a_worker_that_was_stopped_sends_nothing_of_what_it_held_when_it_wakes(
    fleet: Fleet, hearing: Hearing, cut: Cut
) -> None:
    story = Story(fleet, hearing, cut)

    with story.load.running():
        story.begin()
        os.kill(story.victim.pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        taken_s = story.taken_over_s(since_s=stopped_s) - stopped_s
        time.sleep(max(0.0, stopped_s + 2 * SESSION_S - time.monotonic()))
        os.kill(story.victim.pid, signal.SIGCONT)
        woken_s = time.monotonic()
        story.wait_for_return(since_s=woken_s)

    repeated = story.settle()
    assert taken_s < TAKEN_S + SLACK_S
    assert story.sent_again(since_s=woken_s) == []
    assert "partitions.dropped" in said(story.victim)
    note("a worker stopped for 30 s", taken_over_after_s=taken_s, sent_again_when_woken=0, repeated=repeated)


@pytest.mark.timeout(300)
def test_a_worker_that_is_cut_off_from_its_database_sends_nothing_after_five_seconds(
    fleet: Fleet, hearing: Hearing, cut: Cut
) -> None:
    story = Story(fleet, hearing, cut)

    with story.load.running():
        story.begin()
        cut.cut()
        cut_s = time.monotonic()
        taken_s = story.taken_over_s(since_s=cut_s) - cut_s
        last_s = max(request.at_s for request in story.sent(story.victim)) - cut_s
        cut.mend()
        mended_s = time.monotonic()
        story.wait_for_return(since_s=mended_s)

    repeated = story.settle()
    assert last_s < SENDS_S + SLACK_S
    assert taken_s < TAKEN_S + SLACK_S
    assert story.sent_again(since_s=mended_s) == []
    note(
        f"a worker cut off ({type(cut).__name__})",
        last_request_after_s=last_s,
        taken_over_after_s=taken_s,
        repeated=repeated,
    )
