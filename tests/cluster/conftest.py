"""Lend the cluster, whole again for each test, and a database on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.nodes import Cluster


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
