"""Start a real server for the demo, as `angarium serve` on a store in a temporary folder, and end it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from angarium.cli.client import ApiClient, ApiProblem, Unreachable
from angarium.cli.demo_cast import TIME_SCALE
from angarium.cli.failing import Failure

HOST = "127.0.0.1"

_START_S = 30
_STOP_S = 10
_POLL_S = 0.05


class Running(NamedTuple):
    """A server that is ready."""

    url: str
    key: str
    folder: Path


@contextmanager
def closed_port() -> Iterator[int]:
    """Lend a port on which nothing listens, nor can while it is lent."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


@contextmanager
def running(ports: Sequence[int]) -> Iterator[Running]:
    """Lend a server that may send to these ports of this machine; its store is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="angarium-demo-")).resolve()
    try:
        with closed_port() as port:  # Free again when the block ends, before the server takes it.
            url = f"http://{HOST}:{port}"
        key = f"demo-{secrets.token_hex(8)}"
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "angarium", "serve"],
                cwd=folder,
                env=_environment(folder, port, key, ports),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends its server.
            )
        try:
            _await_ready(process, url, folder / "server.log")
            yield Running(url, key, folder)
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, port: int, key: str, ports: Sequence[int]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANGARIUM_")}
    return inherited | {
        "ANGARIUM_STORE": f"sqlite:///{folder / 'angarium.db'}",
        "ANGARIUM_LISTEN": f"{HOST}:{port}",
        "ANGARIUM_ADMIN_KEY": key,
        "ANGARIUM_EGRESS_ALLOW": ",".join(f"{HOST}/32:{each}" for each in ports),
        "ANGARIUM_DEV": "1",
        "ANGARIUM_TIME_SCALE": str(TIME_SCALE),
        "ANGARIUM_LOG_LEVEL": "warning",
        "ANGARIUM_STOP_S": "1",
    }


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends_at = time.monotonic() + _START_S
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            with ApiClient(url, timeout_s=5) as client:
                client.get("/readyz")
        except (ApiProblem, Unreachable):
            time.sleep(_POLL_S)
        else:
            return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    how = "took too long" if process.poll() is None else f"ended with exit code {process.returncode}"
    raise Failure(
        "the demo's server did not start",
        why=f"it {how}: {' / '.join(lines[-3:]) or 'it said nothing'}",
        fix="start one yourself to see more: angarium serve; and check this machine with: angarium doctor",
        code="no_server",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
