"""Figures of parts add up to those of the whole, however it is cut; the stability index is what its formula says."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.batch.figures import Figures, added, edges_of, figures_of, stability

GOLDEN = pl.DataFrame({"prediction": [float(i) for i in range(100)]})


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([math.inf, math.nan])), min_size=1),
    st.integers(1, 5),
)
def test_figures_of_numbers_add_up(values, step):
    frame = pl.DataFrame({"prediction": pl.Series(values, dtype=pl.Float64)})
    edges = edges_of(GOLDEN)
    whole = figures_of(frame, edges)
    parts = added(figures_of(part, edges) for part in frame.iter_slices(step))
    assert (whole.rows, whole.counts, whole.edges) == (parts.rows, parts.counts, parts.edges)
    assert parts.total == pytest.approx(whole.total)
    finite = [v for v in values if v is not None and math.isfinite(v)]
    assert sum(whole.counts) == len(finite)
    assert whole.counts[0] == sum(v < edges[0] for v in finite)


@given(st.lists(st.sampled_from([True, False]), min_size=1), st.integers(1, 5))
def test_figures_of_classes_add_up(values, step):
    frame = pl.DataFrame({"prediction": values}).with_columns(
        pl.lit(0.5).alias("probability.false"), pl.lit(0.25).alias("probability.true")
    )
    whole = figures_of(frame, edges_of(frame))
    assert added(figures_of(part, edges_of(frame)) for part in frame.iter_slices(step)) == whole
    assert whole.classes.get("true", 0) == sum(values)
    assert (whole.mean, whole.counts[2]) == (0.25, len(values))


def test_the_stability_index():
    before = Figures(rows=100, classes={"a": 50, "b": 50})
    now = Figures(rows=100, classes={"a": 75, "b": 25})
    assert stability(before, before) == 0
    assert stability(before, now) == pytest.approx(0.25 * math.log(1.5) - 0.25 * math.log(0.5))
    assert stability(before, Figures()) is None
    assert stability(Figures(edges=(1.0,), counts=(1, 2)), Figures(edges=(2.0,), counts=(1, 2))) is None


def test_many_classes_are_the_most_frequent_and_others():
    frame = pl.DataFrame({"prediction": [f"c{i}" for i in range(500)] + ["c7"] * 3})
    found = figures_of(frame, edges_of(frame))
    assert (len(found.classes), sum(found.classes.values()), found.classes["c7"]) == (201, 503, 4)
