"""Models and rows at which a converter is easily wrong: one case each, held row by row against the object."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.contracts.agreement import compiled_scorer, hold_rows

sklearn = pytest.importorskip("sklearn")
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

RANDOM = np.random.default_rng(11)
ROWS = 300
SINGLE = pd.DataFrame(
    {"r": (RANDOM.integers(0, 6, ROWS) / 10).astype("float32"), "v": RANDOM.normal(size=ROWS).astype("float32")}
)
NUMBERS = pd.DataFrame(RANDOM.normal(size=(ROWS, 4)), columns=list("abcd"))
Y = (NUMBERS["a"] + NUMBERS["b"] ** 2 + RANDOM.normal(size=ROWS) * 0.2).to_numpy()
LABELS = (np.median(Y) < Y).astype(int)
THREE = np.digitize(Y, np.quantile(Y, [0.33, 0.66]))
MIXED = NUMBERS.assign(
    s=RANDOM.choice(["x", "y", "z", "?"], ROWS),
    t=pd.Series(RANDOM.choice(["u", "v", None], ROWS), dtype=object),
    n=RANDOM.integers(0, 5, ROWS),
    m=RANDOM.integers(10, 13, ROWS),
    w=RANDOM.random(ROWS) > 0.5,
)
MIXED.loc[::7, "a"] = np.nan
EXTREMES = [0.0, -0.0, 5e-324, 1e-310, 1e-17, 1e30, -1e30, 1e300, -1e300]


def test_singles_are_rounded_as_their_frame_rounds_them():
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["r"]), remainder="passthrough"),
        LogisticRegression(),
    ).fit(SINGLE, SINGLE["v"] > 0)
    assert (
        hold_rows(model, SINGLE, pl.DataFrame({"r": [0.1, 0.3, 0.30000001, 0.7], "v": [0.0, 0.1, -0.1, 1e39]}))
        == "graph"
    )


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, RandomForestClassifier, HistGradientBoostingClassifier])
def test_trees_of_singles_split_between_neighbours(kind):
    model = kind(random_state=0).fit(SINGLE, LABELS)
    splits = SINGLE["v"].to_numpy()[:60].astype(float)
    request = pl.DataFrame({"r": [0.1] * 180, "v": np.concatenate([splits, splits + 1e-9, np.nextafter(splits, 9)])})
    assert hold_rows(model, SINGLE, request, exact=True) == "graph"
    huge = pl.DataFrame({"r": [0.1] * 3, "v": [1e300, 3.5e38, -1e39]})
    hold_rows(model, SINGLE, huge)


def test_whoever_computes_in_float32_is_not_compiled():
    _, _, reason = compiled_scorer(make_pipeline(StandardScaler(), Ridge()).fit(SINGLE, Y), SINGLE)
    assert "StandardScaler" in reason and "float32" in reason


def test_tiny_rows_are_not_normalised():
    model = make_pipeline(Normalizer(), Ridge()).fit(NUMBERS, Y)
    assert (
        hold_rows(model, NUMBERS, pd.DataFrame([[1e-17] * 4, [0.0] * 4, [1e-300] * 4], columns=list("abcd"))) == "graph"
    )


@pytest.mark.parametrize(
    "steps",
    [(StandardScaler(),), (SimpleImputer(),), (PowerTransformer(),), (Normalizer(),)],
    ids=lambda s: type(s[0]).__name__,
)
def test_extremes_before_a_model_that_takes_anything(steps):
    model = make_pipeline(*steps, HistGradientBoostingRegressor(max_iter=5)).fit(NUMBERS, Y)
    for value in EXTREMES:
        hold_rows(model, NUMBERS, NUMBERS[:2].assign(b=value), exact=False)


def test_what_jumps_at_exact_values_is_given_exact_values_only():
    for steps in ((PowerTransformer(),), (FunctionTransformer(np.exp),), (SplineTransformer(),)):
        model = make_pipeline(*steps, HistGradientBoostingRegressor(max_iter=5)).fit(NUMBERS, Y)
        _, _, reason = compiled_scorer(model, NUMBERS)
        assert "jumps at exact values" in reason
    binned = make_pipeline(PowerTransformer(), KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf"), Ridge())
    _, _, reason = compiled_scorer(binned.fit(NUMBERS, Y), NUMBERS)
    assert "KBinsDiscretizer" in reason


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("extrapolation", ["constant", "linear", "continue", "periodic"])
def test_splines_past_their_knots(degree, extrapolation):
    model = make_pipeline(SplineTransformer(degree=degree, extrapolation=extrapolation), Ridge()).fit(NUMBERS, Y)
    request = pd.concat([NUMBERS[:30], NUMBERS[:30] * 3.0, NUMBERS.agg(["min", "max"])])
    odd = degree == 1 and extrapolation == "linear"
    assert hold_rows(model, NUMBERS, request) == ("reference" if odd else "graph")


def test_imputers_of_texts_know_what_is_missing():
    encode = make_pipeline(
        SimpleImputer(missing_values="?", strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    model = make_pipeline(make_column_transformer((encode, ["s"])), LogisticRegression()).fit(MIXED, LABELS)
    assert hold_rows(model, MIXED, MIXED[:40]) == "graph"


def test_truth_values_among_numbers():
    model = make_pipeline(SimpleImputer(), LogisticRegression())
    model.fit(MIXED[["b", "w"]], LABELS)
    assert hold_rows(model, MIXED[["b", "w"]], MIXED[["b", "w"]][:40]) == "graph"


def test_zeros_of_a_sparse_matrix_are_missing_to_xgboost():
    xgboost = pytest.importorskip("xgboost")
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), xgboost.XGBClassifier(n_estimators=5, n_jobs=1))
    model.fit(MIXED[["s", "n"]], LABELS)
    assert hold_rows(model, MIXED[["s", "n"]], MIXED[["s", "n"]][:60], exact=True) == "graph"


def test_encoders_with_their_defaults_reject_what_they_do_not_know():
    for encoder in (OneHotEncoder(), OrdinalEncoder()):
        model = make_pipeline(encoder, LogisticRegression()).fit(MIXED[["n", "m", "s"]], LABELS)
        request = pl.DataFrame({"n": [0, 4, 9, 0, 1], "m": [10, 12, 10, 99, 11], "s": ["x", "y", "x", "z", "new"]})
        assert hold_rows(model, MIXED[["n", "m", "s"]], request) == "graph"


def test_what_a_dropped_column_rejects_is_rejected():
    model = make_pipeline(OneHotEncoder(), SelectKBest(f_classif, k=1), LogisticRegression())
    model.fit(MIXED[["s", "n"]], LABELS)
    request = pl.DataFrame({"s": ["x", "new", "y"], "n": [0, 1, 99]})
    assert hold_rows(model, MIXED[["s", "n"]], request) == "graph"


def test_an_array_of_texts():
    array = np.array([["a", "x"], ["b", "y"], ["a", "y"]] * 20)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(array, np.arange(60.0))
    assert hold_rows(model, array, pl.DataFrame({"x0": ["a", "q"], "x1": ["y", "x"]})) == "graph"


def test_whole_numbers_past_two_to_the_53_are_not_compiled():
    frame = pd.DataFrame({"id": np.array([2**53 + i % 4 for i in range(ROWS)])})
    _, _, reason = compiled_scorer(make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(frame, Y), frame)
    assert "doubles cannot tell apart" in reason


@pytest.mark.parametrize("labels", [LABELS, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(AdaBoostClassifier(n_estimators=5), cv=2),
        CalibratedClassifierCV(GradientBoostingClassifier(n_estimators=5), cv=2, method="isotonic"),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        CalibratedClassifierCV(SVC(), cv=2),
        OneVsRestClassifier(AdaBoostClassifier(n_estimators=5)),
        OneVsOneClassifier(LinearSVC()),
        CalibratedClassifierCV(OneVsOneClassifier(LinearSVC()), cv=2),
        VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=2))], weights=[2, 1]),
    ],
    ids=lambda m: f"{type(m).__name__}-{type(getattr(m, 'estimator', m)).__name__}",
)
def test_what_is_made_of_decision_functions(model, labels):
    from sklearn.base import clone

    hold_rows(clone(model).fit(NUMBERS, labels), NUMBERS, NUMBERS[:60])


def test_float32_numbers_inside_another_estimator():
    xgboost = pytest.importorskip("xgboost")
    model = StackingRegressor([("x", xgboost.XGBRegressor(n_estimators=5, n_jobs=1))], LinearRegression(), cv=2)
    _, _, reason = compiled_scorer(model.fit(NUMBERS, Y), NUMBERS)
    assert "float32" in reason


def test_functions_of_whole_numbers_keep_their_type_in_numpy():
    frame = pd.DataFrame({"i": RANDOM.integers(0, 100, ROWS).astype("int8"), "x": Y})
    model = make_pipeline(FunctionTransformer(np.square), Ridge()).fit(frame, Y)
    _, _, reason = compiled_scorer(model, frame)
    assert "square" in reason


def test_box_cox_lets_nulls_through():
    frame = np.exp(NUMBERS).assign(a=lambda f: f["a"].mask(f.index % 5 == 0))
    model = make_pipeline(PowerTransformer(method="box-cox"), DecisionTreeRegressor(max_depth=4)).fit(frame, Y)
    assert hold_rows(model, frame, frame[:20]) == "graph"


def test_categories_that_are_numbers():
    frame = pd.DataFrame({"k": pd.Categorical(RANDOM.integers(0, 4, ROWS)), "x": Y})
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype").fit(
        frame, Y + frame["k"].astype(int)
    )
    assert hold_rows(model, frame, pl.DataFrame({"k": [0, 1, 2, 3, 9], "x": [0.0] * 5}), exact=True) == "graph"


def test_rows_of_many_columns_have_the_same_bits_alone():
    wide = pd.DataFrame(RANDOM.normal(size=(100, 300)))
    wide.columns = [f"c{i}" for i in range(300)]
    for model in (KNeighborsRegressor(3, weights="distance"), SVC(), SVC(kernel="poly")):
        fitted = model.fit(wide, LABELS[:100])
        graph, reference, _ = compiled_scorer(fitted, wide)
        columns = {c.name: wide[c.name].tolist() for c in reference.schema.features}
        whole = graph.answer(columns, 100)
        for size in (1, 2, 37):
            part = graph.answer({name: values[:size] for name, values in columns.items()}, size)
            assert part.predictions == whole.predictions[:size]


@pytest.mark.parametrize("labels", [np.zeros(ROWS, dtype=int), np.array(["only"] * ROWS)])
def test_one_class_alone_is_left_to_python(labels):
    _, _, reason = compiled_scorer(DecisionTreeClassifier().fit(NUMBERS, labels), NUMBERS)
    assert "one class" in reason


def test_short_whole_numbers_have_limits():
    frame = pd.DataFrame({"i": RANDOM.integers(0, 200, ROWS).astype("uint8"), "x": Y})
    model = RandomForestRegressor(5, random_state=0).fit(frame, Y)
    assert hold_rows(model, frame, pl.DataFrame({"i": [0, 255, 256, -1], "x": [0.0] * 4}), exact=True) == "graph"


def test_nested_columns_of_every_kind():
    inner = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), make_column_selector("^[abcd]$")),
            ("k", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=70), ["s"]),
            ("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), ["t"]),
            ("w", "passthrough", ["w"]),
            ("d", "drop", ["m"]),
        ],
        remainder=StandardScaler(),
    )
    model = make_pipeline(FeatureUnion([("all", inner)]), HistGradientBoostingClassifier(max_iter=20)).fit(
        MIXED, LABELS
    )
    request = MIXED[:40].copy()
    request.loc[3, "s"], request.loc[4, "t"], request.loc[5, "t"] = "never", "never", None
    assert hold_rows(model, MIXED, request, exact=True) == "graph"
    assert (
        hold_rows(
            model,
            MIXED,
            pl.from_dicts(request.astype(object).where(request.notna(), None).to_dict("records")),
            exact=True,
        )
        == "graph"
    )


@pytest.mark.parametrize("target", [LABELS, THREE, Y], ids=["two", "three", "number"])
def test_target_encoders(target):
    model = make_pipeline(TargetEncoder(), Ridge()).fit(MIXED[["s", "t", "n"]], target)
    request = pl.DataFrame({"s": ["x", "new", "y"], "t": ["u", None, "q"], "n": [1, 2, 77]})
    assert hold_rows(model, MIXED[["s", "t", "n"]], request) == "graph"


@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(ngram_range=(1, 2), stop_words="english"),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), binary=True),
        TfidfVectorizer(strip_accents="unicode", sublinear_tf=True, norm="l1"),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False),
        TfidfVectorizer(strip_accents="ascii", use_idf=False),
    ],
    ids=["words", "char_wb", "accents", "char", "ascii"],
)
def test_texts(vectorizer):
    texts = ["The flight was late", "été  naïve — ÉTÉ", "", "on-time on time", "a b c", "ı İstanbul ß", "x" * 40]
    frame = pd.DataFrame({"text": texts * 20})
    model = make_pipeline(make_column_transformer((vectorizer, "text")), Ridge()).fit(frame, np.arange(140.0) % 7)
    asked = pd.DataFrame({"text": [*texts, "never seen words", "late  late\tlate\n", "\u00a0nbsp late"]})
    assert hold_rows(model, frame, asked) == "graph"
