"""Data quality: nulls, unseen categories and values out of range beyond what the reference showed.

A finding here is a fault of the pipeline that feeds the model; it is mended, and never retrains.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import polars as pl

from headrace.kernel.schema import Column, Schema

SMALLEST_P = 1e-6
MARGIN = 0.01
SMALLEST_WINDOW = 30
REMEMBERED, LEAST_REMEMBERED, FACTOR = 14, 7, 5.0


class QualityReference(msgspec.Struct, frozen=True):
    """The largest rates that any reference window showed, by column and kind."""

    rates: dict[str, dict[str, float]]


class Finding(NamedTuple):
    """A rate above its reference."""

    column: str
    kind: str
    rate: float
    usual: float
    rows: int


def rates(schema: Schema, frame: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The shares of nulls, unseen categories and values out of range of each feature."""
    return {c.name: _rates(c, frame[c.name]) for c in schema.features if c.name in frame.columns and frame.height}


def build(schema: Schema, windows: list[pl.DataFrame]) -> QualityReference:
    """The reference over time-ordered windows."""
    most: dict[str, dict[str, float]] = {}
    for window in windows:
        for name, kinds in rates(schema, window).items():
            held = most.setdefault(name, {})
            for kind, rate in kinds.items():
                held[kind] = max(held.get(kind, 0.0), rate)
    return QualityReference(most)


def findings(reference: QualityReference, schema: Schema, frame: pl.DataFrame) -> list[Finding]:
    """The rates that the reference's largest, and a margin of one percent, cannot explain (binomial, p < 1e-6)."""
    if frame.height < SMALLEST_WINDOW:
        return []
    from scipy.stats import binom

    found = []
    for name, kinds in rates(schema, frame).items():
        for kind, rate in kinds.items():
            usual = min(reference.rates.get(name, {}).get(kind, 0.0) + MARGIN, 1.0)
            if rate > usual and float(binom.sf(round(rate * frame.height) - 1, frame.height, usual)) < SMALLEST_P:
                found.append(Finding(name, kind, rate, usual - MARGIN, frame.height))
    return found


def unusual_volume(rows: int, before: list[int]) -> tuple[float, list[int]]:
    """How many times more or fewer rows than the median of the last windows, where that is past a factor of five.

    Returns 0.0 where it is not, or where fewer than seven windows are remembered; and what to remember now. Served
    traffic is compared with itself: a training set often holds a sample of it.
    """
    after = [*before, rows][-REMEMBERED:]
    usual = sorted(before)[len(before) // 2] if len(before) >= LEAST_REMEMBERED else 0
    if not usual:
        return 0.0, after
    ratio = max(rows, 1) / usual
    return (ratio, after) if not 1 / FACTOR < ratio < FACTOR else (0.0, after)


def _rates(column: Column, series: pl.Series) -> dict[str, float]:
    present = series.drop_nulls()
    share = {"null": series.null_count() / len(series)}
    if column.categories is not None and len(present):
        share["unseen"] = float((~present.cast(pl.String).is_in(list(column.categories))).mean() or 0.0)  # type: ignore[arg-type]
    if column.minimum is not None and column.maximum is not None and len(present):
        outside = (present < column.minimum) | (present > column.maximum)
        share["out of range"] = float(outside.mean() or 0.0)  # type: ignore[arg-type]
    return share
