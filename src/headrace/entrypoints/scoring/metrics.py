"""The counters of scoring processes in Prometheus' text format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.serving.counters import Histogram, Series, Snapshot
from headrace.serving.replies import Reply

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
SHOWN_LIMITS = tuple(step * 10.0**decade for decade in range(-5, 1) for step in (1, 2, 5))


class _Counted(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        it = self._snapshot()
        yield from _series(it)
        batch = HistogramMetricFamily("headrace_batch_rows", "Rows of one call of the model")
        batch.add_metric([], _buckets(it.batch_rows, it.batch_rows.limits), it.batch_rows.total)
        yield batch
        yield _labelled("headrace_errors", "Refused requests", "kind", it.errors)
        yield _labelled("headrace_refused", "Refused requests of a consumer", "consumer", it.refused)
        yield _labelled("headrace_unknown_fields", "Fields that the schema does not have", "model", it.unknown_fields)
        yield CounterMetricFamily("headrace_captured_rows", "Predictions captured", it.captured)
        yield CounterMetricFamily("headrace_dropped_captures", "Predictions not captured", it.dropped_captures)
        yield CounterMetricFamily("headrace_dropped_shadows", "Shadow copies not scored", it.dropped_shadows)
        yield CounterMetricFamily("headrace_evictions", "Versions let go for lack of memory", it.evictions)
        yield GaugeMetricFamily("headrace_route_generation", "Generation of the routes", it.generation)
        yield GaugeMetricFamily("headrace_running_requests", "Requests that are being answered", it.running)
        yield GaugeMetricFamily("headrace_queued_rows", "Rows that wait for their batch", it.waiting)


def metrics_page(snapshot: Callable[[], Snapshot]) -> Reply:
    """The page ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(_Counted(snapshot))
    return Reply(200, generate_latest(registry), kind=TEXT)


def _series(it: Snapshot) -> Iterable[Metric]:
    labels = ["model", "version", "route", "dialect", "consumer", "status"]
    requests = CounterMetricFamily("headrace_requests", "Requests answered", labels=labels)
    slow = CounterMetricFamily(
        "headrace_slow_requests", "Requests slower than their consumer's objective", labels=["model", "consumer"]
    )
    latency = HistogramMetricFamily("headrace_request_duration_seconds", "From body to reply", labels=["model"])
    rows: dict[str, int] = defaultdict(int)
    broke: dict[tuple[str, str], int] = defaultdict(int)
    models: dict[str, Series] = defaultdict(Series)
    for label, series in it.series:
        requests.add_metric(
            [label.model, str(label.version), label.route, label.dialect, label.consumer, str(label.status)],
            series.requests,
        )
        rows[label.model] += series.rows
        broke[label.model, label.consumer] += series.slow
        models[label.model].merge(series)
    for (model, consumer), count in broke.items():
        slow.add_metric([model, consumer], count)
    for model, series in models.items():
        latency.add_metric([model], _buckets(series.seconds, SHOWN_LIMITS), series.seconds.total)
    yield from (requests, slow, latency)
    yield _labelled("headrace_rows", "Rows scored", "model", rows)


def _labelled(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _buckets(histogram: Histogram, shown: tuple[float, ...]) -> list[tuple[str, float]]:
    """Counts up to each limit that is shown, and of all."""
    wanted = {f"{limit:g}" for limit in shown}
    total, buckets = 0, []
    for limit, count in zip((*histogram.limits, float("inf")), histogram.counts, strict=True):
        total += count
        if f"{limit:g}" in wanted or limit == float("inf"):
            buckets.append(("+Inf" if limit == float("inf") else f"{limit:g}", float(total)))
    return buckets
