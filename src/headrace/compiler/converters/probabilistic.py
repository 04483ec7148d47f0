"""Naive Bayes, quadratic discriminants and mixtures: sums of logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converters.decomposition import project
from headrace.compiler.converting import Prediction, converts
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled


@converts("sklearn.GaussianNB", predicts=True)
def gaussian_naive_bayes(step: Any, x: Tensor) -> Prediction:
    """The log likelihood of each class under independent normals."""
    x.require_finite()
    scores: list[Tensor] = []
    for prior, mean, variance in zip(step.class_prior_, step.theta_, step.var_, strict=True):
        constant = np.log(prior), -0.5 * np.sum(np.log(2.0 * np.pi * variance))
        gap = x - mean
        exponent = (gap * gap / variance).total() * -0.5 + float(constant[1])
        scores.append(exponent + float(constant[0]))
    return Prediction(concat(scores), "softmax", "argmax", step.classes_)


@converts("sklearn.MultinomialNB", predicts=True)
def multinomial_naive_bayes(step: Any, x: Tensor) -> Prediction:
    """Counts times log probabilities."""
    x.graph.checks.append((x < 0.0).where(np.nan, x * 0.0).total().name)
    scores = project(x, step.feature_log_prob_.T) + step.class_log_prior_
    return Prediction(scores, "softmax", "argmax", step.classes_)


@converts("sklearn.ComplementNB", predicts=True)
def complement_naive_bayes(step: Any, x: Tensor) -> Prediction:
    """Counts times the weights of the other classes."""
    x.graph.checks.append((x < 0.0).where(np.nan, x * 0.0).total().name)
    scores = project(x, step.feature_log_prob_.T)
    if len(step.classes_) == 1:
        scores = scores + step.class_log_prior_
    return Prediction(scores, "softmax", "argmax", step.classes_)


@converts("sklearn.BernoulliNB", predicts=True)
def bernoulli_naive_bayes(step: Any, x: Tensor) -> Prediction:
    """Truth values times log odds."""
    x.require_finite()
    if step.binarize is not None:
        x = (x > float(step.binarize)).doubles()
    absent = np.log(1 - np.exp(step.feature_log_prob_))
    scores = project(x, (step.feature_log_prob_ - absent).T) + (step.class_log_prior_ + absent.sum(axis=1))
    return Prediction(scores, "softmax", "argmax", step.classes_)


@converts("sklearn.CategoricalNB", predicts=True)
def categorical_naive_bayes(step: Any, x: Tensor) -> Prediction:
    """The log probability of each column's category."""
    x.require_finite()
    total: Tensor | None = None
    for place, table in enumerate(step.feature_log_prob_):
        column = x.pick([place])
        whole = column.derive("Floor")
        outside = (whole < 0.0) | (whole >= float(table.shape[1]))
        x.graph.checks.append(outside.where(np.nan, column * 0.0).name)
        part = outside.where(0.0, whole).lookup(np.ascontiguousarray(table.T))
        total = part if total is None else total + part
    if total is None:
        raise NotCompiled("it has no columns")
    return Prediction(total + step.class_log_prior_, "softmax", "argmax", step.classes_)


@converts("sklearn.QuadraticDiscriminantAnalysis", predicts=True)
def quadratic_discriminant(step: Any, x: Tensor) -> Prediction:
    """The log posterior of each class under its own normal."""
    if not hasattr(step, "rotations_") or getattr(step, "solver", "svd") != "svd":
        raise NotCompiled("its solver is not 'svd'")
    scores: list[Tensor] = []
    for mean, rotation, scaling, prior in zip(step.means_, step.rotations_, step.scalings_, step.priors_, strict=True):
        turned = project(x - mean, rotation * scaling**-0.5)
        norm = (turned * turned).total()
        scores.append((norm + float(np.sum(np.log(scaling)))) * -0.5 + float(np.log(prior)))
    every = concat(scores)
    if len(scores) == 2:
        margin = every.pick([1]) - every.pick([0])
        return Prediction(margin, "logistic", "positive", step.classes_, margin=margin)
    return Prediction(every, "softmax", "argmax", step.classes_, margin=every)


@converts("sklearn.GaussianMixture", "sklearn.BayesianGaussianMixture", predicts=True)
def gaussian_mixture(step: Any, x: Tensor) -> Prediction:
    """The number of the component that the row most likely comes from."""
    from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky

    precisions = step.precisions_cholesky_
    log_det = np.asarray(_compute_log_det_cholesky(precisions, step.covariance_type, x.width))
    constants = np.broadcast_to(log_det, len(step.means_)) - 0.5 * x.width * np.log(2 * np.pi)
    constants = constants + step._estimate_log_weights()
    if type(step).__name__ == "BayesianGaussianMixture":
        constants = constants + _spread_of_weights(step, x.width)
    scores: list[Tensor] = []
    for place, mean in enumerate(step.means_):
        factor = _factor(precisions, step.covariance_type, place, x.width)
        gap = project(x - mean, factor)
        scores.append((gap * gap).total() * -0.5 + float(constants[place]))
    return Prediction(concat(scores).argmax(), "identity", "value", whole=True)


def _spread_of_weights(step: Any, columns: int) -> np.ndarray:
    """What the distribution over precisions adds to each component's log probability."""
    from scipy.special import digamma

    freedom = np.asarray(step.degrees_of_freedom_)
    digammas = digamma(0.5 * (freedom - np.arange(columns)[:, np.newaxis]))
    log_lambda = columns * np.log(2.0) + np.sum(digammas, axis=0)
    return -0.5 * columns * np.log(freedom) + 0.5 * (log_lambda - columns / step.mean_precision_)


def _factor(precisions: np.ndarray, kind: str, place: int, width: int) -> np.ndarray:
    match kind:
        case "full":
            return precisions[place]
        case "tied":
            return precisions
        case "diag":
            return np.diag(precisions[place])
    return np.eye(width) * precisions[place]


@converts("sklearn.EllipticEnvelope", predicts=True)
def elliptic_envelope(step: Any, x: Tensor) -> Prediction:
    """1 inside the ellipse, -1 outside."""
    gap = x - step.location_
    distance = (project(gap, step.get_precision()) * gap).total()
    inside = -distance - float(step.offset_) >= 0.0
    return Prediction(inside.doubles() * 2.0 - 1.0, "identity", "value", whole=True)
