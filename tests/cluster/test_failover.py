"""Three times the primary dies under load: what was answered 202 arrives, and nobody restarts Angarium."""

from __future__ import annotations

import time

import pytest

from tests.cluster.figures import note
from tests.cluster.load import Load
from tests.cluster.nodes import Cluster
from tests.cluster.world import IN_FLIGHT, TENANTS, Audience, Fleet, check
from tests.stories.receiving import Receiver
from tests.stories.waiting import eventually

KILLS = [True, False, True]
"""A whole machine, then the server alone, then a machine again."""
UNREPLICATED_S = 2.0
HANG_MAX_S = 15.0
"""A commit that no replica takes is given up after 10 s; the rest is for a machine that is busy."""
WORKERS = 2


@pytest.mark.timeout(500)
def test_three_lost_primaries_lose_nothing_that_was_answered(
    cluster: Cluster, fleet: Fleet, receiver: Receiver
) -> None:
    api, *_ = [fleet.add(role) for role in ("api", *["worker"] * WORKERS)]
    project = api.project()
    audience = Audience(project, receiver)
    load = Load(project, [api.port], TENANTS)

    with load.running():
        for is_whole in KILLS:
            audience.wait_for_more(1500)
            cluster.kill_primary(unreplicated_s=UNREPLICATED_S, whole=is_whole)
            died_s = time.monotonic()
            _note_return(load, audience, fleet, died_s=died_s, what="machine" if is_whole else "server")
            cluster.revive()
        audience.wait_for_more(1500)

    assert all(member.is_running for member in fleet.members)
    repeated = audience.settle(load, fleet)
    assert check(fleet.database) == []
    assert repeated <= len(KILLS) * WORKERS * IN_FLIGHT
    assert load.statuses().keys() <= {202, 503}
    assert all(each.retry_after for each in load.answers if each.status == 503)
    longest_s = max(each.took_s for each in load.answers)
    assert longest_s < HANG_MAX_S
    note(
        "failover, three kills",
        accepted=len(load.accepted),
        lost=0,
        repeated=repeated,
        refused=load.statuses()[503],
        longest_answer_s=longest_s,
    )


def _note_return(load: Load, audience: Audience, fleet: Fleet, *, died_s: float, what: str) -> None:
    """Wait until events are accepted and pushed again; note when."""
    accepted_s = eventually(lambda: load.first_accepted_s(since_s=died_s), told=fleet.told)
    assert accepted_s
    received_s = eventually(lambda: audience.first_received_s(since_s=accepted_s), told=fleet.told)
    assert received_s
    note(
        f"failover, a {what} killed",
        first_202_after_s=accepted_s - died_s,
        first_push_after_s=received_s - died_s,
        refused_meanwhile=load.statuses(since_s=died_s)[503],
    )
