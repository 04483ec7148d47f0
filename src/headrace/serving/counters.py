"""What a scoring process counts, as plain numbers; `entrypoints.scoring` shows them to Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

LATENCY_LIMITS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BATCH_LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 10_000)


class Histogram:
    """Counts in fixed buckets, their sum and number."""

    def __init__(self, limits: tuple[float, ...]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value


class Counters:
    """All counts of one process."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str, int], int] = defaultdict(int)
        """By model, version, route and status."""
        self.latency: dict[str, Histogram] = defaultdict(lambda: Histogram(LATENCY_LIMITS))
        """Seconds from the whole body to the reply, by model."""
        self.batch_rows = Histogram(BATCH_LIMITS)
        self.rows: dict[str, int] = defaultdict(int)
        self.errors: dict[str, int] = defaultdict(int)
        """By kind."""
        self.unknown_fields: dict[str, int] = defaultdict(int)
        self.captured = 0
        self.dropped_captures = 0
        self.dropped_shadows = 0
        self.generation = 0
