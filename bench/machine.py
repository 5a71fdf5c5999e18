"""Look at processes from outside, as `top` does, and find what the measurements need."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used so far, its own and the kernel's for it, in seconds."""
    # The second field is a name in brackets that may hold anything; utime and stime are the 14th and 15th.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def cpu_of_family_s(pid: int) -> float:
    """Return the processor time of a process and of its children, those that have ended included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # It has ended since.
            continue
        if int(path.parent.name) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / _TICKS_PER_S


def resident_mb(pid: int, *, at_most: bool = False) -> float:
    """Return a process's resident memory in MB (10^6 bytes), now or the most that it ever was."""
    wanted = "VmHWM:" if at_most else "VmRSS:"
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith(wanted)]
    return int(line.split()[1]) * 1024 / 1e6


def free_port() -> int:
    """Return a port of loopback where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_wrk() -> str:
    """Return the path of `wrk`; end the program with what to do where there is none."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("bench needs wrk; install it: sudo apt-get install wrk")
    return found


def described() -> str:
    """Say in one line what machine this is."""
    cores = len(os.sched_getaffinity(0))
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return f"{cores} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
