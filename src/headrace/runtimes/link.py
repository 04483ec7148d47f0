"""From raw scores to answers: one scalar routine for every form.

onnxruntime's own Exp and Sigmoid change their last bits with the size of a batch, and a browser's `exp` is not
libm's; here each value goes through the same calls of the C library, alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from headrace.kernel.ports import Answers
from headrace.kernel.schema import Scalar
from headrace.runtimes.plan import Link
from headrace.runtimes.single import exponential32, logistic32, softmax32

Shares = Callable[[np.ndarray], list[list[float]]]


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
    if link.decision == "each":
        return _each(link)
    share = _PROBABILITIES[link.kind]
    if link.decision == "majority" and share is not None:
        return _majority(share, classes)
    decide = _DECISIONS[link.decision]

    def answer(scores: np.ndarray) -> Answers:
        chosen = [classes[place] for place in decide(scores)]
        if share is None:
            return Answers(chosen, None)
        return Answers(chosen, share(scores[:, :-1] if link.decision == "index" else scores))

    return answer


def _majority(share: Shares, classes: tuple[Scalar, ...]) -> Callable[[np.ndarray], Answers]:
    def answer(scores: np.ndarray) -> Answers:
        shares = share(scores)
        return Answers([classes[second > 0.5] for _, second in shares], shares)

    return answer


def _values(link: Link) -> Callable[[np.ndarray], Answers]:
    turn = _VALUES[link.kind]

    def answer(scores: np.ndarray) -> Answers:
        values = turn(scores)
        if link.whole:
            values = values.astype(np.int64)
        return Answers(values[:, 0].tolist() if scores.shape[1] == 1 else values.tolist(), None)

    return answer


def _each(link: Link) -> Callable[[np.ndarray], Answers]:
    def answer(scores: np.ndarray) -> Answers:
        places = scores.astype(np.int64).tolist()
        return Answers([[c[p] for c, p in zip(link.labels, row, strict=True)] for row in places], None)

    return answer


def _logistic_shares(scores: np.ndarray) -> list[list[float]]:
    shares = map(logistic, scores[:, 0].tolist())
    return [[1.0 - share, share] for share in shares]


def _logistic32_shares(scores: np.ndarray) -> list[list[float]]:
    second = logistic32(scores)
    return np.hstack([np.float32(1.0) - second, second]).astype(np.float64).tolist()


def _scalars(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    def turn(scores: np.ndarray) -> np.ndarray:
        return np.array([function(score) for score in scores.ravel().tolist()]).reshape(scores.shape)

    return turn


_VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda scores: scores,
    "exp": _scalars(exponential),
    "logistic": _scalars(logistic),
    "exp32": lambda scores: exponential32(scores).astype(np.float64),
    "logistic32": lambda scores: logistic32(scores).astype(np.float64),
}
_PROBABILITIES: dict[str, Shares | None] = {
    "logistic": _logistic_shares,
    "logistic32": _logistic32_shares,
    "logistics": lambda scores: [[logistic(score) for score in row] for row in scores.tolist()],
    "softmax32": lambda scores: softmax32(scores).astype(np.float64).tolist(),
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
