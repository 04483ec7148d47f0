"""Drift: quiet on the same traffic, loud on another, and calibrated on the reference's own unrest."""

import numpy as np
import polars as pl

from headrace.monitoring import drift
from headrace.monitoring.profiles import count, make_bins


def table(random, n, shift=0.0, share=0.0):
    carrier = random.choice(["UA", "AA", "B6"], n, p=[0.5, 0.3 + share, 0.2 - share])
    return pl.DataFrame({"x": random.normal(shift, 1, n), "carrier": carrier})


def reference(random, days=40, n=500):
    windows = [table(random, n) for _ in range(days)]
    everything = pl.concat(windows)
    return {name: drift.build(everything[name], [w[name] for w in windows]) for name in everything.columns}


def first_alarm(references, windows, threshold=10_000):
    state: dict[str, float] = {}
    for t, window in enumerate(windows, 1):
        state, _ = drift.step(references, window, state)
        if np.mean(list(state.values())) >= threshold:
            return t, drift.attributed(state)
    return None, []


def test_the_same_traffic_stays_quiet():
    random = np.random.default_rng(5)
    references = reference(random)
    for _ in range(5):
        assert first_alarm(references, [table(random, 500) for _ in range(200)])[0] is None


def test_a_shift_is_found_and_named():
    random = np.random.default_rng(6)
    references = reference(random)
    found, columns = first_alarm(references, [table(random, 500, shift=0.6) for _ in range(10)])
    assert found is not None and found <= 5
    assert columns[0] == "x"
    found, columns = first_alarm(references, [table(random, 500, share=0.15) for _ in range(10)])
    assert columns[0] == "carrier"


def test_profiles_merge_by_adding():
    random = np.random.default_rng(7)
    first, second = table(random, 300), table(random, 200)
    for name in first.columns:
        bins = make_bins(first[name])
        together = count(bins, pl.concat([first[name], second[name]]))
        assert (count(bins, first[name]) + count(bins, second[name]) == together).all()
        assert together.sum() == 500


def test_a_new_category_and_nulls_are_counted_apart():
    bins = make_bins(pl.Series("c", ["a", "b", None, "a"]))
    assert count(bins, pl.Series("c", ["z", "a", None])).tolist() == [1, 0, 1]
    constant = make_bins(pl.Series("x", [1.0, 1.0]))
    assert count(constant, pl.Series("x", [1.0, 2.0, None])).sum() == 2
