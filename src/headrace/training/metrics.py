"""Metrics with 95 % confidence intervals, in closed form, so that slices cost little.

Proportions: Wilson (1927). Means: the normal interval of the per-row loss. Area under the ROC curve: DeLong,
DeLong and Clarke-Pearson (1988), computed by mid-ranks (Sun and Xu, 2014), on the logit scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from headrace.kernel.records import Metric, Task
from headrace.kernel.schema import Scalar

Z = 1.959963984540054
HIGHER_IS_BETTER = {
    "roc_auc": True,
    "accuracy": True,
    "r2": True,
    "log_loss": False,
    "brier": False,
    "mae": False,
    "rmse": False,
}
PRIMARY: dict[Task, str] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}


def evaluate(
    task: Task,
    truth: list[Scalar],
    predictions: list[Scalar],
    probabilities: np.ndarray | None,
    classes: tuple[Scalar, ...],
) -> dict[str, Metric]:
    """The metrics of a task, the one that tells most first.

    Args:
        truth: n outcomes. predictions: n answers. probabilities: (n, classes) or None.
    """
    if task == "regression":
        return _regression(np.asarray(truth, dtype=float), np.asarray(predictions, dtype=float))
    right = np.asarray([t == p for t, p in zip(truth, predictions, strict=True)])
    found = {"accuracy": proportion(right)}
    if probabilities is None:
        return found
    at = np.asarray([classes.index(value) if value in classes else -1 for value in truth])
    known = at >= 0
    chosen = np.clip(probabilities[np.arange(len(at)), at], 1e-15, 1.0)
    found["log_loss"] = mean(-np.log(np.where(known, chosen, 1e-15)))
    if task == "binary":
        positive = (at == 1).astype(float)
        found["brier"] = mean((probabilities[:, 1] - positive) ** 2)
        if 0 < positive.sum() < len(positive):
            found = {"roc_auc": roc_auc(positive == 1, probabilities[:, 1]), **found}
    return found


def proportion(right: np.ndarray) -> Metric:
    """The share of True in n booleans."""
    n, share = len(right), float(np.mean(right))
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Metric(value=share, low=centre - half, high=centre + half, rows=n)


def mean(losses: np.ndarray) -> Metric:
    """The mean of n losses."""
    n, value = len(losses), float(np.mean(losses))
    half = Z * float(np.std(losses, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return Metric(value=value, low=value - half, high=value + half, rows=n)


def area(positive: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve of n scores; ties count half. Both classes must be there."""
    ranks = _midranks(scores)
    count = int(positive.sum())
    return (float(ranks[positive].sum()) - count * (count + 1) / 2) / (count * (len(scores) - count))


def roc_auc(positive: np.ndarray, scores: np.ndarray) -> Metric:
    """The area under the ROC curve with DeLong's interval."""
    value = area(positive, scores)
    high, low = scores[positive], scores[~positive]
    ranks = _midranks(np.concatenate([high, low]))
    m, n = len(high), len(low)
    v10 = (ranks[:m] - _midranks(high)) / n
    v01 = 1 - (ranks[m:] - _midranks(low)) / m
    variance = (np.var(v10, ddof=1) / m if m > 1 else 0.25) + (np.var(v01, ddof=1) / n if n > 1 else 0.25)
    if not 0 < value < 1:
        return Metric(value=value, low=value, high=value, rows=len(scores))
    logit = math.log(value / (1 - value))
    half = Z * math.sqrt(float(variance)) / (value * (1 - value))
    limits = [1 / (1 + math.exp(-min(max(edge, -700), 700))) for edge in (logit - half, logit + half)]
    return Metric(value=value, low=limits[0], high=limits[1], rows=len(scores))


def _midranks(values: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((edges[:-1] + edges[1:] + 1) / 2, np.diff(edges))
    return ranks


def _regression(truth: np.ndarray, predictions: np.ndarray) -> dict[str, Metric]:
    squares = mean((predictions - truth) ** 2)
    spread = float(np.var(truth))
    found = {
        "mae": mean(np.abs(predictions - truth)),
        "rmse": _mapped(squares, lambda x: math.sqrt(max(x, 0.0))),
    }
    if spread > 0:
        found["r2"] = _mapped(squares, lambda x: 1 - x / spread)
    return found


def _mapped(metric: Metric, function: Callable[[float], float]) -> Metric:
    ends = sorted((function(metric.low), function(metric.high)))
    return Metric(value=function(metric.value), low=ends[0], high=ends[1], rows=metric.rows)
