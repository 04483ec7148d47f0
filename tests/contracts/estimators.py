"""Every estimator of scikit-learn and of the boosting libraries, fitted on small data: what the compiler is held to."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headrace.compiler.certificate import agreement
from headrace.compiler.proving import try_compile
from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.reference import ReferenceScorer, describe_fitted

ROWS, COLUMNS = 240, 5
_INNER = ("estimator", "base_estimator", "regressor", "classifier")


@dataclass(frozen=True)
class Case:
    """A fitted object, and a function that draws rows for it."""

    name: str
    fitted: Any
    draw: Callable[[np.random.Generator, int], pd.DataFrame]
    tree: bool = False
    slow: bool = False


def normal(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers around zero."""
    return _named(random.normal(size=(rows, COLUMNS)))


def positive(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers above zero."""
    return _named(random.gamma(2.0, size=(rows, COLUMNS)) + 0.01)


def counts(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Small whole numbers."""
    return _named(random.integers(0, 4, size=(rows, COLUMNS)).astype(float))


def one_column(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """One column of numbers."""
    return _named(random.normal(size=(rows, 1)))


def texts(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Sentences of few words."""
    words = np.array(["late", "early", "the", "Flight", "was", "naïve", "on-time", "a", "x1", "ÉTÉ"])
    lengths = random.integers(0, 8, size=rows)
    return pd.DataFrame({"text": [" ".join(random.choice(words, size=n)) for n in lengths]})


def levels(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Categories as texts."""
    return pd.DataFrame({f"c{i}": random.choice(list("abcdefg"), size=rows) for i in range(3)})


def holes(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers with some missing."""
    values = random.normal(size=(rows, COLUMNS))
    values[random.random(values.shape) < 0.1] = np.nan
    return _named(values)


def _named(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


DRAWS: dict[str, Callable[[np.random.Generator, int], pd.DataFrame]] = {
    "ComplementNB": counts,
    "MultinomialNB": counts,
    "CategoricalNB": counts,
    "AdditiveChi2Sampler": positive,
    "SkewedChi2Sampler": positive,
    "LatentDirichletAllocation": counts,
    "NMF": positive,
    "MiniBatchNMF": positive,
    "IsotonicRegression": one_column,
    "CountVectorizer": texts,
    "TfidfVectorizer": texts,
    "HashingVectorizer": texts,
    "TfidfTransformer": counts,
    "OneHotEncoder": levels,
    "OrdinalEncoder": levels,
    "TargetEncoder": levels,
    "SimpleImputer": holes,
    "MissingIndicator": holes,
    "KNNImputer": holes,
    "HistGradientBoostingClassifier": holes,
    "HistGradientBoostingRegressor": holes,
    "GammaRegressor": positive,
    "PoissonRegressor": positive,
}
TREES = [
    "AdaBoostClassifier",
    "BaggingClassifier",
    "BaggingRegressor",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
]
SLOW = [
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "SVC",
    "SVR",
    "NuSVC",
    "NuSVR",
    "KernelRidge",
    "OneClassSVM",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
    "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor",
    "Nystroem",
    "KernelPCA",
    "LabelPropagation",
    "LabelSpreading",
    "LocalOutlierFactor",
    "KNNImputer",
]


def _parameters(name: str) -> dict[str, Any]:
    linear = importlib.import_module("sklearn.linear_model")
    tree = importlib.import_module("sklearn.tree")
    logistic, ridge = linear.LogisticRegression(), linear.Ridge()
    pair = [("a", logistic), ("b", tree.DecisionTreeClassifier(max_depth=3, random_state=0))]
    numbers = [("a", ridge), ("b", tree.DecisionTreeRegressor(max_depth=3, random_state=0))]
    special: dict[str, dict[str, Any]] = {
        "ClassifierChain": {"estimator": logistic},
        "RegressorChain": {"estimator": ridge},
        "MultiOutputClassifier": {"estimator": logistic},
        "MultiOutputRegressor": {"estimator": ridge},
        "OneVsOneClassifier": {"estimator": logistic},
        "OneVsRestClassifier": {"estimator": logistic},
        "OutputCodeClassifier": {"estimator": logistic},
        "StackingClassifier": {"estimators": pair},
        "StackingRegressor": {"estimators": numbers},
        "VotingClassifier": {"estimators": pair, "voting": "soft"},
        "VotingRegressor": {"estimators": numbers},
        "FixedThresholdClassifier": {"estimator": logistic, "threshold": 0.3},
        "TunedThresholdClassifierCV": {"estimator": logistic},
        "FrozenEstimator": {"estimator": _scaler().fit(normal(np.random.default_rng(7), ROWS))},
        "LocalOutlierFactor": {"novelty": True},
        "SelfTrainingClassifier": {"estimator": logistic},
        "GridSearchCV": {"estimator": ridge, "param_grid": {"alpha": [0.1, 1.0]}},
        "RandomizedSearchCV": {"estimator": ridge, "param_distributions": {"alpha": [0.1, 1.0]}, "n_iter": 2},
        "RFE": {"estimator": ridge},
        "RFECV": {"estimator": ridge},
        "SelectFromModel": {"estimator": ridge},
        "SequentialFeatureSelector": {"estimator": ridge},
        "ColumnTransformer": {"transformers": [("s", _scaler(), ["x0", "x1"])], "remainder": "passthrough"},
        "FeatureUnion": {"transformer_list": [("s", _scaler()), ("p", "passthrough")]},
        "Pipeline": {"steps": [("s", _scaler()), ("m", logistic)]},
        "RadiusNeighborsClassifier": {"radius": 9.0},
        "RadiusNeighborsRegressor": {"radius": 9.0},
        "OneHotEncoder": {"handle_unknown": "ignore"},
        "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
        "SparseCoder": {"dictionary": np.eye(COLUMNS)[:2]},
        "FunctionTransformer": {"func": np.tanh},
        "GaussianRandomProjection": {"n_components": 3},
        "SparseRandomProjection": {"n_components": 3},
        "MLPClassifier": {"max_iter": 30},
        "MLPRegressor": {"max_iter": 30},
        "SelectKBest": {"k": 2},
        "NeighborhoodComponentsAnalysis": {"max_iter": 5},
        "QuantileTransformer": {"n_quantiles": 50},
        "IsotonicRegression": {"out_of_bounds": "clip"},
        "GenericUnivariateSelect": {"mode": "k_best", "param": 2},
        "SelectFdr": {"alpha": 0.9},
        "SelectFpr": {"alpha": 0.9},
        "SelectFwe": {"alpha": 0.9},
        "SelectPercentile": {"percentile": 60},
        "PLSRegression": {"n_components": 2},
        "PLSCanonical": {"n_components": 2},
        "CCA": {"n_components": 2},
        "PLSSVD": {"n_components": 2},
        "RandomTreesEmbedding": {"n_estimators": 10},
        "BaggingClassifier": {"n_estimators": 10},
        "RANSACRegressor": {"random_state": 0},
    }
    return special.get(name, {})


REFUSED = {
    "AgglomerativeClustering": "labels only the rows it was fitted with",
    "ClassicalMDS": "places only the rows it was fitted with",
    "DBSCAN": "labels only the rows it was fitted with",
    "DictVectorizer": "takes dictionaries, not a table",
    "EmpiricalCovariance": "estimates a covariance and predicts nothing",
    "FeatureHasher": "takes dictionaries, not a table",
    "GraphicalLasso": "estimates a covariance and predicts nothing",
    "GraphicalLassoCV": "estimates a covariance and predicts nothing",
    "HDBSCAN": "labels only the rows it was fitted with",
    "KernelCenterer": "takes a square kernel matrix, not a table",
    "KernelDensity": "estimates a density and predicts nothing",
    "LabelBinarizer": "transforms targets, not rows",
    "LabelEncoder": "transforms targets, not rows",
    "LedoitWolf": "estimates a covariance and predicts nothing",
    "MDS": "places only the rows it was fitted with",
    "MinCovDet": "estimates a covariance and predicts nothing",
    "MultiLabelBinarizer": "transforms targets, not rows",
    "NearestNeighbors": "finds neighbours and predicts nothing",
    "OAS": "estimates a covariance and predicts nothing",
    "OPTICS": "labels only the rows it was fitted with",
    "PLSSVD": "gives a pair of tables, so no step can follow it",
    "PatchExtractor": "takes images, not a table",
    "ShrunkCovariance": "estimates a covariance and predicts nothing",
    "SpectralBiclustering": "labels only the rows it was fitted with",
    "SpectralClustering": "labels only the rows it was fitted with",
    "SpectralCoclustering": "labels only the rows it was fitted with",
    "SpectralEmbedding": "places only the rows it was fitted with",
    "TSNE": "places only the rows it was fitted with",
}
"""Estimators that no row can be asked of, and why."""


def _scaler() -> Any:
    return importlib.import_module("sklearn.preprocessing").StandardScaler()


def fitted_case(name: str, kind: type, classes: int = 2) -> Case:
    """One estimator, fitted; transformers are followed by a regression, so that there is something to predict.

    Raises whatever the estimator raises while it is fitted.
    """
    random = np.random.default_rng(7)
    draw = DRAWS.get(name, normal)
    frame = draw(random, ROWS)
    estimator = kind(**_parameters(name))
    for parameter, value in (("random_state", 0), ("n_init", 1)):
        if parameter in estimator.get_params() and estimator.get_params()[parameter] in (None, "auto", "warn"):
            estimator.set_params(**{parameter: value})
    signal = _signal(frame)
    labels = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    target = _target(name, signal, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = _fit(name, estimator, frame, target, signal)
    return Case(name, fitted, draw, tree=name in TREES, slow=name in SLOW)


def _signal(frame: pd.DataFrame) -> np.ndarray:
    numbers = frame.map(
        lambda v: len(v) if isinstance(v, str) and len(v) > 1 else ord(v[0]) if v and isinstance(v, str) else v
    )
    values = np.nan_to_num(numbers.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float))
    noise = np.random.default_rng(1).normal(size=len(frame)) * 0.3
    return values[:, 0] + (values[:, 1] ** 2 if values.shape[1] > 1 else 0.0) + noise


def _target(name: str, signal: np.ndarray, labels: np.ndarray) -> Any:
    if name in ("GammaRegressor", "PoissonRegressor", "TweedieRegressor"):
        return np.exp(signal / 5.0)
    if name in ("MultiOutputClassifier", "ClassifierChain"):
        return np.column_stack([labels > 0, signal > 1]).astype(int)
    if name.startswith("MultiTask") or name in (
        "MultiOutputRegressor",
        "RegressorChain",
        "CCA",
        "PLSCanonical",
        "PLSSVD",
    ):
        return np.column_stack([signal, signal**2])
    return labels


def _fit(name: str, estimator: Any, frame: pd.DataFrame, labels: Any, signal: np.ndarray) -> Any:
    base = importlib.import_module("sklearn.base")
    regressor = base.is_regressor(estimator)
    continuous = regressor and np.ndim(labels) == 1 and labels.dtype.kind == "i"
    target = signal if continuous else labels
    predicts = regressor or base.is_classifier(estimator) or hasattr(estimator, "predict")
    if predicts and name != "FrozenEstimator":
        return estimator.fit(frame, target)
    pipeline = importlib.import_module("sklearn.pipeline")
    compose = importlib.import_module("sklearn.compose")
    step = estimator
    if name in ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer"):
        step = compose.ColumnTransformer([("text", estimator, "text")])
    ridge = importlib.import_module("sklearn.linear_model").Ridge()
    if name == "NeighborhoodComponentsAnalysis" or name.startswith(("SelectF", "SelectK", "SelectP", "GenericUni")):
        return pipeline.make_pipeline(step, importlib.import_module("sklearn.linear_model").RidgeClassifier()).fit(
            frame, labels
        )
    made = pipeline.make_pipeline(step, ridge)
    return made.fit(frame, signal if np.ndim(labels) == 1 else labels)


@dataclass(frozen=True)
class Found:
    """What the compiler made of a case, and how far that agrees with it.

    `worst` is the largest |Δ| / max(1, |reference|) of answers; `raw` the same of raw scores, where the estimator
    shows them; `flipped` counts decisions where the reference's margin exceeds 1e-9.
    """

    runtime: str
    reason: str = ""
    level: str = ""
    worst: float = 0.0
    raw: float = 0.0
    flipped: int = 0


def compared(case: Case, rows: int, seed: int = 5) -> Found:
    """Compile a case and hold it against the object on `rows` random rows."""
    frame = case.draw(np.random.default_rng(seed), rows)
    polars = to_polars(frame)
    schema = infer_schema(frame, polars).for_model()
    task, classes = describe_fitted(case.fitted, None)
    compiled, reason = try_compile(case.fitted, schema, task, classes)
    if compiled is None:
        return Found("reference", reason)
    columns = columns_of(conform(polars, schema), schema)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ReferenceScorer(case.fitted, schema, task, classes).answer(columns, rows)
        margins = _raw_scores(case.fitted, frame)
    scorer = GraphScorer(compiled.plan, compiled.graph, schema, task, classes)
    scores = scorer.scores(columns, rows)
    level, _, _ = agreement(expected, scorer.answer(columns, rows))
    raw = 0.0
    if margins is not None and compiled.plan.link.kind in ("logistic", "softmax"):
        raw = _relative(margins, scores[:, : margins.shape[1]] * _scale(case.fitted))
    elif compiled.plan.link.kind in ("given", "identity"):
        raw = _worst(expected, scorer.answer(columns, rows))
    flipped = 0 if level in ("L1", "L2") else -1
    return Found("graph", "", level, _worst(expected, scorer.answer(columns, rows)), raw, flipped)


def _scale(fitted: Any) -> float:
    return 0.5 if type(fitted).__name__ == "GradientBoostingClassifier" and fitted.loss == "exponential" else 1.0


def _raw_scores(fitted: Any, frame: pd.DataFrame) -> np.ndarray | None:
    if getattr(fitted, "boosting_type", "") == "rf" or not hasattr(fitted, "decision_function"):
        return None
    if type(fitted).__name__ in ("AdaBoostClassifier", "NearestCentroid"):
        return None
    scores = np.asarray(fitted.decision_function(frame))
    return scores.reshape(len(frame), -1)


def _worst(expected: Any, found: Any) -> float:
    if expected.probabilities is not None:
        return _relative(np.asarray(expected.probabilities), np.asarray(found.probabilities))
    first = np.asarray(expected.predictions)
    if first.dtype.kind not in "iuf":
        return 0.0
    return _relative(first.astype(float), np.asarray(found.predictions, dtype=float))


def _relative(expected: np.ndarray, found: np.ndarray) -> float:
    gap = np.abs(expected - found) / np.maximum(1.0, np.abs(expected))
    return float(gap.max(initial=0.0))
