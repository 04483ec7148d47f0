"""A converter of one's own, and what is said where there is none."""

import numpy as np
import pandas as pd
import pytest
from tests.contracts.agreement import compiled_scorer, hold_rows

from headrace.compiler.converting import TRANSFORMERS, class_key, converts
from headrace.compiler.tensor import Tensor

base = pytest.importorskip("sklearn.base")
linear_model = pytest.importorskip("sklearn.linear_model")
pipeline = pytest.importorskip("sklearn.pipeline")

TABLE = pd.DataFrame(np.random.default_rng(1).normal(size=(100, 2)), columns=["a", "b"])


class Doubler(base.TransformerMixin, base.BaseEstimator):
    """Twice what it is given."""

    def fit(self, X, y=None):
        self.factor_ = 2.0
        return self

    def transform(self, X):
        return np.asarray(X) * self.factor_


@pytest.fixture
def registered():
    @converts(Doubler)
    def doubler(step, x: Tensor) -> Tensor:
        return x * step.factor_

    yield
    del TRANSFORMERS[class_key(Doubler)]


def fitted():
    return pipeline.make_pipeline(Doubler(), linear_model.Ridge()).fit(TABLE, TABLE["a"] - TABLE["b"])


def test_without_a_converter_the_reason_names_the_step():
    scorer, _, reason = compiled_scorer(fitted(), TABLE)
    assert scorer is None
    assert reason.endswith("Doubler: no converter is registered for it")


def test_with_one_the_whole_pipeline_is_compiled(registered):
    assert hold_rows(fitted(), TABLE, TABLE[:20]) == "graph"


def test_a_converter_that_is_wrong_is_found_out(ws):
    @converts(Doubler)
    def wrong(step, x: Tensor) -> Tensor:
        return x * (step.factor_ + 1e-6)

    try:
        version = ws.register("m", fitted(), example=TABLE)
    finally:
        del TRANSFORMERS[class_key(Doubler)]
    assert version.runtime == "reference"
    assert "the compiled form differs" in version.uncompiled
    assert version.certificate.passed


def test_a_converter_that_fails_is_named(ws):
    @converts(Doubler)
    def broken(step, x: Tensor) -> Tensor:
        return x * step.nothing_

    try:
        version = ws.register("m", fitted(), example=TABLE)
    finally:
        del TRANSFORMERS[class_key(Doubler)]
    assert version.runtime == "reference"
    assert "nothing_" in version.uncompiled


def test_a_subclass_is_another_class():
    class Warmer(linear_model.Ridge):
        def predict(self, X):
            return super().predict(X) + 1.0

    scorer, _, reason = compiled_scorer(Warmer().fit(TABLE, TABLE["a"]), TABLE)
    assert scorer is None and "Warmer" in reason
