"""Linear models: a matrix product, an intercept, and what becomes of the sum."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts
from headrace.compiler.table import Known, Table, doubles_of
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled


def linear(x: Tensor | Table, coefficients: Any, intercept: Any) -> Tensor:
    """x · coefficientsᵀ + intercept, of shape [n, outputs]."""
    weights = np.ascontiguousarray(np.atleast_2d(np.asarray(coefficients, dtype=np.float64)).T)
    sums = _over_columns(x, weights) if isinstance(x, Table) else x.require_finite() @ weights
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64), (weights.shape[1],))
    return sums + np.array(bias)


def _over_columns(table: Table, weights: np.ndarray) -> Tensor:
    """table · weights, of which those columns are multiplied before that are tables of one request column's values:
    a hundred columns of a one-hot encoding are then as many as there are outputs, and come from the same look-up."""
    outputs = weights.shape[1]
    groups: dict[str, list[int]] = {}
    for place, cell in enumerate(table.cells):
        if isinstance(cell, Known) and cell.finite:
            groups.setdefault(cell.raw, []).append(place)
    groups = {raw: places for raw, places in groups.items() if len(places) > outputs}
    taken = {place for places in groups.values() for place in places}
    rest = [place for place in range(table.width) if place not in taken]
    parts = [table.pick(rest).tensor().require_finite()] if rest or not groups else []
    factors = [weights[rest]]
    for raw, places in groups.items():
        cells = [table.cells[place] for place in places]
        products = [Known(raw, partial(_product, cells, weights[places, o]), finite=True) for o in range(outputs)]
        parts.append(Table(table.source, products).tensor())
        factors.append(np.eye(outputs))
    return concat(parts) @ np.vstack(factors)


def _product(cells: list[Any], weights: np.ndarray) -> np.ndarray:
    return np.column_stack([doubles_of(cell.values()) for cell in cells]) @ weights


@converts(
    "sklearn.ARDRegression",
    "sklearn.BayesianRidge",
    "sklearn.ElasticNet",
    "sklearn.ElasticNetCV",
    "sklearn.HuberRegressor",
    "sklearn.Lars",
    "sklearn.LarsCV",
    "sklearn.Lasso",
    "sklearn.LassoCV",
    "sklearn.LassoLars",
    "sklearn.LassoLarsCV",
    "sklearn.LassoLarsIC",
    "sklearn.LinearRegression",
    "sklearn.LinearSVR",
    "sklearn.MultiTaskElasticNet",
    "sklearn.MultiTaskElasticNetCV",
    "sklearn.MultiTaskLasso",
    "sklearn.MultiTaskLassoCV",
    "sklearn.OrthogonalMatchingPursuit",
    "sklearn.OrthogonalMatchingPursuitCV",
    "sklearn.PassiveAggressiveRegressor",
    "sklearn.QuantileRegressor",
    "sklearn.Ridge",
    "sklearn.RidgeCV",
    "sklearn.SGDRegressor",
    "sklearn.TheilSenRegressor",
    takes="columns",
    predicts=True,
)
def linear_regressor(step: Any, x: Table) -> Prediction:
    """The sum is the answer."""
    return Prediction(linear(x, step.coef_, step.intercept_), "identity", "value")


@converts(
    "sklearn.PoissonRegressor", "sklearn.GammaRegressor", "sklearn.TweedieRegressor", takes="columns", predicts=True
)
def generalised_linear(step: Any, x: Table) -> Prediction:
    """The exponential of the sum, or the sum, by the link."""
    link = type(step._base_loss.link).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise NotCompiled(f"its link {link} is not covered")
    return Prediction(linear(x, step.coef_, step.intercept_), "exp" if link == "LogLink" else "identity", "value")


@converts("sklearn.RANSACRegressor", takes="columns", predicts=True)
def ransac(step: Any, x: Table) -> Prediction:
    """The estimator fitted to the inliers."""
    inner = step.estimator_
    if type(inner).__name__ != "LinearRegression":
        raise NotCompiled(f"its estimator is a {type(inner).__name__}, not a linear regression")
    return linear_regressor(inner, x)


@converts("sklearn.LogisticRegression", "sklearn.LogisticRegressionCV", takes="columns", predicts=True)
def logistic_regression(step: Any, x: Table) -> Prediction:
    """The logistic function of the sum, or softmax of the sums; one against the rest with liblinear."""
    scores = linear(x, step.coef_, step.intercept_)
    if len(step.classes_) == 2:
        return Prediction(scores, "logistic", "positive", step.classes_, margin=scores)
    if getattr(step, "solver", "") == "liblinear":
        return one_against_rest(scores, step.classes_)
    return Prediction(scores, "softmax", "argmax", step.classes_, margin=scores)


def one_against_rest(scores: Tensor, classes: Any) -> Prediction:
    """Logistic functions, divided by their sum; the decision is the largest score's."""
    shares = scores.logistic()
    return Prediction(shares / shares.total(), "given", "index", classes, chosen=scores.argmax(), margin=scores)


