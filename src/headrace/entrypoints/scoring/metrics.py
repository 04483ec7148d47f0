"""The counters of a scoring process in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.serving.app import Reply
from headrace.serving.counters import Counters, Histogram

TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class _Counted(Collector):
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        it = self._counters
        requests = CounterMetricFamily(
            "headrace_requests", "Requests answered", labels=["model", "version", "route", "status"]
        )
        for (model, version, route, status), count in it.requests.items():
            requests.add_metric([model, str(version), route, str(status)], count)
        latency = HistogramMetricFamily("headrace_request_duration_seconds", "From body to reply", labels=["model"])
        for model, histogram in it.latency.items():
            latency.add_metric([model], _buckets(histogram), histogram.total)
        batch = HistogramMetricFamily("headrace_batch_rows", "Rows of one call of the model")
        batch.add_metric([], _buckets(it.batch_rows), it.batch_rows.total)
        yield from (requests, latency, batch)
        yield _labelled("headrace_rows", "Rows scored", "model", it.rows)
        yield _labelled("headrace_errors", "Refused requests", "kind", it.errors)
        yield _labelled("headrace_unknown_fields", "Fields that the schema does not have", "model", it.unknown_fields)
        yield CounterMetricFamily("headrace_captured_rows", "Predictions captured", it.captured)
        yield CounterMetricFamily("headrace_dropped_captures", "Predictions not captured", it.dropped_captures)
        yield CounterMetricFamily("headrace_dropped_shadows", "Shadow copies not scored", it.dropped_shadows)
        yield GaugeMetricFamily("headrace_route_generation", "Generation of the routes", it.generation)


def metrics_page(counters: Counters) -> Reply:
    """The page ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(_Counted(counters))
    return Reply(200, generate_latest(registry), kind=TEXT)


def _labelled(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for limit, count in zip([*map(str, histogram.limits), "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((limit, float(total)))
    return buckets
