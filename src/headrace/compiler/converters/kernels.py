"""Kernels, and the machines that are sums of them over support vectors or rows of the fit."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from headrace.compiler.converters.linear import decided
from headrace.compiler.converters.neighbours import distances, squared_distances
from headrace.compiler.converting import Prediction, converts
from headrace.compiler.table import NotCompiled
from headrace.compiler.tensor import Tensor, concat


def kernel(x: Tensor, points: np.ndarray, name: Any, gamma: Any, degree: Any, coef0: Any) -> Tensor:
    """The kernel between each row and each point; shape [n, points].

    Raises:
        NotCompiled: the kernel is a function, or another one.
    """
    x.require_finite()
    points = np.asarray(points, dtype=np.float64)
    match name:
        case "rbf":
            return (squared_distances(x, points) * -float(gamma)).exp()
        case "laplacian":
            return (distances(x, points, "manhattan", 1.0) * -float(gamma)).exp()
        case "linear":
            return x @ np.ascontiguousarray(points.T)
        case "poly" | "polynomial":
            return ((x @ np.ascontiguousarray(points.T)) * float(gamma) + float(coef0)).power(float(degree))
        case "sigmoid":
            return ((x @ np.ascontiguousarray(points.T)) * float(gamma) + float(coef0)).tanh()
    raise NotCompiled(f"its kernel {name!r:.40} is not covered")


def _support(step: Any, x: Tensor) -> Tensor:
    if step._sparse:
        raise NotCompiled("it was fitted with a sparse matrix")
    return kernel(x, step.support_vectors_, step.kernel, step._gamma, step.degree, step.coef0)


@converts("sklearn.SVR", "sklearn.NuSVR", predicts=True)
def support_regressor(step: Any, x: Tensor) -> Prediction:
    """The sum over the support vectors."""
    sums = _support(step, x) @ np.ascontiguousarray(step._dual_coef_.T) + float(step._intercept_[0])
    return Prediction(sums, "identity", "value")


@converts("sklearn.OneClassSVM", predicts=True)
def one_class(step: Any, x: Tensor) -> Prediction:
    """1 for inliers, -1 for outliers."""
    sums = _support(step, x) @ np.ascontiguousarray(step._dual_coef_.T) + float(step._intercept_[0])
    return Prediction((sums > 0.0).doubles() * 2.0 - 1.0, "identity", "value", whole=True)


@converts("sklearn.SVC", "sklearn.NuSVC", predicts=True)
def support_classifier(step: Any, x: Tensor) -> Prediction:
    """A vote for each pair of classes; Platt's probability for two."""
    classes = len(step.classes_)
    pairs = list(combinations(range(classes), 2))
    scores = _support(step, x) @ _pair_weights(step, pairs) + np.asarray(step._intercept_, dtype=np.float64)
    if classes == 2:
        return _two_classes(step, scores)
    if step.probability is True:
        raise NotCompiled("its probabilities of more than two classes come from an iteration")
    if step.break_ties and step.decision_function_shape == "ovr":
        raise NotCompiled("it breaks ties")
    first = np.zeros((len(pairs), classes))
    second = np.zeros((len(pairs), classes))
    for place, (i, j) in enumerate(pairs):
        first[place, i] = second[place, j] = 1.0
    won = (scores > 0.0).doubles()
    votes = (won @ first) + ((1.0 - won) @ second)
    shape = _one_against_rest_scores(scores, votes, pairs, classes) if step.decision_function_shape == "ovr" else scores
    return Prediction(shape, "none", "index", step.classes_, chosen=votes.argmax())


def _one_against_rest_scores(scores: Tensor, votes: Tensor, pairs: list[tuple[int, int]], classes: int) -> Tensor:
    sums = np.zeros((len(pairs), classes))
    for place, (i, j) in enumerate(pairs):
        sums[place, i], sums[place, j] = 1.0, -1.0
    confidence = scores @ sums
    return votes + confidence / ((confidence.absolute() + 1.0) * 3.0)


def _pair_weights(step: Any, pairs: list[tuple[int, int]]) -> np.ndarray:
    counts = np.asarray(step._n_support)
    starts = np.concatenate([[0], np.cumsum(counts)])
    dual = np.asarray(step._dual_coef_, dtype=np.float64)
    weights = np.zeros((dual.shape[1], len(pairs)))
    for place, (i, j) in enumerate(pairs):
        own, other = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        weights[own, place] = dual[j - 1, own]
        weights[other, place] = dual[i, other]
    return weights


def _two_classes(step: Any, scores: Tensor) -> Prediction:
    if step.probability is not True:
        return decided(-scores, step.classes_)
    inner = scores * float(step._probA[0]) + float(step._probB[0])
    share = (-inner).logistic().clip(1e-7, 1 - 1e-7)
    return Prediction(concat([share, 1.0 - share]), "given", "index", step.classes_, chosen=(scores <= 0.0).doubles())


@converts("sklearn.KernelRidge", predicts=True)
def kernel_ridge(step: Any, x: Tensor) -> Prediction:
    """The kernel to the rows of the fit, times the dual coefficients."""
    gamma = 1.0 / step.X_fit_.shape[1] if step.gamma is None else step.gamma
    near = kernel(x, step.X_fit_, step.kernel, gamma, step.degree, step.coef0)
    weights = np.asarray(step.dual_coef_, dtype=np.float64).reshape(len(step.X_fit_), -1)
    return Prediction(near @ weights, "identity", "value")
