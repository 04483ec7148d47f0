"""Profiles: counts of a column in the reference's bins. Merging two is adding them."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

BINS, CATEGORIES = 20, 30


class Bins(msgspec.Struct, frozen=True):
    """How a column is counted: between `edges` (numbers), or by category with "other" at the end (texts)."""

    name: str
    edges: tuple[float, ...] | None = None
    categories: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """The number of bins."""
        return len(self.edges or ()) + 1 if self.categories is None else len(self.categories) + 1


def make_bins(series: pl.Series) -> Bins:
    """Twenty quantile bins of a number, or the thirty most frequent values of a text."""
    if series.dtype.is_numeric() and series.dtype != pl.Boolean:
        present = series.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
        cuts = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if len(present) else np.empty(0)
        return Bins(series.name, edges=tuple(float(cut) for cut in cuts))
    counts = series.cast(pl.String).drop_nulls().value_counts(sort=True)
    return Bins(series.name, categories=tuple(counts.to_series(0).head(CATEGORIES).to_list()))


def count(bins: Bins, series: pl.Series) -> np.ndarray:
    """How many values fall into each bin; nulls into none."""
    if bins.categories is None:
        values = series.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
        return np.bincount(np.searchsorted(bins.edges or (), values, side="right"), minlength=bins.size)
    found = dict(series.cast(pl.String).drop_nulls().value_counts().iter_rows())
    counts = [found.pop(category, 0) for category in bins.categories]
    return np.array([*counts, sum(found.values())])
