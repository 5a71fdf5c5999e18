"""What is told to whoever started the server, over real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from angarium.notifying import READY, STOPPING, notify


@contextmanager
def listener(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(address)
        taken.settimeout(5)
        yield taken


def test_a_socket_in_the_file_system_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with listener(path) as taken:
        assert notify(READY, "STATUS=answers", environment={"NOTIFY_SOCKET": path})
        assert taken.recv(100) == b"READY=1\nSTATUS=answers"


def test_an_abstract_socket_is_told() -> None:
    name = f"angarium-test-{os.getpid()}"
    with listener(f"\0{name}") as taken:
        assert notify(STOPPING, environment={"NOTIFY_SOCKET": f"@{name}"})
        assert taken.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nobody_is_told_where_nobody_asked(environment: dict[str, str]) -> None:
    assert not notify(READY, environment=environment)


def test_a_socket_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    assert not notify(READY, environment={"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not notify(READY, environment={"NOTIFY_SOCKET": "/" + "x" * 200})
