"""Run `wrk` with our script, and read what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.machine import find_wrk

_SCRIPT = Path(__file__).with_name("publish.lua")
_FAILED_MAX = 0.01
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Shape(NamedTuple):
    """What is published: events of `size` bytes, `per_request` together, over so many connections, for so long."""

    seconds: float
    connections: int = 64
    size: int = 500
    per_request: int = 1
    tenants: int = 1
    pause_ms: int = 0
    is_timed: bool = False


class Said(NamedTuple):
    """What `wrk` said: answered requests, those that were no 2xx or 3xx, and how long answers took."""

    requests: int
    per_s: float
    failed: int
    p50_ms: float
    p99_ms: float


def run(url: str, shape: Shape, *, key: str = "none") -> Said:
    """Post to a url for as long as the shape says."""
    environment = {
        "PATH": os.environ["PATH"],
        "BENCH_KEY": key,
        "BENCH_SIZE": str(shape.size),
        "BENCH_COUNT": str(shape.per_request),
        "BENCH_TENANTS": str(shape.tenants),
        "BENCH_PAUSE_MS": str(shape.pause_ms),
        "BENCH_TIMED": str(int(shape.is_timed)),
    }
    seconds = f"-d{max(1, round(shape.seconds))}"
    command = [
        find_wrk(),
        "-t1",
        f"-c{shape.connections}",
        seconds,
        "--latency",
        "--timeout=30",
        "-s",
        str(_SCRIPT),
        url,
    ]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    failed = sum(int(number) for number in re.findall(r"(?:read|write|timeout|connect|responses:) (\d+)", said))
    if failed > _FAILED_MAX * int(_found(r"(\d+) requests in", said)):
        raise SystemExit(f"too many requests failed, so nothing was measured:\n{said}")
    return Said(
        int(_found(r"(\d+) requests in", said)),
        float(_found(r"Requests/sec: +([\d.]+)", said)),
        failed,
        _milliseconds("50%", said),
        _milliseconds("99%", said),
    )


def _found(pattern: str, said: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        raise SystemExit(f"wrk said what bench cannot read:\n{said}")
    return found[1]


def _milliseconds(share: str, said: str) -> float:
    found = re.search(rf"{share} +([\d.]+)(us|ms|s)", said)
    return float(found[1]) * _UNITS_MS[found[2]] if found else 0.0
