"""Drift: whether the inputs and the predictions still look like the reference, window by window.

X² with small bins merged, deflated by the reference's own overdispersion φ, and held against the noncentral χ² whose
noncentrality n·τ is the divergence that the reference's windows show among themselves; then p → e → e-detector.
"""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from headrace.monitoring.profiles import Bins, count, make_bins
from headrace.monitoring.sequential import detector, p_to_e

SMALLEST_EXPECTED = 5.0
TOLERATED_QUANTILE = 0.95
FALSE_DISCOVERIES = 0.1
SMALLEST_WINDOW = 30


class DriftReference(msgspec.Struct, frozen=True):
    """One column's reference: its bins, their shares over `rows` rows, and the calibration τ and φ."""

    bins: Bins
    shares: tuple[float, ...]
    rows: int
    tolerated: float
    dispersion: float


def build(series: pl.Series, windows: list[pl.Series]) -> DriftReference:
    """The reference of a column, calibrated on its own time-ordered windows."""
    bins = make_bins(series)
    counts = count(bins, series)
    rows = int(counts.sum())
    shares = counts / max(rows, 1)
    seen = [_statistic(count(bins, window), shares, rows) for window in windows]
    seen = [(x, df, n) for x, df, n in seen if n >= SMALLEST_WINDOW and df > 0]
    excess = [max(0.0, x - df) / n for x, df, n in seen]
    tolerated = float(np.quantile(excess, TOLERATED_QUANTILE)) if excess else 0.01
    ratio = float(np.mean([x / (df + n * tolerated) for x, df, n in seen])) if seen else 1.0
    return DriftReference(bins, tuple(shares.tolist()), rows, tolerated, max(1.0, ratio))


def divergence(reference: DriftReference, series: pl.Series) -> tuple[float, float, int]:
    """A window's e-value, its divergence a row above chance, and its rows."""
    x, df, n = _statistic(count(reference.bins, series), np.asarray(reference.shares), reference.rows)
    if n < SMALLEST_WINDOW or df <= 0:
        return 1.0, 0.0, n
    from scipy.stats import ncx2

    p = float(ncx2.sf(x / reference.dispersion, df, n * reference.tolerated + 1e-9))
    return p_to_e(p), max(0.0, x - df) / n, n


def step(
    references: dict[str, DriftReference], frame: pl.DataFrame, before: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """The detectors after one more window, and the divergence of each column."""
    after, sizes = {}, {}
    for name, reference in references.items():
        if name not in frame.columns:
            continue
        e, sizes[name], _ = divergence(reference, frame[name])
        after[name] = detector(e, before.get(name, 0.0))
    return after, sizes


def attributed(detectors: dict[str, float]) -> list[str]:
    """The columns that e-BH (Wang and Ramdas, 2022) names at a false discovery rate of 0.1, largest first."""
    ordered = sorted(detectors, key=lambda name: -detectors[name])
    passing = [k for k, name in enumerate(ordered, 1) if detectors[name] >= len(ordered) / (k * FALSE_DISCOVERIES)]
    return ordered[: max(passing, default=0)]


def _statistic(counts: np.ndarray, shares: np.ndarray, rows: int) -> tuple[float, int, int]:
    """Pearson's X² over merged bins, deflated for a reference of `rows` rows; its degrees of freedom; the rows."""
    n = int(counts.sum())
    if n == 0:
        return 0.0, 0, 0
    observed, expected = _merged(counts, shares * n)
    x = float(np.sum((observed - expected) ** 2 / expected)) / (1 + n / max(rows, 1))
    return x, len(observed) - 1, n


def _merged(counts: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    merged: list[list[float]] = []
    for c, e in zip(counts.tolist(), expected.tolist(), strict=True):
        if merged and merged[-1][1] < SMALLEST_EXPECTED:
            merged[-1] = [merged[-1][0] + c, merged[-1][1] + e]
        else:
            merged.append([c, e])
    if len(merged) > 1 and merged[-1][1] < SMALLEST_EXPECTED:
        last = merged.pop()
        merged[-1] = [merged[-1][0] + last[0], merged[-1][1] + last[1]]
    table = np.asarray(merged)
    return table[:, 0], np.maximum(table[:, 1], 1e-9)
