"""Pipelines drawn at random over the supported steps, on frames drawn at random: the graph equals Python."""

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.contracts.agreement import hold_rows

pytest.importorskip("sklearn")
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

SOAK = os.environ.get("HEADRACE_SOAK") == "1"
EXAMPLES = 300 if SOAK else 25
ROWS = 120

imputers = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent"]),
    add_indicator=st.booleans(),
    keep_empty_features=st.booleans(),
)
scalers = st.one_of(
    st.builds(StandardScaler, with_mean=st.booleans(), with_std=st.booleans()),
    st.builds(MinMaxScaler, clip=st.booleans()),
    st.builds(MaxAbsScaler),
    st.builds(RobustScaler, with_centering=st.booleans(), quantile_range=st.sampled_from([(25.0, 75.0), (5.0, 60.0)])),
    st.just("passthrough"),
)
growers = st.one_of(
    st.builds(PolynomialFeatures, degree=st.integers(1, 2), interaction_only=st.booleans(), include_bias=st.booleans()),
    st.builds(
        KBinsDiscretizer, n_bins=st.integers(2, 4), encode=st.sampled_from(["ordinal", "onehot", "onehot-dense"])
    ),
    st.builds(SplineTransformer, degree=st.integers(2, 3), extrapolation=st.sampled_from(["constant", "linear"])),
    st.builds(QuantileTransformer, n_quantiles=st.just(20)),
    st.just(VarianceThreshold()),
    st.just("passthrough"),
)
encoders = st.one_of(
    st.builds(
        OneHotEncoder,
        handle_unknown=st.sampled_from(["ignore", "infrequent_if_exist", "error"]),
        min_frequency=st.sampled_from([None, 20]),
        sparse_output=st.booleans(),
    ),
    st.builds(OrdinalEncoder, handle_unknown=st.just("use_encoded_value"), unknown_value=st.just(-1)),
    st.builds(TargetEncoder),
)
trees = st.sampled_from(
    [
        HistGradientBoostingClassifier(max_iter=8),
        HistGradientBoostingRegressor(max_iter=8),
        DecisionTreeRegressor(max_depth=5),
        RandomForestClassifier(5, random_state=0),
        ExtraTreesRegressor(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5),
    ]
)
others = st.sampled_from(
    [Ridge(), LogisticRegression(max_iter=50), GaussianNB(), LinearSVC(), MLPClassifier((5,), max_iter=5)]
)


@st.composite
def frames(draw, rows, nullable):
    """Numbers with nulls, whole numbers, truth values, texts with nulls, and a date that nothing reads."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    scale = draw(st.sampled_from([1.0, 1e-6, 1e6]))
    frame = pd.DataFrame(
        {
            "x": random.normal(size=rows) * scale,
            "y": random.gamma(2.0, size=rows),
            "i": random.integers(-3, 7, size=rows),
            "w": random.random(rows) > 0.4,
            "s": random.choice(["low", "mid", "high", "rare"], size=rows, p=[0.5, 0.3, 0.15, 0.05]),
            "t": pd.Series(random.choice(["u", "v", ""], size=rows), dtype=object),
            "day": pd.Timestamp("2013-01-01") + pd.to_timedelta(random.integers(0, 99, size=rows), unit="D"),
        }
    )
    if nullable:
        frame.loc[random.random(rows) < 0.1, "x"] = np.nan
        frame.loc[random.random(rows) < 0.1, "t"] = None
    return frame


@st.composite
def requests(draw, nullable):
    """Rows of the same columns with values that were not seen."""
    frame = draw(frames(12, nullable))
    places = st.integers(0, 11)
    frame.loc[draw(places), "s"] = draw(st.sampled_from(["never", "LOW", "é"]))
    frame.loc[draw(places), "i"] = draw(st.sampled_from([0, -99, 10**6]))
    frame.loc[draw(places), "y"] = draw(st.sampled_from([0.0, -0.0, 5e-324, -7.5, 1e6]))
    return frame


@settings(max_examples=EXAMPLES, deadline=None, derandomize=not SOAK, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_random_pipeline_answers_as_python_does(data):
    nullable = data.draw(st.booleans())
    train = data.draw(frames(ROWS, nullable))
    exact = data.draw(st.booleans())
    grower = "passthrough" if exact else data.draw(growers)
    numbers = make_pipeline(data.draw(imputers), data.draw(scalers), grower)
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), data.draw(encoders))
    chosen = make_column_transformer(
        (numbers, ["x", "y"]),
        (data.draw(scalers), make_column_selector("^i$")),
        (texts, ["s"]),
        ("passthrough", ["w"]),
        sparse_threshold=data.draw(st.sampled_from([0.0, 1.0])) if not exact else 0.0,
    )
    model = data.draw(trees if exact else others)
    picked = data.draw(st.sampled_from(["passthrough", SelectKBest(f_classif, k=2)]))
    pipeline = make_pipeline(FeatureUnion([("all", chosen)]), picked, model)
    labels = np.digitize(train["y"], [1.0, 2.5] if data.draw(st.booleans()) else [1.7])
    note(repr(pipeline))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pipeline.fit(train, labels)
        except (ValueError, TypeError):
            return
    request = data.draw(requests(nullable))
    assert hold_rows(pipeline, train, request, exact=exact and not hasattr(model, "predict_proba")) == "graph"
