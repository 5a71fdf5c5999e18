"""Run commands as a user does, in processes of their own; lend a server to those that speak to one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.stories.serving import KEY, Server

PROJECT = "cli"
TIMEOUT_S = 60


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    talk: str

    @property
    def document(self) -> Any:
        """The one JSON document that it printed."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """The JSON documents that it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


def environment(**variables: str) -> dict[str, str]:
    """Return an environment without anybody's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **variables}


def command(*arguments: str) -> list[str]:
    """Return the command line that runs `angarium`."""
    return [sys.executable, "-m", "angarium", *arguments]


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
def angarium(run: Run, server: Server) -> Run:
    """Return what runs a command that speaks to the server, with the admin key, about one project."""

    def speak(*arguments: str, given: str | bytes = b"", **variables: str) -> Ran:
        target = {
            "ANGARIUM_URL": f"http://127.0.0.1:{server.port}",
            "ANGARIUM_API_KEY": KEY,
            "ANGARIUM_PROJECT": PROJECT,
        }
        return run(*arguments, given=given, **{**target, **variables})

    assert speak("projects", "create", PROJECT).code == 0
    return speak
