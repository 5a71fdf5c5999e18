"""Run commands as a user does, in processes of their own; lend a server to those that speak to one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cli.receiving import Process, Start
from tests.cli.running import TIMEOUT_S, Ran, Run, command, environment
from tests.stories.serving import KEY, Server

_numbers = count(1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what runs a command in an empty folder, to its end."""

    def run(*arguments: str, given: str | bytes = b"", **variables: str) -> Ran:
        text = given.encode() if isinstance(given, str) else given
        done = subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(**variables),
            input=text,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), dev="1", time_scale="100").start()
    yield server
    server.close()


@pytest.fixture
def target(server: Server) -> dict[str, str]:
    """Return the variables that name the server, its admin key, and a project of the test's own."""
    return {
        "ANGARIUM_URL": f"http://127.0.0.1:{server.port}",
        "ANGARIUM_API_KEY": KEY,
        "ANGARIUM_PROJECT": f"cli-{next(_numbers)}",
    }


@pytest.fixture
def angarium(run: Run, target: dict[str, str]) -> Run:
    """Return what runs a command that speaks to the server."""

    def speak(*arguments: str, given: str | bytes = b"", **variables: str) -> Ran:
        return run(*arguments, given=given, **{**target, **variables})

    assert speak("projects", "create", target["ANGARIUM_PROJECT"]).code == 0
    return speak


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a test receiver on a free port."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()
