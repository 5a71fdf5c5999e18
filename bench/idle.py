"""Measure what a server uses that has nothing to do."""

from __future__ import annotations

import time

from bench.figures import Figure
from bench.machine import resident_mb
from bench.options import Options
from bench.stage import set_stage

_SETTLES_S = 3.0
_WATCHED_S = 30.0


def measure(options: Options) -> list[Figure]:
    """Return the share of a core that an idle server uses, which has delivered before."""
    with set_stage(**options.stage()) as stage:
        stage.subscribe(options.tenants)
        event = {"object": "item", "action": "update", "object_id": "1"}
        for tenant in range(options.tenants):
            stage.caller.call("POST", "/events", {**event, "tenant": f"{tenant:04}"})
        stage.drained(at_least=options.tenants)
        time.sleep(_SETTLES_S)
        before, began_at = stage.cpu_s(), time.monotonic()
        time.sleep(_WATCHED_S * options.scale)
        share = (stage.cpu_s() - before) / (time.monotonic() - began_at) * 100
        note = f"over {_WATCHED_S * options.scale:.0f} s; {resident_mb(stage.server.pid):.0f} MB resident"
    return [Figure("an idle server", share, 0.5, " % of a core", note=note)]
