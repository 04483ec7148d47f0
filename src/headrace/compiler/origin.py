"""Where a column of the graph comes from: one column of its input, through steps that keep the order of numbers.

A tree that splits such a column can split the input itself: the largest double that the steps bring to the left of a
threshold is found by bisection over all doubles, so the rows part exactly as before and the steps need not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["add", "subtract", "multiply", "divide", "round", "fill"]
_LOWEST, _HIGHEST = -np.finfo(np.float64).max, np.finfo(np.float64).max


@dataclass(frozen=True)
class Step:
    """One operation that never brings a larger number below a smaller one; `fill` replaces NaN."""

    kind: Kind
    constant: float = 0.0


@dataclass(frozen=True)
class Origin:
    """Column `place` of the graph's input, after `steps`."""

    place: int
    steps: tuple[Step, ...] = ()

    def then(self, kind: Kind, constant: float = 0.0) -> Origin | None:
        """After one more step; None where that turns the order of numbers round."""
        if kind in ("multiply", "divide") and not 0.0 < constant < np.inf:
            return None
        return Origin(self.place, (*self.steps, Step(kind, float(constant))))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """What becomes of numbers of the input, in the same double arithmetic as the graph's."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for step in self.steps:
                values = _applied(step, values)
        return values


def _applied(step: Step, values: np.ndarray) -> np.ndarray:
    match step.kind:
        case "add":
            return values + step.constant
        case "subtract":
            return values - step.constant
        case "multiply":
            return values * step.constant
        case "divide":
            return values / step.constant
        case "round":
            return values.astype(np.float32).astype(np.float64)
        case "fill":
            return np.where(np.isnan(values), step.constant, values)


def input_thresholds(origin: Origin, thresholds: np.ndarray) -> np.ndarray:
    """For each threshold the largest double x of the input with origin(x) <= threshold; -inf where there is none."""
    low = np.full(len(thresholds), _key(np.array([_LOWEST]))[0])
    high = np.full(len(thresholds), _key(np.array([_HIGHEST]))[0])
    every = origin.apply(_double(high)) <= thresholds
    none = origin.apply(_double(low)) > thresholds
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + ((low | high) & 1)
        left = origin.apply(_double(middle)) <= thresholds
        low, high = np.where(left, middle, low), np.where(left, high, middle - 1)
    found = _double(low)
    return np.where(every, np.inf, np.where(none, -np.inf, found))


def goes_left_missing(origin: Origin, thresholds: np.ndarray, missing_left: np.ndarray) -> np.ndarray:
    """Whether NaN of the input goes to the left of each threshold."""
    value = float(origin.apply(np.array([np.nan]))[0])
    return missing_left if np.isnan(value) else value <= thresholds


def _key(values: np.ndarray) -> np.ndarray:
    """Integers in the order of the doubles."""
    bits = values.view(np.int64)
    return np.where(bits >= 0, bits, np.int64(-(2**63)) - bits)


def _double(keys: np.ndarray) -> np.ndarray:
    keys = np.ascontiguousarray(keys, dtype=np.int64)
    return np.where(keys >= 0, keys, np.int64(-(2**63)) - keys).view(np.float64)
