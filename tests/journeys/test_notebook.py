"""The notebook path: a fitted scikit-learn pipeline over pandas, registered in one call or from a file."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

sklearn = pytest.importorskip("sklearn")
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headrace.kernel.errors import InvalidInput, SchemaViolation


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(1)
    age = random.integers(18, 80, 600).astype(float)
    age[::17] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "city": pd.Series(random.choice(["Oslo", "Rome", None], 600), dtype=object),
            "calls": random.integers(0, 9, 600),
            "churned": random.random(600) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def fitted(frame):
    prepare = make_column_transformer(
        (SimpleImputer(), ["age", "calls"]),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
            ),
            ["city"],
        ),
    )
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=20)).fit(
        frame.drop(columns="churned"), frame["churned"]
    )


def test_it_answers_exactly_as_the_pipeline_does(ws, frame, fitted):
    version = ws.register("churn", fitted, example=frame, target="churned", holdout=frame.tail(200))
    assert version.certificate.passed and version.task == "binary"
    assert {form.level for form in version.certificate.forms} == {"L1"}
    assert 0 < version.metrics["roc_auc"].low < version.metrics["roc_auc"].high <= 1
    answers = ws.predict("churn", frame)
    assert answers["probability.true"].to_list() == fitted.predict_proba(frame.drop(columns="churned"))[:, 1].tolist()
    assert answers["prediction"].to_list() == fitted.predict(frame.drop(columns="churned")).tolist()
    row = {"age": None, "city": "Oslo", "calls": 3}
    one = ws.predict("churn", row)
    again = ws.predict("churn", [{**row, "more": 1}])
    assert one.equals(again)
    with pytest.raises(SchemaViolation, match="'calls'"):
        ws.predict("churn", {"age": 3.0, "city": "Oslo"})
    with pytest.raises(InvalidInput, match="lacks the column 'city'"):
        ws.register("churn", fitted, example=frame.drop(columns="city"))


def test_a_regressor_over_an_array(ws):
    x = np.random.default_rng(2).normal(size=(300, 3))
    fitted = HistGradientBoostingRegressor(max_iter=10).fit(x, x[:, 0] * 2)
    version = ws.register("price", fitted, example=x)
    assert version.task == "regression" and version.certificate.passed
    assert ws.predict("price", x)["prediction"].to_list() == fitted.predict(x).tolist()
    assert ws.predict("price", x).columns == ["prediction"]


def test_a_file_needs_the_operators_word(tmp_path, frame, fitted, run_headrace):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fitted))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    words = ["register", "churn", "model.pkl", "--example", "rows.csv", "--target", "churned"]
    refused = run_headrace(*words, cwd=tmp_path)
    assert refused.returncode == 4 and "--trust" in refused.stderr
    done = run_headrace(*words, "--trust", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["certificate"]["passed"]
    audit = json.loads(run_headrace("audit", "--json", cwd=tmp_path).stdout)
    assert "trust" in {entry["action"] for entry in audit}


def test_a_model_that_prints_spoils_nothing(ws, example):
    from tests.conftest import Threshold

    class Loud(Threshold):
        def predict_proba(self, frame):
            print("x" * 5000)
            return super().predict_proba(frame)

        def __setstate__(self, state):
            print("loaded " * 100)
            self.__dict__ = state

    assert ws.register("loud", Loud(30.0), example=example).certificate.passed
