"""Kernels, and the machines that are sums of them over support vectors or rows of the fit."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from headrace.compiler.converters.neighbours import distances, squared_distances
from headrace.compiler.converting import Prediction, converts
from headrace.compiler.tensor import Tensor, concat, constant_rows
from headrace.compiler.uncompiled import NotCompiled


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
    return Prediction(shape, "none", "index", step.classes_, chosen=votes.argmax(), margin=shape)


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
    margin = -scores
    chosen = (~(scores > 0.0)).doubles()
    if step.probability is not True:
        return Prediction(margin, "none", "index", step.classes_, chosen=chosen, margin=margin)
    inner = scores * float(step._probA[0]) + float(step._probB[0])
    share = (-inner).logistic().clip(1e-7, 1 - 1e-7)
    both = concat([share, 1.0 - share])
    return Prediction(both, "given", "index", step.classes_, chosen=chosen, margin=margin)


@converts("sklearn.KernelRidge", predicts=True)
def kernel_ridge(step: Any, x: Tensor) -> Prediction:
    """The kernel to the rows of the fit, times the dual coefficients."""
    gamma = 1.0 / step.X_fit_.shape[1] if step.gamma is None else step.gamma
    near = kernel(x, step.X_fit_, step.kernel, gamma, step.degree, step.coef0)
    weights = np.asarray(step.dual_coef_, dtype=np.float64).reshape(len(step.X_fit_), -1)
    return Prediction(near @ weights, "identity", "value")


@converts("sklearn.LabelPropagation", "sklearn.LabelSpreading", predicts=True)
def label_propagation(step: Any, x: Tensor) -> Prediction:
    """The labels of the rows of the fit, weighted by the kernel to them."""
    if step.kernel != "rbf":
        raise NotCompiled(f"its kernel {step.kernel!r:.40} is not covered")
    votes = kernel(x, step.X_, "rbf", step.gamma, 0, 0) @ np.asarray(step.label_distributions_, dtype=np.float64)
    return Prediction(votes / votes.total(), "given", "argmax", step.classes_)


@converts("sklearn.GaussianProcessRegressor", predicts=True)
def gaussian_process(step: Any, x: Tensor) -> Prediction:
    """The mean of the posterior."""
    x.require_finite()
    weights = np.asarray(step.alpha_, dtype=np.float64).reshape(len(step.X_train_), -1)
    mean = covariance(step.kernel_, x, np.asarray(step.X_train_, dtype=np.float64)) @ weights
    spread = np.atleast_1d(np.asarray(step._y_train_std, dtype=np.float64))
    return Prediction(mean * spread + np.atleast_1d(np.asarray(step._y_train_mean)), "identity", "value")


def covariance(function: Any, x: Tensor, points: np.ndarray) -> Tensor:
    """A covariance function between rows and points.

    Raises:
        NotCompiled: it has a part that is not covered.
    """
    match type(function).__name__:
        case "Sum":
            return covariance(function.k1, x, points) + covariance(function.k2, x, points)
        case "Product":
            return covariance(function.k1, x, points) * covariance(function.k2, x, points)
        case "ConstantKernel":
            return constant_rows(x, np.full(len(points), float(function.constant_value)))
        case "WhiteKernel":
            return constant_rows(x, np.zeros(len(points)))
        case "RBF":
            scale = np.asarray(function.length_scale, dtype=np.float64)
            return (squared_distances(x / scale, points / scale) * -0.5).exp()
        case "DotProduct":
            return (x @ np.ascontiguousarray(points.T)) + float(function.sigma_0) ** 2
        case "RationalQuadratic":
            base = squared_distances(x, points) / (2 * function.alpha * function.length_scale**2) + 1.0
            return base.power(-float(function.alpha))
        case "Matern":
            return _matern(function, x, points)
    raise NotCompiled(f"its covariance {type(function).__name__} is not covered")


def _matern(function: Any, x: Tensor, points: np.ndarray) -> Tensor:
    scale = np.asarray(function.length_scale, dtype=np.float64)
    far = squared_distances(x / scale, points / scale).sqrt()
    match function.nu:
        case 0.5:
            return (-far).exp()
        case 1.5:
            near = far * float(np.sqrt(3.0))
            return (near + 1.0) * (-near).exp()
        case 2.5:
            near = far * float(np.sqrt(5.0))
            return (near + 1.0 + near * near / 3.0) * (-near).exp()
    raise NotCompiled(f"its Matern covariance with nu={function.nu} is not covered")
