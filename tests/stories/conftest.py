"""Lend servers, projects and hooks to the stories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.stories.calling import Project
from tests.stories.receiving import Hook, Receiver
from tests.stories.serving import Server

TIME_SCALE = "1000"
"""The shared server's: a retry delay of a second is a millisecond there."""

_numbers = count(1)


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hook(receiver: Receiver) -> Hook:
    return receiver.hook()


@pytest.fixture
def hooks(receiver: Receiver) -> Callable[[], Hook]:
    """Return what makes further hooks."""
    return receiver.hook


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def shared(_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return the server that all stories share which need none of their own; the one after it if it has ended."""
    if not _servers or not _servers[-1].is_running:
        _servers.append(Server(tmp_path_factory.mktemp("shared"), dev="1", time_scale=TIME_SCALE).start())
    return _servers[-1]


@pytest.fixture
def project(shared: Server) -> Iterator[Project]:
    """Return a project of the shared server's, empty, and see that the server outlives the story."""
    project = shared.project(f"story-{next(_numbers)}")
    yield project
    assert shared.is_running, shared.told()
    project.client.call("DELETE", project.path).expect(204)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return what starts a server of the story's own, with these settings."""
    servers: list[Server] = []

    def start(**settings: str) -> Server:
        servers.append(Server(tmp_path, **settings))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()
