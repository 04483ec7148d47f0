"""Linear models: a matrix product, an intercept, and what becomes of the sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled


def linear(x: Tensor, coefficients: Any, intercept: Any) -> Tensor:
    """x · coefficientsᵀ + intercept, of shape [n, outputs]."""
    weights = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
    sums = x.require_finite() @ np.ascontiguousarray(weights.T)
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64), (weights.shape[0],))
    return sums + np.array(bias)


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
    predicts=True,
)
def linear_regressor(step: Any, x: Tensor) -> Prediction:
    """The sum is the answer."""
    return Prediction(linear(x, step.coef_, step.intercept_), "identity", "value")


@converts("sklearn.PoissonRegressor", "sklearn.GammaRegressor", "sklearn.TweedieRegressor", predicts=True)
def generalised_linear(step: Any, x: Tensor) -> Prediction:
    """The exponential of the sum, or the sum, by the link."""
    link = type(step._base_loss.link).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise NotCompiled(f"its link {link} is not covered")
    return Prediction(linear(x, step.coef_, step.intercept_), "exp" if link == "LogLink" else "identity", "value")


@converts("sklearn.RANSACRegressor", predicts=True)
def ransac(step: Any, x: Tensor) -> Prediction:
    """The estimator fitted to the inliers."""
    inner = step.estimator_
    if type(inner).__name__ != "LinearRegression":
        raise NotCompiled(f"its estimator is a {type(inner).__name__}, not a linear regression")
    return linear_regressor(inner, x)


@converts("sklearn.LogisticRegression", "sklearn.LogisticRegressionCV", predicts=True)
def logistic_regression(step: Any, x: Tensor) -> Prediction:
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
    predicts=True,
)
def linear_classifier(step: Any, x: Tensor) -> Prediction:
    """The class of the largest sum; no probabilities."""
    return decided(linear(x, step.coef_, step.intercept_), step.classes_)


def decided(scores: Tensor, classes: Any) -> Prediction:
    """Labels alone: by the sign of one score, or by the largest of several."""
    return Prediction(scores, "none", "positive" if scores.width == 1 else "argmax", classes, margin=scores)


@converts("sklearn.SGDClassifier", predicts=True)
def sgd_classifier(step: Any, x: Tensor) -> Prediction:
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


@converts("sklearn.SGDOneClassSVM", predicts=True)
def sgd_one_class(step: Any, x: Tensor) -> Prediction:
    """1 for inliers, -1 for outliers."""
    scores = linear(x, step.coef_, -step.offset_)
    return Prediction((scores >= 0.0).doubles() * 2.0 - 1.0, "identity", "value", whole=True)


@converts("sklearn.LinearDiscriminantAnalysis", predicts=True)
def linear_discriminant(step: Any, x: Tensor) -> Prediction:
    """Like a logistic regression."""
    scores = linear(x, step.coef_, step.intercept_)
    if len(step.classes_) == 2:
        return Prediction(scores, "logistic", "positive", step.classes_, margin=scores)
    return Prediction(scores, "softmax", "argmax", step.classes_, margin=scores)


@converts("sklearn.PLSRegression", "sklearn.PLSCanonical", "sklearn.CCA", predicts=True)
def partial_least_squares(step: Any, x: Tensor) -> Prediction:
    """(x - mean) · coefficientsᵀ + intercept."""
    return Prediction(linear(x - step._x_mean, step.coef_, step.intercept_), "identity", "value")
