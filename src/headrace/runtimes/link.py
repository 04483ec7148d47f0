"""From raw scores to answers: one scalar routine for every form.

onnxruntime's own Exp and Sigmoid change their last bits with the size of a batch, and a browser's `exp` is not
libm's; here each value goes through the same calls of the C library, alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.kernel.ports import Answers
from headrace.kernel.schema import Scalar
from headrace.runtimes.plan import Link


def logistic(score: float) -> float:
    """1 / (1 + exp(-score)), as scipy's `expit` computes it."""
    try:
        return 1.0 / (1.0 + math.exp(-score))
    except OverflowError:
        return 0.0


def exponential(score: float) -> float:
    """exp(score), infinite where it is too large for a double."""
    try:
        return math.exp(score)
    except OverflowError:
        return math.inf


def softmax(scores: list[float]) -> list[float]:
    """exp(x - max), each over their sum, added from the left."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    whole = sum_in_order(powers)
    return [power / whole for power in powers]


def sum_in_order(values: list[float]) -> float:
    """The sum from the left; Python's own `sum` compensates since 3.12."""
    total = 0.0
    for value in values:
        total += value
    return total


def linked(link: Link, classes: tuple[Scalar, ...]) -> Callable[[np.ndarray], Answers]:
    """The routine that turns scores of shape [n, m] into answers."""
    if link.decision == "value":
        return _values(link)
    decide = _DECISIONS[link.decision]
    share = _PROBABILITIES[link.kind]

    def answer(scores: np.ndarray) -> Answers:
        chosen = [classes[place] for place in decide(scores)]
        if share is None:
            return Answers(chosen, None)
        return Answers(chosen, share(scores[:, :-1] if link.decision == "index" else scores))

    return answer


def _values(link: Link) -> Callable[[np.ndarray], Answers]:
    def answer(scores: np.ndarray) -> Answers:
        values: list[Any] = scores[:, 0].tolist() if scores.shape[1] == 1 else scores.tolist()
        if link.kind == "exp":
            values = [exponential(value) for value in values]
        if link.whole:
            values = [int(value) for value in values]
        return Answers(values, None)

    return answer


def _logistic_shares(scores: np.ndarray) -> list[list[float]]:
    shares = map(logistic, scores[:, 0].tolist())
    return [[1.0 - share, share] for share in shares]


_PROBABILITIES: dict[str, Callable[[np.ndarray], list[list[float]]] | None] = {
    "logistic": _logistic_shares,
    "softmax": lambda scores: [softmax(row) for row in scores.tolist()],
    "given": lambda scores: scores.tolist(),
    "none": None,
}
_DECISIONS: dict[str, Callable[[np.ndarray], list[int]]] = {
    "argmax": lambda scores: scores.argmax(axis=1).tolist(),
    "positive": lambda scores: (scores[:, 0] > 0.0).tolist(),
    "nonnegative": lambda scores: (scores[:, 0] >= 0.0).tolist(),
    "index": lambda scores: scores[:, -1].astype(np.int64).tolist(),
}
