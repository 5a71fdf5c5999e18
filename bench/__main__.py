"""Measure this machine, and print a table.

`python -m bench throughput|overload|latency|storage|memory|idle|postgres|all`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import idle, latency, memory, postgres, storage, throughput
from bench.figures import HEAD, Figure
from bench.machine import described
from bench.options import Options

MEASURED: Mapping[str, Callable[[Options], list[Figure]]] = {
    "throughput": throughput.measure,
    "overload": throughput.measure_overload,
    "latency": latency.measure,
    "storage": storage.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "postgres": postgres.measure,
}


def main() -> int:
    """Measure what was asked for; 1 when a target was missed and `--strict` given."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"], help=f"any of {', '.join(MEASURED)}, or all")
    parser.add_argument("--seconds", type=float, default=10, help="how long each load lasts")
    parser.add_argument("--scale", type=float, default=1, help="a share of the events, subscriptions and waits")
    parser.add_argument("--tenants", type=int, default=16, help="each with one subscription")
    parser.add_argument("--folder", type=Path, help="where stores are made: the disk to be measured")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="sample the server, and write what it does")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target was missed")
    given = parser.parse_args()
    wanted = list(MEASURED) if "all" in given.what else given.what
    if unknown := set(wanted) - set(MEASURED):
        parser.error(f"{', '.join(unknown)} cannot be measured; there are {', '.join(MEASURED)} and all")
    options = Options(given.seconds, given.scale, given.tenants, given.folder, given.profile)
    print(f"{described()}\n", file=sys.stderr)
    figures = [figure for name in wanted for figure in MEASURED[name](options)]
    print("\n".join([HEAD, *(figure.row() for figure in figures)]))
    if given.profile:
        print(given.profile.read_text(encoding="utf-8"), file=sys.stderr)
    return int(given.strict and not all(figure.is_good for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
