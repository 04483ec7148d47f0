"""What columns bring, and what simpler models reach, on rows whose truth is known by construction."""

import msgspec
import numpy as np
import polars as pl
import pytest

from headrace.data.inference import infer_schema
from headrace.kernel.records import Evaluation, Metric
from headrace.runtimes.reference import ReferenceScorer
from headrace.training.weighing import gains, weighed

pytest.importorskip("sklearn")


def rows(n, seed):
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=n), random.normal(size=n)
    kind = [("a", "b", None)[i] for i in random.integers(0, 3, size=n)]
    extra = np.asarray([float(k == "a") for k in kind])
    return pl.DataFrame(
        {"x": x, "noise": noise, "kind": kind, "y": 2 * x + extra, "late": x + 0.5 * random.normal(size=n) > 0}
    )


class Sum:
    def predict(self, frame):
        return (2 * frame["x"] + (frame["kind"] == "a").fill_null(False)).to_list()


class Sure:
    classes_ = (False, True)

    def predict_proba(self, frame):
        shares = 1 / (1 + np.exp(-3 * frame["x"].to_numpy()))
        return np.column_stack([1 - shares, shares]).tolist()

    def predict(self, frame):
        return (frame["x"] > 0).to_list()


def scorer(model, target, task, classes=()):
    frame = rows(500, 0).drop({"y": "late", "late": "y"}[target])
    schema = infer_schema(frame, frame, target=target).for_model(("x", "noise", "kind"))
    return ReferenceScorer(model, schema, task, classes)


def test_a_column_that_is_not_used_brings_nothing_at_all():
    found = {g.column: g for g in gains(scorer(Sum(), "y", "regression"), rows(3000, 1), "y", 7)}
    assert list(found) == ["x", "kind", "noise"]
    assert found["noise"].value == found["noise"].low == found["noise"].high == 0
    # Shuffling x doubles its part of the variance: 2 * 4 / (4 + 2/9).
    assert found["x"].low < 2 * 4 / (4 + 2 / 9) < found["x"].high
    assert found["kind"].low < 2 * (2 / 9) / (4 + 2 / 9) < found["kind"].high


def test_it_is_the_same_each_time_and_in_logarithms_where_there_are_probabilities():
    of = scorer(Sure(), "late", "binary", (False, True))
    first, again = (gains(of, rows(3000, 1), "late", 7) for _ in range(2))
    assert first == again and first[0].column == "x" and first[0].low > 0.3
    assert gains(of, rows(3000, 1), "late", 8)[0] != first[0]


def test_baselines_stand_beside_it():
    evaluation = Evaluation(metrics={}, rows=500)
    parts = rows(2000, 1), rows(500, 2)
    found = weighed(evaluation, scorer(Sure(), "late", "binary", (False, True)), *parts, "late", 7)
    assert found.baselines["constant"].value == 0.5 and 0.9 < found.baselines["linear"].value < 1
    assert len(found.gains) == 3 and found.unweighed == ""
    number = weighed(evaluation, scorer(Sum(), "y", "regression"), *parts, "y", 7)
    assert number.baselines["linear"].value < number.baselines["constant"].value


def test_rows_that_no_simple_model_takes_say_so(monkeypatch):
    evaluation = Evaluation(metrics={}, rows=500)
    of = scorer(Sum(), "y", "regression")
    monkeypatch.setattr("headrace.training.baselines.Trial.linear", lambda _trial: [][0])
    assert weighed(evaluation, of, rows(200, 1), rows(100, 2), "y", -1).gains  # any seed will do
    found = weighed(evaluation, of, rows(200, 1), rows(100, 2), "y", 7)
    assert found.baselines == {} and found.unweighed.startswith("no simple model: IndexError") and found.gains
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    assert "not installed" in weighed(evaluation, of, rows(200, 1), rows(100, 2), "y", 7).unweighed


def test_very_many_columns_are_not_weighed(monkeypatch):
    monkeypatch.setattr("headrace.training.weighing.MOST_COLUMNS", 2)
    assert gains(scorer(Sum(), "y", "regression"), rows(100, 1), "y", 7) == ()


class Ratio(Sum):
    """Answers only where the kind is that of the row's own x: shuffled rows are none of its domain."""

    def __init__(self, error):
        self.error = error

    def predict(self, frame):
        same = (frame["x"] > 0) == (frame["kind"].fill_null("b") == "a")
        if self.error is not None and not same.all():
            raise self.error
        return [value if good else float("nan") for value, good in zip(frame["x"], same, strict=True)]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (None, "no gains: InvalidInput"),
        (ValueError("odd row"), "no gains: ValueError: odd row"),
        (AssertionError(), "no gains: AssertionError"),
    ],
)
def test_a_model_that_fails_at_shuffled_rows_has_no_gains_and_fails_nothing(error, says):
    own = rows(400, 1).with_columns(kind=pl.when(pl.col("x") > 0).then(pl.lit("a")).otherwise(pl.lit("b")))
    found = weighed(Evaluation(metrics={}, rows=400), scorer(Ratio(error), "y", "regression"), own, own, "y", 7)
    assert found.gains == () and found.unweighed.startswith(says) and found.baselines
    assert "null" not in msgspec.json.encode(found).decode()


def test_baselines_are_in_a_metric_that_the_model_has(monkeypatch):
    parts = rows(2000, 1), rows(500, 2)
    mae = Metric(value=1.0, low=0.9, high=1.1, rows=500)
    of = scorer(Sum(), "y", "regression")
    both = weighed(Evaluation(metrics={"mae": mae, "rmse": mae}, rows=500), of, *parts, "y", 7)
    assert both.baselines["constant"].value == pytest.approx(float(parts[1]["y"].std()), rel=0.1)
    labels = scorer(Sure(), "late", "binary", (False, True))
    only = weighed(Evaluation(metrics={"accuracy": mae}, rows=500), labels, *parts, "late", 7)
    assert 0.4 < only.baselines["constant"].value < 0.6 and only.baselines["linear"].rows == 500
    monkeypatch.setattr("headrace.training.weighing.MOST_NUMBERS", 1000)
    assert "numbers" in weighed(Evaluation(metrics={}, rows=500), of, *parts, "y", 7).unweighed
    monkeypatch.setattr("headrace.training.weighing.MOST_SECONDS", 0.0)
    assert "too slow" in weighed(Evaluation(metrics={}, rows=500), of, *parts, "y", 7).unweighed
