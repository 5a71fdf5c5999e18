"""Processes are restarted and replaced under load, one after the other, and neither side notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from angarium import __version__
from tests.cluster.figures import note
from tests.cluster.load import Load
from tests.cluster.wheels import MIGRATION, NEWER, install
from tests.cluster.world import TENANTS, Audience, Fleet, check, said
from tests.stories.receiving import Receiver
from tests.stories.serving import Server
from tests.stories.waiting import eventually

ROUNDS = 3
FAILED_MAX = 0.001
"""How large a share of publishes may be answered with 5xx, or not at all."""


@pytest.mark.timeout(300)
def test_rolling_restarts_lose_and_repeat_nothing(fleet: Fleet, receiver: Receiver) -> None:
    members = [fleet.add("all") for _ in range(2)]
    project = members[0].project()
    audience = Audience(project, receiver)
    load = Load(project, [member.port for member in members], TENANTS)

    with load.running():
        for _ in range(ROUNDS):
            for member in members:
                audience.wait_for_more(500)
                assert member.stop() == 0, member.told()
                audience.wait_for_more(300)
                member.start()
        audience.wait_for_more(500)

    _hold(fleet, audience, load, story=f"{2 * ROUNDS} restarts, one process after the other")
    assert check(fleet.database) == []


@pytest.mark.timeout(300)
def test_two_versions_share_a_store_while_one_takes_the_other_s_place(
    fleet: Fleet, receiver: Receiver, tmp_path: Path
) -> None:
    older, newer = (install(tmp_path / name, is_newer=name == "newer") for name in ("older", "newer"))
    replaced = [fleet.make("all").runs(older).start() for _ in range(2)]
    project = replaced[0].project()
    audience = Audience(project, receiver)
    new = [fleet.make("all").runs(newer) for _ in range(2)]
    load = Load(project, [member.port for member in (*replaced, *new)], TENANTS)

    with load.running():
        audience.wait_for_more(500)
        for old, its_successor in zip(replaced, new, strict=True):
            its_successor.start()
            project.client.port = its_successor.port
            eventually(lambda: _versions(audience) >= {__version__, NEWER}, told=fleet.told)
            audience.wait_for_more(500)
            assert old.stop() == 0, old.told()
            audience.wait_for_more(500)

    _hold(fleet, audience, load, story="two processes replaced by a newer version with a migration")
    _refuses(replaced[0])


def _refuses(old: Server) -> None:
    """See that the older program is not started any more, and says why."""
    process = old.spawn()
    assert process.wait(60) != 0
    assert MIGRATION in said(old)
    assert "newer than this program's last" in said(old)


def _versions(audience: Audience) -> set[str]:
    """Return the versions of the programs that have sent something."""
    agents = [request.headers["user-agent"] for hook in audience.hooks.values() for request in list(hook.requests)]
    return {agent.removeprefix("Angarium/") for agent in agents}


def _hold(fleet: Fleet, audience: Audience, load: Load, *, story: str) -> None:
    """See that nothing is lost or repeated, and that hardly anybody was refused."""
    repeated = audience.settle(load, fleet)
    failed = sum(times for status, times in load.statuses().items() if status != 202)
    note(
        story,
        accepted=len(load.accepted),
        lost=0,
        repeated=repeated,
        publishes=len(load.answers),
        statuses=dict(load.statuses()),
    )
    assert repeated == 0
    assert failed <= len(load.answers) * FAILED_MAX, load.statuses()
