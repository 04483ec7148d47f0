"""What a scoring process counts, as plain numbers; `entrypoints.scoring` shows them to Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

import msgspec

LATENCY_LIMITS = tuple(
    round(step * 10.0**decade, 9) for decade in range(-5, 1) for step in (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
)
"""Seconds, ten limits a decade (Renard's series), from 10 µs to 8 s: a quantile is read to within a quarter."""
BATCH_LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 10_000)


class Histogram(msgspec.Struct):
    """Counts in fixed buckets, and the sum of the values."""

    limits: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value

    def merge(self, other: Histogram) -> None:
        """Add another histogram of the same limits."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """The limit of the bucket in which this share of the values is reached; None where there are no values."""
        wanted, seen = share * sum(self.counts), 0
        for limit, count in zip((*self.limits, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return limit
        return None


def latencies() -> Histogram:
    """An empty histogram of latencies."""
    return Histogram(LATENCY_LIMITS, [0] * (len(LATENCY_LIMITS) + 1))


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What a series counts; `consumer` is empty where the caller showed no key."""

    model: str
    version: int
    route: str
    dialect: str
    consumer: str
    status: int


class Series(msgspec.Struct):
    """The requests of one label: their number, rows and latencies, and how many broke the consumer's objective."""

    requests: int = 0
    rows: int = 0
    slow: int = 0
    seconds: Histogram = msgspec.field(default_factory=latencies)

    def merge(self, other: Series) -> None:
        """Add another series."""
        self.requests += other.requests
        self.rows += other.rows
        self.slow += other.slow
        self.seconds.merge(other.seconds)


class Counters:
    """All counts of one process."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, int, str, str, str, int], Series] = defaultdict(Series)
        """By model, version, route, dialect, consumer and status: the fields of `Label`."""
        self.batch_rows = Histogram(BATCH_LIMITS, [0] * (len(BATCH_LIMITS) + 1))
        self.errors: dict[str, int] = defaultdict(int)
        """By kind."""
        self.refused: dict[str, int] = defaultdict(int)
        """Requests of a consumer that were refused before they were scored."""
        self.unknown_fields: dict[str, int] = defaultdict(int)
        self.captured = 0
        self.dropped_captures = 0
        self.dropped_shadows = 0
        self.evictions = 0
        self.generation = 0
        self.running = 0
        self.waiting = 0
        """Rows that wait for their batch."""

    def snapshot(self) -> Snapshot:
        """The counts as they are now."""
        return Snapshot(
            series=[(Label(*label), series) for label, series in list(self.series.items())],
            batch_rows=self.batch_rows,
            errors=dict(self.errors),
            refused=dict(self.refused),
            unknown_fields=dict(self.unknown_fields),
            captured=self.captured,
            dropped_captures=self.dropped_captures,
            dropped_shadows=self.dropped_shadows,
            evictions=self.evictions,
            generation=self.generation,
            running=self.running,
            waiting=self.waiting,
        )


class Snapshot(msgspec.Struct, kw_only=True):
    """The counts of a process at one moment, or of several processes together."""

    series: list[tuple[Label, Series]]
    batch_rows: Histogram
    errors: dict[str, int]
    refused: dict[str, int]
    unknown_fields: dict[str, int]
    captured: int
    dropped_captures: int
    dropped_shadows: int
    evictions: int
    generation: int
    running: int
    waiting: int


def merged(snapshots: list[Snapshot]) -> Snapshot:
    """The counts of several processes as one; the generation is the least."""
    whole = Counters().snapshot()
    series: dict[Label, Series] = defaultdict(Series)
    for one in snapshots:
        for label, counted in one.series:
            series[label].merge(counted)
        whole.batch_rows.merge(one.batch_rows)
        for name in ("errors", "refused", "unknown_fields"):
            mine = getattr(whole, name)
            for key, count in getattr(one, name).items():
                mine[key] = mine.get(key, 0) + count
        for name in ("captured", "dropped_captures", "dropped_shadows", "evictions", "running", "waiting"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
    whole.series = list(series.items())
    whole.generation = min((one.generation for one in snapshots), default=0)
    return whole
