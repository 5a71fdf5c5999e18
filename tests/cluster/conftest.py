"""Lend the cluster, whole again for each test, a database on it, and processes and receivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.figures import SEEN
from tests.cluster.nodes import Cluster
from tests.cluster.world import Fleet
from tests.stories.receiving import Receiver


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        yield cluster.open()
    finally:
        cluster.close()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Return the cluster; whatever the test before did to it is mended."""
    _cluster.revive()
    return _cluster


@pytest.fixture
def database(cluster: Cluster) -> str:
    """Return how to reach an empty database."""
    return cluster.make_database()


@pytest.fixture
def fleet(database: str, tmp_path: Path) -> Iterator[Fleet]:
    """Lend what starts processes on the database."""
    fleet = Fleet(tmp_path, database)
    yield fleet
    fleet.close()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests have seen."""
    if SEEN:
        terminalreporter.section("figures")
        for line in SEEN:
            terminalreporter.write_line(line)
