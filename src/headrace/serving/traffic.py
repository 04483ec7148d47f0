"""What consumers asked for, and whether they got it in time: read from what the scoring processes counted."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

from headrace.kernel.callers import ConsumerTraffic, KeyRecord, ScoringCounts
from headrace.serving.counters import Series, merged
from headrace.serving.snapshots import KEPT_SECONDS, read_told

ALIVE_SECONDS = 5.0


def consumer_traffic(folder: Path, keys: list[KeyRecord], now: float | None = None) -> list[ConsumerTraffic]:
    """The traffic of each consumer and model within the last day; consumers without any are there too, without a model.

    Shadow copies are not counted: nobody waited for them.
    """
    now = time.time() if now is None else now
    whole: dict[tuple[str, str], Series] = defaultdict(Series)
    failed: dict[tuple[str, str], int] = defaultdict(int)
    for _, told in read_told(folder):
        if now - told.written > KEPT_SECONDS:
            continue
        for label, series in told.counts.series:
            if label.route == "shadow":
                continue
            place = label.consumer, label.model
            whole[place].merge(series)
            failed[place] += series.requests if label.status >= 400 else 0
    objectives = {key.consumer: key.p99 for key in keys if key.revoked is None}
    for consumer in objectives:
        if not any(name == consumer for name, _ in whole):
            whole[consumer, ""] = Series()
    return [_traffic(place, series, failed[place], objectives.get(place[0])) for place, series in sorted(whole.items())]


def scoring_counts(folder: Path, now: float | None = None) -> ScoringCounts:
    """What the scoring processes of a workspace tell of themselves."""
    now = time.time() if now is None else now
    told = [one for _, one in read_told(folder) if now - one.written <= KEPT_SECONDS]
    together = merged([one.counts for one in told])
    return ScoringCounts(
        processes=sum(now - one.written < ALIVE_SECONDS for one in told),
        captured=together.captured,
        dropped_captures=together.dropped_captures,
        dropped_shadows=together.dropped_shadows,
        refused=together.refused,
        errors=together.errors,
    )


def _traffic(place: tuple[str, str], series: Series, failed: int, objective: float | None) -> ConsumerTraffic:
    within = None if objective is None or not series.requests else 1 - series.slow / series.requests
    return ConsumerTraffic(
        consumer=place[0],
        model=place[1],
        requests=series.requests,
        rows=series.rows,
        failed=failed,
        p50=series.seconds.quantile(0.5),
        p99=series.seconds.quantile(0.99),
        objective=objective,
        within=within,
    )
