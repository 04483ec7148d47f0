"""Counts add up over processes, and quantiles are read to within a bucket."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serving.counters import Counters, Snapshot, latencies, merged


@given(st.lists(st.floats(1e-5, 7.9), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_a_quarter_above_the_true_one(values, share):
    histogram = latencies()
    for value in values:
        histogram.add(value)
    true = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    found = histogram.quantile(share)
    assert true <= found * (1 + 1e-9)
    assert found <= 1.3 * max(true, 1e-5) or sum(v <= found for v in values) == len(values)


def test_an_empty_histogram_has_no_quantile():
    assert latencies().quantile(0.5) is None


def test_snapshots_travel_and_add_up():
    first, second = Counters(), Counters()
    for counters, number in ((first, 3), (second, 4)):
        for _ in range(number):
            series = counters.series["m", 1, "live", "native", "shop", 200]
            series.requests += 1
            series.seconds.add(0.001)
        counters.errors["overloaded"] += 1
        counters.captured += number
        counters.generation = number
    told = [msgspec.json.decode(msgspec.json.encode(c.snapshot()), type=Snapshot) for c in (first, second)]
    whole = merged(told)
    assert [(label.consumer, series.requests) for label, series in whole.series] == [("shop", 7)]
    assert sum(whole.series[0][1].seconds.counts) == 7
    assert whole.series[0][1].seconds.total == pytest.approx(0.007)
    assert (whole.errors, whole.captured, whole.generation) == ({"overloaded": 2}, 7, 3)
