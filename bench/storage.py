"""Measure what an event of 1 kB costs on disk, with the record of its delivery."""

from __future__ import annotations

import sys

from bench import wrk
from bench.figures import Figure
from bench.options import Options
from bench.stage import KEY, Stage, set_stage
from bench.wrk import Shape

_BYTES = 1000


def measure(options: Options) -> list[Figure]:
    """Return the bytes per event once the server has stopped, and while it runs, its write-ahead log included."""
    with set_stage(**options.stage()) as stage:
        stage.subscribe(options.tenants)
        empty = stored_bytes(stage)
        shape = Shape(options.seconds * options.scale, 8, size=_BYTES, per_request=100, tenants=options.tenants)
        said = wrk.run(stage.publish_url, shape, key=KEY)
        events = stage.drained(at_least=said.requests * shape.per_request).requests
        running = stored_bytes(stage) - empty
        stage.stop_server()
        stopped = stored_bytes(stage) - empty
    print(f"{events:,} events in {stopped:,} bytes", file=sys.stderr)
    note = f"{events:,} events; {running / events / 1000:.2f} kB with the write-ahead log while it runs"
    return [Figure("stored per 1 kB event with its delivery", stopped / events / 1000, 1.3, " kB", note=note)]


def stored_bytes(stage: Stage) -> int:
    """Return what the store's files hold together."""
    return sum(path.stat().st_size for path in stage.folder.iterdir() if path.name.startswith("angarium.db"))
