"""The registry of converters: which function makes graph nodes of which fitted step.

A converter of a transformer takes the fitted step and its columns, and gives columns; one of a predictor gives a
`Prediction`. `@converts("sklearn.StandardScaler")` names a class by its package and name, so that no library is
imported to know it; a class itself can be named too, for a transformer of one's own:

    @converts(MyTransformer)
    def my_transformer(step, x):          # x: Tensor, doubles of shape [n, width]
        return x * step.factor_
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headrace.compiler.table import Table, slots
from headrace.compiler.tensor import Tensor, concat, is_narrow
from headrace.compiler.uncompiled import NotCompiled
from headrace.runtimes.plan import Decision, LinkKind


@dataclass(frozen=True)
class Prediction:
    """What a predictor says, in the graph: raw scores, and how they become answers (see `runtimes.plan.Link`).

    `margin` is what `decision_function` gives, where there is one; `single` says that the numbers are float32.
    `chosen` holds the place of the class where the decision is ``index``; `labels` the classes of each output where
    it is ``each``, and the scores are places.
    """

    scores: Tensor
    link: LinkKind
    decision: Decision
    classes: np.ndarray | None = None
    chosen: Tensor | None = None
    whole: bool = False
    labels: tuple[np.ndarray, ...] = ()
    margin: Tensor | None = None
    single: bool = False

    @property
    def has_probabilities(self) -> bool:
        """Whether probabilities of the classes follow from the scores."""
        return self.link not in ("identity", "exp", "exp32", "none") and self.decision != "value"

    def probabilities(self) -> Tensor:
        """The probability of each class, in the graph, for a step that goes on with it."""
        match self.link:
            case "logistic":
                share = self.scores.logistic()
                return concat([1.0 - share, share])
            case "softmax":
                return self.scores.softmax()
            case "given":
                return self.scores
            case "logistics":
                return self.scores.logistic()
            case "logistic32" | "softmax32":
                raise NotCompiled("probabilities in float32 stand inside another estimator")
        raise NotCompiled("a classifier without probabilities stands where they are needed")

    def values(self) -> Tensor:
        """The numbers that a regressor predicts, in the graph."""
        if self.classes is not None or self.labels:
            raise NotCompiled("a classifier stands where a regressor is needed")
        if self.single:
            raise NotCompiled("numbers in float32 stand inside another estimator")
        match self.link:
            case "identity":
                return self.scores
            case "softmax":
                return self.scores.softmax()
            case "exp":
                return self.scores.exp()
            case "logistic":
                return self.scores.logistic()
        raise NotCompiled("an exponential in float32 stands inside another estimator")

    def place(self) -> Tensor:
        """The place of the predicted class, in the graph; doubles of shape [n, 1]."""
        match self.decision:
            case "argmax":
                return self.scores.argmax()
            case "positive" | "majority":
                return (self.scores > 0.0).doubles()
            case "nonnegative":
                return (self.scores >= 0.0).doubles()
            case "index" if self.chosen is not None:
                return self.chosen
        raise NotCompiled("a regressor stands where a classifier is needed")

    def named(self, classes: Any) -> Prediction:
        """The same with other classes: inner estimators know only numbers."""
        return replace(self, classes=np.asarray(classes))


@dataclass(frozen=True)
class Converter:
    """A registered function. `takes` says whether it wants doubles or columns of any kind."""

    run: Callable[..., Any]
    takes: str
    single: bool


_BY_ITERATION = "it solves an optimisation for each row"
_SPARSE_GRAPH = "it gives a graph of neighbours, not columns"
UNCOVERED = {
    "sklearn.DictionaryLearning": _BY_ITERATION,
    "sklearn.MiniBatchDictionaryLearning": _BY_ITERATION,
    "sklearn.SparseCoder": _BY_ITERATION,
    "sklearn.NMF": _BY_ITERATION,
    "sklearn.MiniBatchNMF": _BY_ITERATION,
    "sklearn.LatentDirichletAllocation": _BY_ITERATION,
    "sklearn.LocallyLinearEmbedding": "it solves a system of equations for each row",
    "sklearn.Isomap": "it looks for shortest paths between rows",
    "sklearn.GaussianProcessClassifier": "its probabilities need the error function, which has no kernel in doubles",
    "sklearn.HashingVectorizer": "it hashes words instead of knowing them",
    "sklearn.KNNImputer": "it measures distances between rows that are incomplete",
    "sklearn.KNeighborsTransformer": _SPARSE_GRAPH,
    "sklearn.RadiusNeighborsTransformer": _SPARSE_GRAPH,
    "sklearn.LocalOutlierFactor": "it compares densities around neighbours of neighbours",
    "sklearn.PolynomialCountSketch": "it convolves by fast Fourier transforms",
}
"""Steps that are known and left to Python, with the reason."""

TRANSFORMERS: dict[str, Converter] = {}
PREDICTORS: dict[str, Converter] = {}


def converts(
    *classes: str | type, takes: str = "tensor", predicts: bool = False, single: bool = False
) -> Callable[[Any], Any]:
    """Register a converter for these classes.

    Args:
        classes: ``"package.Class"``, or the class itself. A subclass is another class.
        takes: ``"tensor"`` for doubles, ``"table"`` for columns of any kind, ``"columns"`` for columns of numbers.
        predicts: it converts what `predict` says, not what `transform` gives.
        single: it stays right where the Python model computes in float32.
    """

    def register(function: Any) -> Any:
        registry = PREDICTORS if predicts else TRANSFORMERS
        for name in classes:
            registry[name if isinstance(name, str) else class_key(name)] = Converter(function, takes, single)
        return function

    return register


def class_key(kind: type) -> str:
    """``package.Class``."""
    return f"{kind.__module__.split('.')[0]}.{kind.__qualname__}"


_STAYS_SPARSE = (
    "TfidfTransformer Normalizer MaxAbsScaler StandardScaler RobustScaler PolynomialFeatures FunctionTransformer "
    "SimpleImputer Binarizer"
)


def _is_sparse(step: Any, table: Table, out: Table) -> bool:
    """Whether the transformer gives a sparse matrix, in which zeros are not stored."""
    if hasattr(step, "sparse_output_"):
        return bool(step.sparse_output_)
    name = type(step).__name__
    if name in ("CountVectorizer", "TfidfVectorizer"):
        return True
    if name == "KBinsDiscretizer":
        return step.encode == "onehot"
    if hasattr(step, "sparse_output"):
        return bool(step.sparse_output)
    stays = hasattr(step, "get_support") or name in _STAYS_SPARSE.split()
    return out.sparse or (stays and table.sparse)


def transformed(step: Any, table: Table) -> Table:
    """The columns that a fitted transformer makes.

    Raises:
        NotCompiled: it, or a step in it, has no converter or meets what that does not cover.
    """
    out = _converted(TRANSFORMERS, step, table)
    made = out if isinstance(out, Table) else slots(table.source, out)
    return Table(made.source, made.cells, sparse=_is_sparse(step, table, made))


def predicted(step: Any, table: Table) -> Prediction:
    """What a fitted predictor says.

    Raises:
        NotCompiled: it, or a step in it, has no converter or meets what that does not cover.
    """
    return _converted(PREDICTORS, step, table)


def _converted(registry: dict[str, Converter], step: Any, table: Table) -> Any:
    key = class_key(type(step))
    converter = registry.get(key)
    try:
        if converter is None:
            raise NotCompiled(UNCOVERED.get(key, "no converter is registered for it"))
        if converter.takes == "table":
            return converter.run(step, table)
        dtype = np.result_type(*table.dtypes()) if table.width else np.dtype(np.float64)
        if is_narrow(dtype) and not converter.single:
            raise NotCompiled(f"it computes in {dtype}, because its columns are of that type")
        return converter.run(step, table if converter.takes == "columns" else table.tensor())
    except NotCompiled as error:
        error.step = error.step or key
        raise
