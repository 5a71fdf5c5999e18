"""Measure how many events a second go all the way, against `wrk` posting to the same receiver, and what each costs."""

from __future__ import annotations

import sys
import threading
import time
from typing import NamedTuple

from bench import wrk
from bench.figures import Figure
from bench.options import Options
from bench.stage import KEY, Stage, set_stage
from bench.wrk import Shape

_WARM_UP_S = 2.0
_OVERLOADED = 2.0
"""How much longer an overload lasts: until all memory for events that wait is full, and for as long again."""


class Run(NamedTuple):
    """What one load came to. `while_published` is the rate of deliveries while publishes were coming."""

    accepted_per_s: float
    delivered: int
    delivered_per_s: float
    while_published: float
    cpu_us: float
    said: wrk.Said

    def told(self) -> str:
        """Return it in a few words."""
        return (
            f"{self.delivered_per_s:,.0f}/s delivered, {self.accepted_per_s:,.0f}/s accepted, "
            f"{self.cpu_us:.0f} µs CPU an event, publish p50/p99 {self.said.p50_ms:.1f}/{self.said.p99_ms:.1f} ms"
            + (f", {self.said.failed} publishes failed" if self.said.failed else "")
        )


def measure(options: Options) -> list[Figure]:
    """Return the figures of single publishes, of arrays and of overload."""
    with set_stage(**options.stage()) as stage:
        stage.subscribe(options.tenants)
        base = baseline(stage, options)
        load(stage, Shape(_WARM_UP_S, tenants=options.tenants))
        singles = load(stage, Shape(options.seconds, tenants=options.tenants))
        arrays = load(stage, Shape(options.seconds, 8, per_request=100, tenants=options.tenants))
    note = f"wrk posts {base:,.0f}/s to the same receiver"
    return [
        Figure(
            "single publishes, 64 connections, of wrk",
            singles.delivered_per_s / base,
            0.15,
            is_at_least=True,
            note=note,
        ),
        Figure("arrays of 100, of wrk", arrays.delivered_per_s / base, 0.30, is_at_least=True, note=note),
        Figure("CPU per event, singles", singles.cpu_us, 70, " µs", note=singles.told()),
        Figure("CPU per event, arrays", arrays.cpu_us, 45, " µs", note=arrays.told()),
    ]


def measure_overload(options: Options) -> list[Figure]:
    """Return how deliveries hold up while publishes come as fast as they can, against the best rate of any load."""
    with set_stage(**options.stage()) as stage:
        stage.subscribe(options.tenants)
        load(stage, Shape(_WARM_UP_S, tenants=options.tenants))
        loads = {
            connections: load(stage, Shape(max(3.0, options.seconds / 2), connections, tenants=options.tenants))
            for connections in (16, 32, 64, 128)
        }
        overload = load(stage, Shape(options.seconds * _OVERLOADED, 512, tenants=options.tenants))
    best = max(run.delivered_per_s for run in loads.values())
    note = "; ".join(f"{connections} connections: {run.delivered_per_s:,.0f}/s" for connections, run in loads.items())
    note += f"; 512 connections, while they publish: {overload.while_published:,.0f}/s"
    reached = overload.while_published / best
    return [Figure("delivered at publish overload, of the best", reached, 0.9, is_at_least=True, note=note)]


def baseline(stage: Stage, options: Options) -> float:
    """Return how many requests a second `wrk` posts to the receiver, 500 bytes each over 64 connections."""
    said = wrk.run(stage.hook("/baseline"), Shape(max(3.0, options.seconds / 2)))
    print(f"baseline: {said.per_s:,.0f}/s", file=sys.stderr)
    return said.per_s


def load(stage: Stage, shape: Shape) -> Run:
    """Publish, wait until all is delivered, and return what it came to."""
    before, cpu_before, began_at_ns = stage.counted(), stage.cpu_s(), time.monotonic_ns()
    samples: list[tuple[int, int]] = []
    sampler = threading.Thread(target=_sample, args=(stage, shape, samples))
    sampler.start()
    said = wrk.run(stage.publish_url, shape, key=KEY)
    published_s = (time.monotonic_ns() - began_at_ns) / 1e9
    sampler.join()
    accepted = said.requests * shape.per_request
    counted = stage.drained(at_least=before.requests + accepted)
    delivered = counted.requests - before.requests
    took_s = (counted.last_at_ns - began_at_ns) / 1e9
    (early_ns, early), (late_ns, late) = samples
    run = Run(
        accepted / published_s,
        delivered,
        delivered / took_s,
        (late - early) / ((late_ns - early_ns) / 1e9),
        (stage.cpu_s() - cpu_before) / delivered * 1e6,
        said,
    )
    print(f"{shape.connections} connections, {shape.per_request} an array: {run.told()}", file=sys.stderr)
    return run


def _sample(stage: Stage, shape: Shape, samples: list[tuple[int, int]]) -> None:
    """Count what has come after half and after nine tenths of the load's time."""
    for rest_s in (shape.seconds * 0.5, shape.seconds * 0.4):
        time.sleep(rest_s)
        samples.append((time.monotonic_ns(), stage.counted().requests))
