"""Start programs as somebody other than root, and stop, wake and kill whole trees of processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_NOBODY_SPECIAL = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
"""PostgreSQL refuses to run as root. In a namespace of its own it does not see that it does, and everything that root
may read, a Python in root's home included, can be read still."""


def start(command: Sequence[str], *, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program that is not root in a folder, where what it says is in `log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*([] if os.geteuid() else _NOBODY_SPECIAL), *command],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def children(pid: int) -> Iterator[int]:
    """Yield the processes below one, parents first."""
    with suppress(OSError):
        for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(text)
            yield from children(int(text))


def title(pid: int) -> str:
    """Return what a process calls itself; nothing when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def send(pids: Iterable[int], what: signal.Signals) -> None:
    """Send a signal to all that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def kill_at_once(pids: Iterable[int]) -> None:
    """End processes as a power failure would: none sees another one end."""
    doomed = list(pids)
    send(doomed, signal.SIGSTOP)
    send(doomed, signal.SIGKILL)


_PORTS = iter(range(21_000 + os.getpid() % 5_000, 32_000))
"""Below those that outgoing connections take; each is given out once."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
