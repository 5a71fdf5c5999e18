"""Measure resident memory with many subscriptions whose receivers are away and a backlog of a million events."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench import wrk
from bench.figures import Figure
from bench.machine import cpu_s, free_port, resident_mb
from bench.options import Options
from bench.stage import KEY, PROJECT, Caller, Stage, set_stage
from bench.wrk import Shape

SUBSCRIPTIONS = 10_000
EVENTS = 1_000_000
_TENANTS = 1_000
_CALLERS = 4
_SETTLES_S = 60.0
_WATCHED_S = 10.0


def measure(options: Options) -> list[Figure]:
    """Return the resident memory with the backlog waiting, and the most that it ever was."""
    subscriptions, events = round(SUBSCRIPTIONS * options.scale), round(EVENTS * options.scale)
    with set_stage(**options.stage()) as stage:
        start = resident_mb(stage.server.pid)
        stage.caller.call("PUT", "", {})
        nobody = f"http://127.0.0.1:{free_port()}/"
        _subscribe(stage, subscriptions, nobody)
        subscribed = resident_mb(stage.server.pid)
        published = _publish(stage, events)
        busy = resident_mb(stage.server.pid)
        time.sleep(_SETTLES_S * options.scale)
        now, most = resident_mb(stage.server.pid), resident_mb(stage.server.pid, at_most=True)
        before, began_at = cpu_s(stage.server.pid), time.monotonic()
        time.sleep(_WATCHED_S)
        cpu = (cpu_s(stage.server.pid) - before) / (time.monotonic() - began_at)
    note = (
        f"{subscriptions:,} subscriptions, {published:,} events; {start:.0f} MB at the start, "
        f"{subscribed:.0f} MB with the subscriptions, {busy:.0f} MB after the last publish, {most:.0f} MB at most; "
        f"a minute later {cpu:.1%} of a core for the probes"
    )
    return [Figure("resident memory with a backlog", now, 150, " MB", note=note)]


def _subscribe(stage: Stage, number: int, url: str) -> None:
    """Make so many subscriptions, spread over the tenants."""

    def some(numbers: range) -> None:
        caller = Caller(stage.port)
        for place in numbers:
            caller.call("POST", "/subscriptions", {"url": url, "tenant": f"{place % _TENANTS:04}"})
        caller.close()

    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(some, [range(place, number, _CALLERS) for place in range(_CALLERS)]))
    print(f"{number:,} subscriptions made", file=sys.stderr)


def _publish(stage: Stage, events: int) -> int:
    """Publish at least so many events in arrays; return how many."""
    published, count = 0, 100
    while published < events:
        shape = Shape(5, 8, per_request=count, tenants=_TENANTS)
        published += wrk.run(f"{stage.url}/v1/projects/{PROJECT}/events", shape, key=KEY).requests * count
        print(f"{published:,} events published, {resident_mb(stage.server.pid):.0f} MB resident", file=sys.stderr)
    return published
