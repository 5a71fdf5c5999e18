"""A worker that hangs, or is cut off from its database, has lost what it owned before it sends anything again.

Three workers share the partitions. What one of them can no longer settle, the others take over; nothing that it still
holds in memory is sent twice, whenever it wakes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.figures import note
from tests.cluster.load import Load
from tests.cluster.namespace import (
    ALLOWED,
    DATABASE_HOST,
    HOOKS_HOST,
    FarServer,
    Namespace,
    can_be_made,
)
from tests.cluster.nodes import Cluster
from tests.cluster.relay import Relay
from tests.cluster.wheels import named
from tests.cluster.world import IN_FLIGHT, TENANTS, Audience, Fleet, check, said
from tests.stories.receiving import Received, Receiver
from tests.stories.serving import LOOPBACK, Server
from tests.stories.waiting import eventually

VICTIM = "victim"
"""The version under which the victim runs, and so the name that its requests bear."""
SESSION_S = 15.0
"""After so long without a word the server ends a worker's session."""
SENDS_S = 5.0
"""So long after its last acknowledged commit a worker may begin to send."""
TAKEN_S = 20.0
"""Within this others have taken over what a silent worker owned."""
ARRIVES_S = 1.5
"""So long a request may be on its way to the receiver's clock."""
SLACK_S = 3.0
"""For a machine that is busy."""


class Cut:
    """A victim that can be cut off from its database, by a relay that lets nothing through."""

    host = "127.0.0.1"
    allowed = LOOPBACK

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.relay = Relay([node.port for node in cluster.nodes])

    def victim(self, fleet: Fleet) -> Server:
        """Return the victim, not started yet."""
        return fleet.make("worker", store=self._cluster.through(fleet.database, self.relay))

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

    def victim(self, fleet: Fleet) -> Server:
        """Return the victim, not started yet."""
        dsn = self._cluster.through(fleet.database, self.relay)
        return fleet.make("worker", kind=FarServer, store=dsn, egress_allow=self.allowed)

    def cut(self) -> None:
        self._namespace.cut()

    def mend(self) -> None:
        self._namespace.mend()

    def close(self) -> None:
        super().close()
        self._namespace.close()


class Story:
    """Load on three workers, one of whom will be the victim."""

    def __init__(self, fleet: Fleet, receiver: Receiver, cut: Cut, folder: Path) -> None:
        self.victim = cut.victim(fleet).runs(named(folder / VICTIM, VICTIM)).start()
        api, *_ = (fleet.add(role, egress_allow=cut.allowed) for role in ("api", "worker", "worker"))
        self._fleet = fleet
        project = api.project()
        self.audience = Audience(project, receiver, host=cut.host, slow=TENANTS[::2])
        self.load = Load(project, [api.port], TENANTS)

    def sent(self, *, by_victim: bool = True, since_s: float = 0.0) -> list[tuple[str, Received]]:
        """Return the requests that came since a moment from the victim, or from the others, with their tenants."""
        return [
            (tenant, request)
            for tenant, hook in self.audience.hooks.items()
            for request in list(hook.requests)
            if request.at_s >= since_s and (VICTIM in request.headers["user-agent"]) == by_victim
        ]

    def begin(self) -> None:
        """Wait until all are served, each by whom it is to be."""
        eventually(self.sent, told=self._fleet.told)
        eventually(lambda: self.sent(by_victim=False), told=self._fleet.told)
        self.audience.wait_for_more(1000)

    def taken_over_s(self, *, since_s: float) -> float:
        """Wait until every tenant is served by the others; return the moment at which the last one was first."""
        eventually(lambda: self._served_s(since_s).keys() >= set(TENANTS), told=self._fleet.told)
        return max(self._served_s(since_s).values())

    def _served_s(self, since_s: float) -> dict[str, float]:
        """Return the moments at which the others have served tenants first since a moment."""
        served: dict[str, float] = {}
        for tenant, request in self.sent(by_victim=False, since_s=since_s):
            served.setdefault(tenant, request.at_s)
        return served

    def wait_for_return(self, *, since_s: float) -> None:
        """Wait until the victim sends again, what it has claimed anew."""
        eventually(lambda: self.sent(since_s=since_s), told=self._fleet.told)
        self.audience.wait_for_more(500)

    def sent_again(self, *, since_s: float) -> list[str]:
        """Return what the victim sent since a moment and came more than once."""
        came = self.audience.came
        return [request.id for _, request in self.sent(since_s=since_s) if came[request.id] > 1]

    def settle(self) -> int:
        """Let everything arrive; see that nothing is lost and the store whole; return how much came twice."""
        self.audience.hurry()
        repeated = self.audience.settle(self.load, self._fleet)
        assert check(self._fleet.database) == []
        assert repeated <= IN_FLIGHT
        return repeated


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(host="0.0.0.0")  # noqa: S104  the victim's network reaches it too
    yield receiver
    receiver.close()


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
    fleet: Fleet, receiver: Receiver, cut: Cut, tmp_path: Path
) -> None:
    story = Story(fleet, receiver, cut, tmp_path)

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
    fleet: Fleet, receiver: Receiver, cut: Cut, tmp_path: Path
) -> None:
    story = Story(fleet, receiver, cut, tmp_path)

    with story.load.running():
        story.begin()
        cut.cut()
        cut_s = time.monotonic()
        taken_s = story.taken_over_s(since_s=cut_s) - cut_s
        last_s = max(request.at_s for _, request in story.sent()) - cut_s
        cut.mend()
        mended_s = time.monotonic()
        story.wait_for_return(since_s=mended_s)

    repeated = story.settle()
    assert last_s < SENDS_S + ARRIVES_S
    assert taken_s < TAKEN_S + SLACK_S
    assert story.sent_again(since_s=mended_s) == []
    note(
        f"a worker cut off ({type(cut).__name__})",
        last_request_after_s=last_s,
        taken_over_after_s=taken_s,
        repeated=repeated,
    )
