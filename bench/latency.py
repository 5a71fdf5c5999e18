"""Measure how long an event takes from its publisher's hand to the wire of its receiver, at half load."""

from __future__ import annotations

import sys

from bench import wrk
from bench.figures import Figure
from bench.options import Options
from bench.stage import KEY, set_stage
from bench.throughput import load
from bench.wrk import Shape

_CONNECTIONS = 64


def measure(options: Options) -> list[Figure]:
    """Return the figures at half of what single publishes reach.

    Each event carries the moment when it was published, and its age is taken when the receiver has read it: so the
    figures hold the publisher's request, the commit and the receiver's own reading too, which the target leaves out.
    """
    with set_stage(**options.stage()) as stage:
        stage.subscribe(options.tenants, path="/timed")
        load(stage, Shape(2, tenants=options.tenants))
        most = load(stage, Shape(max(3, options.seconds / 2), tenants=options.tenants)).delivered_per_s
        pause_ms = max(1, round(_CONNECTIONS / (most / 2) * 1000))
        before = stage.drained(at_least=0)
        shape = Shape(options.seconds, _CONNECTIONS, tenants=options.tenants, pause_ms=pause_ms, is_timed=True)
        said = wrk.run(stage.publish_url, shape, key=KEY)
        ages = sorted(stage.drained(at_least=before.requests + said.requests).ages_ns)
    p50, p99 = (ages[int(len(ages) * share)] / 1e6 for share in (0.5, 0.99))
    note = (
        f"{said.per_s:,.0f}/s of {most:,.0f}/s; from before the publish; "
        f"publishes were answered in {said.p50_ms:.1f}/{said.p99_ms:.1f} ms"
    )
    print(f"{len(ages)} events timed, the slowest {ages[-1] / 1e6:.1f} ms", file=sys.stderr)
    return [
        Figure("published to on the wire at half load, p50", p50, 5, " ms", note=note),
        Figure("published to on the wire at half load, p99", p99, 50, " ms", note=note),
    ]
