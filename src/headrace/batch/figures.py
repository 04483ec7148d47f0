"""What a job's answers look like as a whole: how many of each class, how numbers and probabilities are spread.

Figures of chunks add up to those of the job, in whichever order, because each only counts. Numbers are counted between
edges that are the deciles of the version's golden answers, so that figures of several jobs, and of training, compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import polars as pl

from headrace.kernel.records import Record

TENTHS = tuple(i / 10 for i in range(1, 10))
MOST_CLASSES = 200
REST = "(others)"


class Figures(Record, frozen=True, kw_only=True):
    """`classes` counts predictions that are no fractions; `edges` and `counts` are a histogram of the others, or of the
    score: `counts` has one more entry than `edges`. `total` is the sum of what the histogram counts."""

    rows: int = 0
    classes: dict[str, int] = {}
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """The mean of what the histogram counts."""
        counted = sum(self.counts)
        return self.total / counted if counted else None


def edges_of(golden: pl.DataFrame) -> tuple[float, ...]:
    """Where the histogram of a version's answers has its edges.

    Args:
        golden: the version's golden answers.
    """
    said = golden["prediction"]
    if not said.dtype.is_float():
        return TENTHS if _shares(golden) else ()
    found = [said.quantile(i / 10, "linear") for i in range(1, 10)]
    return tuple(sorted({float(value) for value in found if value is not None and math.isfinite(value)}))


def figures_of(answers: pl.DataFrame, edges: tuple[float, ...]) -> Figures:
    """The figures of some answers: `prediction` and `probability.<class>`, of shape (rows, columns)."""
    said = answers["prediction"]
    shares = _shares(answers)
    classes: dict[str, int] = {}
    if not said.dtype.is_float():
        counted = said.value_counts(sort=True).rows()
        classes = _few({_spelled(value): count for value, count in counted})
    measured = said
    if shares:
        measured = answers[shares[1]] if len(shares) == 2 else answers.select(pl.max_horizontal(shares)).to_series()
    if not edges or not measured.dtype.is_float():
        return Figures(rows=answers.height, classes=classes)
    values = measured.drop_nulls().to_numpy()
    values = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(np.array(edges), values, side="right"), minlength=len(edges) + 1)
    total = float(math.fsum(values)) if len(values) else 0.0
    return Figures(rows=answers.height, classes=classes, edges=edges, counts=tuple(counts.tolist()), total=total)


def added(some: Iterable[Figures]) -> Figures:
    """Figures of parts as those of the whole."""
    parts = list(some)
    classes: dict[str, int] = {}
    for part in parts:
        for name, count in part.classes.items():
            classes[name] = classes.get(name, 0) + count
    edges = next((part.edges for part in parts if part.edges), ())
    counted = [part.counts for part in parts if part.counts]
    counts = tuple(sum(column) for column in zip(*counted, strict=True)) if counted else ()
    total = math.fsum(part.total for part in parts)
    rows = sum(part.rows for part in parts)
    return Figures(rows=rows, classes=_few(classes), edges=edges, counts=counts, total=total)


def stability(before: Figures, now: Figures) -> float | None:
    """The population stability index of two histograms (sum of (p - q) ln(p / q), empty bins counted as half a row);
    None where they have other bins."""
    pairs = _pairs(before, now)
    sums = [sum(column) for column in zip(*pairs, strict=True)] if pairs else [0, 0]
    if not all(sums):
        return None
    shares = [(max(a, 0.5) / sums[0], max(b, 0.5) / sums[1]) for a, b in pairs]
    return sum((q - p) * math.log(q / p) for p, q in shares)


def _pairs(before: Figures, now: Figures) -> list[tuple[int, int]]:
    if now.classes or before.classes:
        names = {*before.classes, *now.classes}
        return [(before.classes.get(name, 0), now.classes.get(name, 0)) for name in sorted(names)]
    return list(zip(before.counts, now.counts, strict=True)) if before.edges == now.edges else []


def _shares(answers: pl.DataFrame) -> list[str]:
    return [name for name in answers.columns if name.startswith("probability.")]


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _few(classes: dict[str, int]) -> dict[str, int]:
    """The most frequent classes, and the others as one."""
    ranked = sorted(classes.items(), key=lambda pair: (pair[0] == REST, -pair[1], pair[0]))
    if len(ranked) <= MOST_CLASSES:
        return dict(ranked)
    return {**dict(ranked[:MOST_CLASSES]), REST: sum(count for _, count in ranked[MOST_CLASSES:])}