@converts(
    "sklearn.LinearSVC",
    "sklearn.RidgeClassifier",
    "sklearn.RidgeClassifierCV",
    "sklearn.Perceptron",
    "sklearn.PassiveAggressiveClassifier",
    takes="columns",
    predicts=True,
)
def linear_classifier(step: Any, x: Table) -> Prediction:
    """The class of the largest sum; no probabilities."""
    return decided(linear(x, step.coef_, step.intercept_), step.classes_)


def decided(scores: Tensor, classes: Any) -> Prediction:
    """Labels alone: by the sign of one score, or by the largest of several."""
    return Prediction(scores, "none", "positive" if scores.width == 1 else "argmax", classes, margin=scores)


@converts("sklearn.SGDClassifier", takes="columns", predicts=True)
def sgd_classifier(step: Any, x: Table) -> Prediction:
    """By its loss: logistic regression, the modified Huber's clipped line, or labels alone."""
    scores = linear(x, step.coef_, step.intercept_)
    if step.loss == "log_loss":
        if scores.width == 1:
            return Prediction(scores, "logistic", "positive", step.classes_, margin=scores)
        return one_against_rest(scores, step.classes_)
    if step.loss == "modified_huber":
        return _modified_huber(scores, step.classes_)
    return decided(scores, step.classes_)


def _modified_huber(scores: Tensor, classes: Any) -> Prediction:
    shares = (scores.clip(-1.0, 1.0) + 1.0) / 2.0
    if scores.width == 1:
        both = [1.0 - shares, shares]
        return Prediction(concat(both), "given", "index", classes, chosen=(scores > 0.0).doubles(), margin=scores)
    total = shares.total()
    nothing = total.equals(0.0)
    shares = nothing.where(1.0, shares) / nothing.where(float(scores.width), total)
    return Prediction(shares, "given", "index", classes, chosen=scores.argmax(), margin=scores)


@converts("sklearn.SGDOneClassSVM", takes="columns", predicts=True)
def sgd_one_class(step: Any, x: Table) -> Prediction:
    """1 for inliers, -1 for outliers."""
    scores = linear(x, step.coef_, -step.offset_)
    return Prediction((scores >= 0.0).doubles() * 2.0 - 1.0, "identity", "value", whole=True)


@converts("sklearn.LinearDiscriminantAnalysis", takes="columns", predicts=True)
def linear_discriminant(step: Any, x: Table) -> Prediction:
    """Like a logistic regression."""
    scores = linear(x, step.coef_, step.intercept_)
    if len(step.classes_) == 2:
        return Prediction(scores, "logistic", "positive", step.classes_, margin=scores)
    return Prediction(scores, "softmax", "argmax", step.classes_, margin=scores)


@converts("sklearn.PLSRegression", "sklearn.PLSCanonical", "sklearn.CCA", predicts=True)
def partial_least_squares(step: Any, x: Tensor) -> Prediction:
    """(x - mean) · coefficientsᵀ + intercept."""
    return Prediction(linear(x - step._x_mean, step.coef_, step.intercept_), "identity", "value")
