"""The contract of a scorer, held by every kind of model and frame that people have.

Row for row the answers are the object's own, whatever rows stand beside them, before and after it was stored.
"""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.runtimes.opening import open_bundle

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(200, 3))
X[::11, 1] = np.nan
Y = np.nan_to_num(X[:, 0] + X[:, 1]) > 0
LEVELS = np.where(X[:, 0] > 0.5, "high", np.where(X[:, 0] < -0.5, "low", "middle"))
NAMED = pd.DataFrame(X, columns=["a", "b", "c"]).assign(k=pd.Categorical(RANDOM.choice(["u", "v"], 200)))


class OnlyPredict:
    """Nothing but `predict`, on Polars frames, answering texts."""

    classes_ = np.array(["high", "low"])

    def predict(self, frame):
        """By the sign of the first column."""
        return ["high" if v > 0 else "low" for v in frame["a"]]


def sklearn_pandas():
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.HistGradientBoostingClassifier(max_iter=10, categorical_features=["k"]).fit(NAMED, Y), NAMED


def sklearn_numpy_three_classes():
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.HistGradientBoostingClassifier(max_iter=5).fit(X, LEVELS), X


def sklearn_numpy_regression():
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.HistGradientBoostingRegressor(max_iter=10).fit(X, X[:, 0] * 3), X


def lightgbm_pandas():
    lightgbm = pytest.importorskip("lightgbm")
    return lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, num_threads=1).fit(NAMED, Y), NAMED


def xgboost_numpy():
    xgboost = pytest.importorskip("xgboost")
    return xgboost.XGBClassifier(n_estimators=10, nthread=1).fit(X, Y.astype(int)), X


def only_predict_polars():
    return OnlyPredict(), pl.DataFrame({"a": X[:, 0], "b": X[:, 2]})


KINDS = [
    sklearn_pandas,
    sklearn_numpy_three_classes,
    sklearn_numpy_regression,
    lightgbm_pandas,
    xgboost_numpy,
    only_predict_polars,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_the_contract(kind, ws):
    fitted, table = kind()
    version = ws.register("m", fitted, example=table)
    assert version.certificate.passed, version.certificate.failures
    scorer = open_bundle(ws.places.bundles / version.digest, version.digest)
    schema = infer_schema(table, to_polars(table))
    columns = columns_of(conform(to_polars(table), schema), scorer.schema)
    rows = len(table)
    together = scorer.answer(columns, rows)
    assert together.predictions == np.asarray(fitted.predict(table)).tolist()
    assert all(isinstance(value, bool | int | float | str) for value in together.predictions)
    if together.probabilities is not None:
        np.testing.assert_array_equal(together.probabilities, fitted.predict_proba(table))
        assert [len(row) for row in together.probabilities] == [len(scorer.classes)] * rows
    for row in (0, 11, rows - 1):
        alone = scorer.answer({name: values[row : row + 1] for name, values in columns.items()}, 1)
        assert alone.predictions[0] == together.predictions[row]
        if alone.probabilities is not None:
            assert alone.probabilities[0] == together.probabilities[row]
    answers = ws.predict("m@1", table)
    assert answers.columns == [
        "prediction",
        *(f"probability.{c}" for c in map(_spelled, scorer.classes) if together.probabilities),
    ]


def _spelled(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
