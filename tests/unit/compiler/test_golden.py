"""Golden rows are awkward on purpose, and the certificate says what they show."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from tests.contracts.agreement import compiled_scorer

from headrace.compiler.certificate import agreement, certify
from headrace.compiler.golden import golden_rows
from headrace.compiler.proving import proved, try_compile
from headrace.data.frames import columns_of, to_polars
from headrace.data.validation import conform
from headrace.kernel.ports import Answers

ensemble = pytest.importorskip("sklearn.ensemble")
RANDOM = np.random.default_rng(4)
TABLE = pd.DataFrame(
    {"x": RANDOM.normal(size=900), "i": RANDOM.integers(0, 9, 900), "s": RANDOM.choice(["a", "b"], 900)}
)
TABLE.loc[::8, "x"] = np.nan
Y = np.nan_to_num(TABLE["x"]) + (TABLE["s"] == "a") > 0.5
NOW = datetime(2013, 1, 1, tzinfo=UTC)


def example_columns(reference):
    return columns_of(conform(to_polars(TABLE), reference.schema), reference.schema)


def model():
    compose = pytest.importorskip("sklearn.compose")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    pipeline = pytest.importorskip("sklearn.pipeline")
    encode = compose.make_column_transformer((preprocessing.OneHotEncoder(), ["s"]), remainder="passthrough")
    return pipeline.make_pipeline(encode, ensemble.HistGradientBoostingClassifier(max_iter=20)).fit(TABLE, Y)


@pytest.fixture(scope="module")
def made():
    fitted = model()
    _, reference, _ = compiled_scorer(fitted, TABLE)
    compiled, _ = try_compile(fitted, reference.schema, reference.task, reference.classes)
    columns = columns_of(conform(to_polars(TABLE), reference.schema), reference.schema)
    return reference, compiled, golden_rows(reference, columns, 900, compiled.splits)


def test_at_least_a_thousand_of_every_awkward_kind(made):
    _, compiled, golden = made
    assert golden.rows >= 1_000
    x = golden.columns["x"]
    assert None in x and 5e-324 in x and 1e300 in x and 0.0 in x
    assert any(v == 0.0 and np.signbit(v) for v in x if v is not None)
    assert max(v for v in golden.columns["i"]) == 2**63 - 1
    edges = set(compiled.splits["x"].tolist())
    both = [e for e in edges if e in x and np.nextafter(e, np.inf) in x]
    assert len(both) > 20
    reference = made[0]
    nearest = np.abs(
        np.array(
            reference.answer(
                columns_of(conform(to_polars(TABLE), reference.schema), reference.schema), 900
            ).probabilities
        )[:, 1]
        - 0.5
    ).min()
    assert np.abs(np.array(golden.answers.probabilities)[:, 1] - 0.5).min() <= nearest


def test_rows_at_which_the_object_raises_are_kept_apart(made):
    reference, _, golden = made
    assert golden.refused_rows > 0
    for row in range(golden.refused_rows):
        with pytest.raises(ValueError, match="unknown categories"):
            reference.answer({n: v[row : row + 1] for n, v in golden.refused.items()}, 1)


def test_a_model_that_answers_nothing_is_an_error(made):
    reference, _, _ = made

    class Mute:
        classes_ = (False, True)

        def predict(self, frame):
            raise RuntimeError("mute")

    broken = type(reference)(Mute(), reference.schema, "binary", (False, True))
    with pytest.raises(RuntimeError, match="mute"):
        golden_rows(broken, {"x": [1.0], "i": [1], "s": ["a"]}, 1)


def test_what_agrees_is_proved_and_what_does_not_is_named(made):
    reference, compiled, golden = made
    kept, reason = proved(compiled, reference, golden, example_columns(reference), 900)
    assert kept is not None and reason == "" and kept.plan.vectors
    shares = [[a + 1e-6, b - 1e-6] for a, b in golden.answers.probabilities]
    shifted = golden._replace(answers=Answers(golden.answers.predictions, shares))
    nothing, reason = proved(compiled, reference, shifted, example_columns(reference), 900)
    assert nothing is None and "differs by up to 1e-06" in reason
    answered = {n: v[:1] for n, v in golden.columns.items()}
    nothing, reason = proved(
        compiled, reference, golden._replace(refused=answered, refused_rows=1), example_columns(reference), 900
    )
    assert nothing is None and "answers a row at which the object raises" in reason


def test_levels():
    reference = Answers([True, False], [[0.3, 0.7], [0.6, 0.4]])
    assert agreement(reference, reference) == ("L1", 0.0, 0)
    near = Answers([True, False], [[0.3, 0.7 + 1e-12], [0.6, 0.4]])
    assert agreement(reference, near)[0] == "L2"
    far = Answers([True, False], [[0.3, 0.7 + 1e-6], [0.6, 0.4]])
    assert agreement(reference, far)[0] == "L3"
    flipped = Answers([False, False], [[0.3, 0.7], [0.6, 0.4]])
    assert agreement(reference, flipped) == ("none", 0.0, 1)
    tie = Answers([True], [[0.5, 0.5]])
    assert agreement(tie, Answers([False], [[0.5, 0.5]]))[0] == "L2"
    assert agreement(reference, Answers([True], [[0.3, 0.7]]))[0] == "none"


def test_a_form_that_differs_or_answers_too_much_fails(made):
    reference, _compiled, golden = made
    graph, _, _ = compiled_scorer(reference.fitted, TABLE)
    calls = itertools.count()

    def drifting(columns, rows):
        answers = graph.answer(columns, rows)
        return Answers(answers.predictions, [[a, b + 1e-15 * (next(calls) % 2)] for a, b in answers.probabilities])

    def tolerant(columns, rows):
        return graph.answer({**columns, "s": ["a" if v not in ("a", "b") else v for v in columns["s"]]}, rows)

    good = certify(golden, {"in_process": graph.answer, "other": graph.answer}, "graph", lambda: NOW)
    assert good.passed and {f.level for f in good.forms} == {"L1"} and good.refused == golden.refused_rows
    assert {f.batch_size for f in good.forms} == {1, 37, golden.rows}
    bad = certify(golden, {"in_process": graph.answer, "other": drifting}, "graph", lambda: NOW)
    assert not bad.passed and any("differs from in_process" in text for text in bad.failures)
    lax = certify(golden, {"in_process": graph.answer, "other": tolerant}, "graph", lambda: NOW)
    assert not lax.passed and any("answers a row that the model refuses" in text for text in lax.failures)
