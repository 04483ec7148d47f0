"""From raw scores to answers: one routine for every form, each value through the same calls of the C library, alone.

onnxruntime's own Exp and Sigmoid change their last bits with the size of a batch, numpy's `exp` differs from libm's,
and a browser's from both. So exponentials are `math.exp`, value by value; what is left is exactly rounded anyway. Many
values at once go through `runtimes.exponentials`, which makes the same calls without Python between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from headrace.kernel.ports import AnswerArrays, Answers
from headrace.kernel.schema import Scalar
from headrace.runtimes.exponentials import exponentials, logistics
from headrace.runtimes.plan import Link
from headrace.runtimes.single import exponential32, logistic32, softmax32

FEW = 64
"""Up to as many rows are linked one by one: below it the calls of numpy cost more."""
Turn = Callable[[np.ndarray], np.ndarray]


class Linked:
    """A link, ready to run; `scores` are raw scores of shape [n, m]."""

    def __init__(self, link: Link, classes: tuple[Scalar, ...]) -> None:
        self._link = link
        self._classes = classes
        self._named = named_array(classes)
        self._turn = _TURNS[link.kind]
        self._quick = link.kind == "logistic" and link.decision in _QUICK
        self._least = _QUICK.get(link.decision, 0.0)

    def answers(self, scores: np.ndarray) -> Answers:
        """Answers as Python values."""
        if self._quick and len(scores) <= FEW:
            found = scores[:, 0].tolist()
            shares = [logistic(score) for score in found]
            first, second = self._classes
            least = self._least
            decided = [x > 0.5 for x in shares] if least is None else [x > least for x in found]
            return Answers([second if chosen else first for chosen in decided], [[1.0 - x, x] for x in shares])
        return self.arrays(scores).lists()

    def arrays(self, scores: np.ndarray) -> AnswerArrays:
        """Answers as arrays."""
        match self._link.decision:
            case "value":
                return AnswerArrays(self._values(scores), None)
            case "each":
                return AnswerArrays(self._each(scores), None)
            case "index":
                return AnswerArrays(self._named[scores[:, -1].astype(np.int64)], self._shares(scores[:, :-1]))
        shares = self._shares(scores)
        return AnswerArrays(self._named[self._places(scores, shares)], shares)

    def _places(self, scores: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
        match self._link.decision:
            case "positive":
                return (scores[:, 0] > 0.0).astype(np.int64)
            case "nonnegative":
                return (scores[:, 0] >= 0.0).astype(np.int64)
            case "majority" if shares is not None:
                return (shares[:, 1] > 0.5).astype(np.int64)
        return scores.argmax(axis=1)

    def _shares(self, scores: np.ndarray) -> np.ndarray | None:
        return None if self._link.kind == "none" else self._turn(scores)

    def _values(self, scores: np.ndarray) -> np.ndarray:
        turned = _VALUES[self._link.kind](scores)
        turned = turned.astype(np.int64) if self._link.whole else turned
        return turned[:, 0] if turned.shape[1] == 1 else turned

    def _each(self, scores: np.ndarray) -> np.ndarray:
        places = scores.astype(np.int64)
        columns = [named_array(labels)[places[:, output]] for output, labels in enumerate(self._link.labels)]
        kinds = {column.dtype.kind for column in columns}
        if kinds <= set("iuf") or len(kinds) == 1:
            return np.column_stack(columns)
        return np.array([list(row) for row in zip(*(column.tolist() for column in columns), strict=True)], dtype=object)


_QUICK: dict[str, float | None] = {"positive": 0.0, "majority": None, "nonnegative": -5e-324}


def named_array(classes: tuple[Scalar, ...]) -> np.ndarray:
    """Classes as an array whose `tolist` gives them back."""
    kinds = {type(value) for value in classes}
    if len(kinds) == 1 and kinds <= {bool, int, float}:
        return np.array(classes)
    named = np.empty(len(classes), dtype=object)
    named[:] = classes
    return named


def logistic(score: float) -> float:
    """1 / (1 + exp(-score)), as scipy's `expit` computes it."""
    try:
        return 1.0 / (1.0 + math.exp(-score))
    except OverflowError:
        return 0.0


def _second_class(scores: np.ndarray) -> np.ndarray:
    share = logistics(scores[:, :1])
    return np.hstack([1.0 - share, share])


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = exponentials(scores - scores.max(axis=1, keepdims=True))
    total = np.zeros(len(powers))
    for column in range(powers.shape[1]):
        total = total + powers[:, column]
    return powers / total[:, None]


def _second_class32(scores: np.ndarray) -> np.ndarray:
    share = logistic32(scores[:, :1])
    return np.hstack([np.float32(1.0) - share, share]).astype(np.float64)


def _as_they_are(scores: np.ndarray) -> np.ndarray:
    return scores


_TURNS: dict[str, Turn] = {
    "identity": _as_they_are,
    "exp": exponentials,
    "exp32": _as_they_are,
    "logistic": _second_class,
    "logistics": logistics,
    "logistic32": _second_class32,
    "softmax": _softmax,
    "softmax32": lambda scores: softmax32(scores).astype(np.float64),
    "given": _as_they_are,
    "none": _as_they_are,
}
_VALUES: dict[str, Turn] = {
    "identity": _as_they_are,
    "exp": exponentials,
    "exp32": lambda scores: exponential32(scores).astype(np.float64),
    "logistic": logistics,
    "logistic32": lambda scores: logistic32(scores).astype(np.float64),
    "softmax": _softmax,
    "softmax32": lambda scores: softmax32(scores).astype(np.float64),
}
