"""Distances: nearest neighbours, centroids and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts
from headrace.compiler.tensor import Tensor, constant_rows
from headrace.compiler.uncompiled import NotCompiled

MOST_CELLS = 50_000_000


def squared_distances(x: Tensor, points: np.ndarray) -> Tensor:
    """The squared Euclidean distance to each of the points, from differences; shape [n, points]."""
    points = np.asarray(points, dtype=np.float64)
    _weigh(x, points)
    graph = x.graph
    rows = graph.node("Unsqueeze", x.name, graph.constant([2], np.int64))
    gaps = graph.node("Sub", rows, graph.constant(np.ascontiguousarray(points.T)[None, :, :]))
    squares = graph.node("Mul", gaps, gaps)
    return Tensor(graph, squares, len(points)).totals(points.shape[1], len(points))


def distances(x: Tensor, points: np.ndarray, metric: str, power: float) -> Tensor:
    """Distances of a Minkowski metric, monotone in the true ones where only their order counts.

    Raises:
        NotCompiled: the metric is another.
    """
    if metric == "minkowski":
        metric = {1: "manhattan", 2: "euclidean"}.get(power, "")
    if metric in ("euclidean", "l2", "sqeuclidean"):
        return squared_distances(x, points).sqrt()
    if metric not in ("manhattan", "cityblock", "l1", "chebyshev"):
        raise NotCompiled(f"its metric {metric or f'minkowski with p={power}'} is not covered")
    points = np.asarray(points, dtype=np.float64)
    _weigh(x, points)
    graph = x.graph
    rows = graph.node("Unsqueeze", x.name, graph.constant([2], np.int64))
    gaps = graph.node("Abs", graph.node("Sub", rows, graph.constant(np.ascontiguousarray(points.T)[None, :, :])))
    if metric == "chebyshev":
        return Tensor(graph, graph.node("ReduceMax", gaps, graph.constant([1], np.int64), keepdims=0), len(points))
    return Tensor(graph, gaps, len(points)).totals(points.shape[1], len(points))


def _weigh(x: Tensor, points: np.ndarray) -> None:
    if points.size > MOST_CELLS:
        raise NotCompiled(f"it compares with {len(points)} rows of {points.shape[1]} columns, too many for a graph")
    x.graph.row_bytes = max(x.graph.row_bytes, 24 * points.size)


def _limit_reach(x: Tensor, points: np.ndarray) -> None:
    """Past this magnitude all points are equally far in doubles, and which is nearest is not defined."""
    x.graph.reach = min(x.graph.reach, 1e7 * max(float(np.abs(points).max()), 1.0))


def _nearest(step: Any, x: Tensor, points: np.ndarray) -> tuple[str, Tensor]:
    """The places of the nearest points (int64 [n, k]) and the weights of each."""
    if callable(step.metric) or callable(step.weights):
        raise NotCompiled("its metric or weights is a function of its own")
    far = distances(x, points, step.effective_metric_, float(step.effective_metric_params_.get("p", step.p)))
    _limit_reach(x, points)
    graph = x.graph
    outputs = graph.nodes(
        "TopK", 2, far.name, graph.constant([step.n_neighbors], np.int64), axis=1, largest=0, sorted=1
    )
    near = Tensor(graph, outputs[0], step.n_neighbors)
    return outputs[1], _weights(step, near)


def _weights(step: Any, near: Tensor) -> Tensor:
    if step.weights in (None, "uniform"):
        return near.equals(near).doubles()
    exact = near.equals(0.0)
    any_exact = exact.doubles().total() > 0.0
    return any_exact.where(exact.doubles(), 1.0 / near)


def _gathered(graph: Any, places: str, values: np.ndarray) -> str:
    return graph.node("Gather", graph.constant(values), places, axis=0)


@converts("sklearn.KNeighborsClassifier", predicts=True)
def k_neighbours_classifier(step: Any, x: Tensor) -> Prediction:
    """The weighted shares of the classes among the nearest."""
    if step.outputs_2d_:
        raise NotCompiled("it predicts several outputs at once")
    x.require_finite()
    places, weights = _nearest(step, x, _points(step))
    labels = np.asarray(step._y).ravel().astype(np.int64)
    classes = len(step.classes_)
    votes = _votes(x, places, weights, np.eye(classes)[labels])
    return Prediction(votes / votes.total(), "given", "index", step.classes_, chosen=votes.argmax())


@converts("sklearn.KNeighborsRegressor", predicts=True)
def k_neighbours_regressor(step: Any, x: Tensor) -> Prediction:
    """The weighted mean of the nearest."""
    x.require_finite()
    places, weights = _nearest(step, x, _points(step))
    targets = np.asarray(step._y, dtype=np.float64).reshape(len(step._y), -1)
    sums = _votes(x, places, weights, targets)
    if step.weights in (None, "uniform"):
        return Prediction(sums / float(step.n_neighbors), "identity", "value")
    return Prediction(sums / weights.total(), "identity", "value")


def _points(step: Any) -> np.ndarray:
    if not isinstance(step._fit_X, np.ndarray):
        raise NotCompiled("it was fitted with a sparse matrix")
    return step._fit_X


def _votes(x: Tensor, places: str, weights: Tensor, values: np.ndarray) -> Tensor:
    graph = x.graph
    each = _gathered(graph, places, values)
    wide = graph.node("Unsqueeze", weights.name, graph.constant([2], np.int64))
    weighed = graph.node("Mul", each, wide)
    return Tensor(graph, weighed, values.shape[1]).totals(weights.width, values.shape[1])


@converts("sklearn.NearestCentroid", predicts=True)
def nearest_centroid(step: Any, x: Tensor) -> Prediction:
    """The class of the nearest centroid, in units of the spread within classes where priors differ."""
    _limit_reach(x, step.centroids_)
    if step.metric not in ("euclidean", "manhattan"):
        raise NotCompiled(f"its metric {step.metric!r} is not covered")
    x.require_finite()
    spread = np.where(step.within_class_std_dev_ != 0, step.within_class_std_dev_, 1.0)
    far = distances(x / spread, step.centroids_ / spread, step.metric, 2.0)
    scores = -(far * far) + 2.0 * np.log(step.class_prior_)
    even = bool(np.isclose(step.class_prior_, 1 / len(step.classes_)).all())
    chosen = distances(x, step.centroids_, step.metric, 2.0).argmin() if even else scores.argmax()
    link = "softmax" if step.metric == "euclidean" else "none"
    return Prediction(scores, link, "index", step.classes_, chosen=chosen)


@converts("sklearn.RadiusNeighborsRegressor", predicts=True)
def radius_regressor(step: Any, x: Tensor) -> Prediction:
    """The weighted mean of the points within the radius; NaN where there is none."""
    near = _within(step, x)
    targets = np.asarray(step._y, dtype=np.float64).reshape(len(step._y), -1)
    return Prediction((near @ targets) / near.total(), "identity", "value")


@converts("sklearn.RadiusNeighborsClassifier", predicts=True)
def radius_classifier(step: Any, x: Tensor) -> Prediction:
    """The weighted shares of the classes within the radius; a row without neighbours is rejected."""
    if step.outputs_2d_:
        raise NotCompiled("it predicts several outputs at once")
    if step.outlier_label_ is not None and step.outlier_label_[0] is not None:
        raise NotCompiled("it has a label for outliers")
    near = _within(step, x)
    votes = near @ np.eye(len(step.classes_))[np.asarray(step._y).ravel().astype(np.int64)]
    total = votes.total()
    x.graph.checks.append(total.equals(0.0).where(np.nan, total * 0.0).name)
    return Prediction(votes / total, "given", "argmax", step.classes_)


def _within(step: Any, x: Tensor) -> Tensor:
    """The weight of each point of the fit: 0 outside the radius."""
    if callable(step.metric) or callable(step.weights):
        raise NotCompiled("its metric or weights is a function of its own")
    x.require_finite()
    _limit_reach(x, _points(step))
    far = distances(x, _points(step), step.effective_metric_, float(step.effective_metric_params_.get("p", step.p)))
    inside = far <= float(step.radius)
    if step.weights in (None, "uniform"):
        return inside.doubles()
    exact = far.equals(0.0)
    weights = (exact.doubles().total() > 0.0).where(exact.doubles(), 1.0 / exact.where(1.0, far))
    return inside.where(weights, 0.0)


@converts("sklearn.BisectingKMeans", predicts=True)
def bisecting_k_means(step: Any, x: Tensor) -> Prediction:
    """Down the tree of clusters, to the nearer of two centres each time."""
    _limit_reach(x, step.cluster_centers_)
    x.require_finite()
    return Prediction(_bisected(step, step._bisecting_tree, x), "identity", "value", whole=True)


def _bisected(step: Any, node: Any, x: Tensor) -> Tensor:
    if node.left is None:
        return constant_rows(x, np.array([float(node.label)]))
    centres = np.vstack((node.left.center, node.right.center)) + getattr(step, "_X_mean", 0.0)
    first = squared_distances(x, centres).argmin().equals(0.0)
    return first.where(_bisected(step, node.left, x), _bisected(step, node.right, x))


@converts("sklearn.KMeans", "sklearn.MiniBatchKMeans", predicts=True)
def k_means(step: Any, x: Tensor) -> Prediction:
    """The number of the nearest centre."""
    _limit_reach(x, step.cluster_centers_)
    near = squared_distances(x.require_finite(), step.cluster_centers_).argmin()
    return Prediction(near, "identity", "value", whole=True)


@converts("sklearn.MeanShift", "sklearn.AffinityPropagation", predicts=True)
def centred_clusters(step: Any, x: Tensor) -> Prediction:
    """The number of the nearest centre."""
    _limit_reach(x, step.cluster_centers_)
    near = squared_distances(x.require_finite(), step.cluster_centers_).argmin()
    return Prediction(near, "identity", "value", whole=True)


@converts("sklearn.KMeans", "sklearn.MiniBatchKMeans", "sklearn.BisectingKMeans")
def k_means_distances(step: Any, x: Tensor) -> Tensor:
    """The distance to each centre."""
    return squared_distances(x.require_finite(), step.cluster_centers_).sqrt()


@converts("sklearn.Birch", predicts=True)
def birch(step: Any, x: Tensor) -> Prediction:
    """The label of the nearest subcluster."""
    _limit_reach(x, step.subcluster_centers_)
    near = squared_distances(x.require_finite(), step.subcluster_centers_).argmin()
    labels = np.asarray(step.subcluster_labels_, dtype=np.float64)[:, None]
    return Prediction(near.lookup(labels), "identity", "value", whole=True)


@converts("sklearn.Birch")
def birch_distances(step: Any, x: Tensor) -> Tensor:
    """The distance to each subcluster."""
    return squared_distances(x.require_finite(), step.subcluster_centers_).sqrt()
