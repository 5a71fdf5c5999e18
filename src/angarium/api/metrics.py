"""Show counters and gauges to Prometheus. They are kept where they are counted; here they get names and sentences.

Names have base units and the prefix `angarium_`, and no labels: tenants and addresses are too many, and nobody else's
business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from angarium import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from angarium.telemetry import Histogram

__all__ = ["CONTENT_TYPE", "Metrics"]

PREFIX: Final = "angarium_"

SENTENCES: Final = {
    "attempts_total": "Requests that were sent to receivers, failed ones included.",
    "backlog_events": "Events that lanes in memory still owe their receivers.",
    "connections": "Connections of API clients that are open.",
    "deliveries_delivered_total": "Deliveries that their receivers accepted.",
    "deliveries_exhausted_total": "Deliveries that were given up after their last attempt.",
    "deliveries_settled_total": "Deliveries whose end was recorded.",
    "events_accepted_total": "Events that were accepted, and so are on disk.",
    "entries_folded_total": "Entries of the log that were folded into the current state of their objects.",
    "events_unsayable_total": "Events that a subscription asked for and its dialect has no word for, counted for each.",
    "is_running": "1 while the process does what its role is for.",
    "is_store_away": "1 while the store cannot be written.",
    "lanes": "Subscriptions whose lanes are in memory.",
    "lanes_asleep": "Lanes of which only the row is in memory until they have something to do.",
    "lanes_behind": "Lanes that read the log from their own cursor.",
    "lanes_failing": "Lanes whose receivers fail.",
    "log_entries": "Entries that the log has given out offsets for, all partitions together.",
    "partitions": "Partitions that this process serves.",
    "publish_seconds": "From a publish's arrival to its answer after the commit.",
    "publishes_accepted_total": "Publishes that were accepted.",
    "publishes_inside": "Publishes that wait for their commit.",
    "publishes_refused_total": "Publishes that were refused, for whatever reason.",
    "publishes_waiting": "Publishes that wait for room in the server.",
    "request_body_bytes": "Bytes of request bodies in memory.",
    "requests_in_flight": "Requests to receivers that are on the wire.",
    "ring_bytes": "Bytes of events in memory that live lanes still owe.",
    "ring_events": "Events in memory that live lanes still owe.",
}


class Metrics(Collector):
    """Collect what each part counts, whenever somebody asks."""

    def __init__(self, *, parts: list[Callable[[], Mapping[str, float]]], spans: Mapping[str, Histogram]) -> None:
        self._parts = parts
        self._spans = spans
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def written(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        version = GaugeMetricFamily(f"{PREFIX}build_info", "The version that runs.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version
        for part in self._parts:
            for name, value in part().items():
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                yield kind(PREFIX + name, _sentence(name), value=value)
        for name, span in self._spans.items():
            histogram = HistogramMetricFamily(PREFIX + name, _sentence(name))
            histogram.add_metric([], span.cumulated(), span.total)
            yield histogram

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: what there is shows when it is collected."""
        yield from ()


def _sentence(name: str) -> str:
    return SENTENCES.get(name) or name.removesuffix("_total").replace("_", " ").capitalize() + "."
