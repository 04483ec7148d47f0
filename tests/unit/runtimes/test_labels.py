"""Labels that follow from probabilities are those that the object itself gives, bit for bit and type for type."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from headrace.kernel.schema import Column, Schema
from headrace.runtimes.labels import derived_labels, has_derived_labels
from headrace.runtimes.reference import ReferenceScorer, describe_fitted

RNG = np.random.default_rng(4)
FRAME = pd.DataFrame({"a": RNG.normal(size=300), "b": RNG.normal(size=300), "s": RNG.choice(list("xyz"), 300)})
TARGETS = {
    "truth": (FRAME["a"] + RNG.normal(size=300) > 0).to_numpy(),
    "numbers": RNG.integers(3, 7, 300),
    "texts": RNG.choice(["no", "maybe", "yes"], 300),
}
MODELS = [
    HistGradientBoostingClassifier(max_iter=5),
    GradientBoostingClassifier(n_estimators=5),
    RandomForestClassifier(n_estimators=8),
    ExtraTreesClassifier(n_estimators=8, max_depth=3),
    DecisionTreeClassifier(max_depth=3),
    LogisticRegression(C=0.01),
]
SCHEMA = Schema(
    frame="pandas",
    columns=(Column("a", "number", "float64"), Column("b", "number", "float64"), Column("s", "string", "object")),
)
COLUMNS = {name: FRAME[name].tolist() for name in FRAME.columns}


class Counted:
    """Counts the calls of predict."""

    def __init__(self, monkeypatch, kind):
        self.calls = 0
        real = kind.predict

        def predict(model, *words):
            self.calls += 1
            return real(model, *words)

        monkeypatch.setattr(kind, "predict", predict)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_answers_are_those_of_the_object(monkeypatch, model, target):
    encode = make_column_transformer((OneHotEncoder(sparse_output=False), ["s"]), remainder=StandardScaler())
    fitted = make_pipeline(encode, model).fit(FRAME, TARGETS[target])
    task, classes = describe_fitted(fitted, None)
    assert has_derived_labels(fitted)
    asked, derived = (ReferenceScorer(fitted, SCHEMA, task, classes, derived=one) for one in (False, True))
    for rows in (1, 7, 300):
        part = {name: values[:rows] for name, values in COLUMNS.items()}
        expected = asked.arrays(part, rows)
        counted = Counted(monkeypatch, type(model))
        found = derived.arrays(part, rows)
        monkeypatch.undo()
        assert found.predictions.dtype == expected.predictions.dtype
        assert found.predictions.tolist() == expected.predictions.tolist()
        assert found.probabilities.tobytes() == expected.probabilities.tobytes()
        clear = derived_labels(np.array(classes), expected.probabilities) is not None
        assert counted.calls == (0 if clear else 1)


def test_where_a_row_is_not_clear_the_object_is_asked():
    shares = np.array([[0.9, 0.1], [0.5, 0.5]])
    assert derived_labels(np.array([0, 1]), shares[:1]).tolist() == [0]
    assert derived_labels(np.array([0, 1]), shares) is None
    assert derived_labels(np.array([0, 1]), np.array([[0.9, np.nan]])) is None
    assert derived_labels(np.array([0, 1, 2]), shares) is None


def test_other_classifiers_are_always_asked():
    class Mine(LogisticRegression):
        def predict(self, X):
            return np.zeros(len(X), dtype=int)

    patched = LogisticRegression()
    patched.predict = lambda X: X
    for model in (SVC(probability=True), Mine(), patched, make_pipeline(StandardScaler(), Mine()), object()):
        assert not has_derived_labels(model)
