"""Harm: whether the answers became worse than they were on months that the model had not seen.

The unit of evidence is a window of time, because the rows of a day share its weather. For a binary classifier with
probabilities its loss is 1 - AUC, which a change of the base rate leaves alone; for other classifiers the share of
wrong answers; for regression the share of errors above the reference's median error.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np

from headrace.kernel.schema import Scalar
from headrace.monitoring.sequential import betting_detector, mixed

Loss = Literal["one_minus_auc", "error_rate", "above_median_error"]
SMALLEST_WINDOW = 20
Z95 = 1.6448536269514722


class HarmReference(msgspec.Struct, frozen=True):
    """The loss, its mean and spread over the reference's windows, and the limit: the mean's upper 95 % bound.

    Calling worse only what exceeds the bound, not the mean, is what keeps a short reference from crying wolf.
    """

    loss: Loss
    positive: Scalar
    median_error: float
    mean: float
    deviation: float
    windows: int
    limit: float


def window_loss(
    loss: Loss, positive: Scalar, median_error: float, truth: list[Any], predictions: list[Any], scores: np.ndarray
) -> float | None:
    """The loss of one window in [0, 1]; None where it cannot be told (few rows, or one class only)."""
    if len(truth) < SMALLEST_WINDOW:
        return None
    if loss == "one_minus_auc":
        hits = np.asarray([value == positive for value in truth])
        return 1 - _area(hits, scores) if 0 < hits.sum() < len(hits) else None
    if loss == "error_rate":
        return float(np.mean([t != p for t, p in zip(truth, predictions, strict=True)]))
    return float(np.mean(np.abs(np.asarray(truth, dtype=float) - scores) > median_error))


def build(loss: Loss, positive: Scalar, median_error: float, losses: list[float]) -> HarmReference | None:
    """The reference over the losses of windows that the model had not seen; None with fewer than five."""
    if len(losses) < 5:
        return None
    mean, deviation = float(np.mean(losses)), float(np.std(losses, ddof=1))
    limit = min(mean + Z95 * deviation / math.sqrt(len(losses)), 0.999)
    return HarmReference(loss, positive, median_error, mean, deviation, len(losses), max(limit, 1e-6))


def step(reference: HarmReference, loss: float, before: dict[str, float]) -> tuple[dict[str, float], float]:
    """The detectors after one more window, and their mean: the statistic that is held against the run length."""
    after = betting_detector(loss, reference.limit, before)
    return after, mixed(after)


def _area(positive: np.ndarray, scores: np.ndarray) -> float:
    from scipy.stats import rankdata

    count = int(positive.sum())
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))
