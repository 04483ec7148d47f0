"""Exponentials to the bit as the C library's `exp` gives them, of one value or of many.

scipy's `expit` and `inv_boxcox` call that same function for each value, in a loop without Python: ten times as fast as
`math.exp` in a list. Whether they do so on this machine is not believed but looked at, once, on some thousand values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

MANY = 1_024
"""From as many values on scipy is asked; it takes a moment to import."""
Turn = Callable[[np.ndarray], np.ndarray]


def exponential(score: float) -> float:
    """exp(score), infinite where it is too large for a double."""
    try:
        return math.exp(score)
    except OverflowError:
        return math.inf


def exponentials(values: np.ndarray) -> np.ndarray:
    """`exponential` of each; float64 of the same shape."""
    found = _of_many()[0] if values.size >= MANY else None
    return _each(values) if found is None else found(values)


def logistics(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-score)) of each; float64 of the same shape."""
    found = _of_many()[1] if scores.size >= MANY else None
    return 1.0 / (1.0 + _each(-scores)) if found is None else found(scores)


def _each(values: np.ndarray) -> np.ndarray:
    flat = values.ravel().tolist()
    try:
        powers = list(map(math.exp, flat))
    except OverflowError:
        powers = list(map(exponential, flat))
    return np.array(powers, dtype=np.float64).reshape(values.shape)


@cache
def _of_many() -> tuple[Turn | None, Turn | None]:
    """scipy's exponential and logistic, each if it gives the very bits of `math.exp` here."""
    try:
        from scipy.special import expit, inv_boxcox
    except ImportError:  # an image that only scores need not have it
        return None, None

    def powers(values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return inv_boxcox(np.asarray(values, dtype=np.float64), 0.0)

    def shares(scores: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return expit(np.asarray(scores, dtype=np.float64))

    tried = _tried()
    exact = _each(tried)
    return (
        powers if _alike(powers(tried), exact) else None,
        shares if _alike(shares(-tried), 1.0 / (1.0 + exact)) else None,
    )


def _tried() -> np.ndarray:
    """Values of every magnitude and both signs, those where `exp` is zero, subnormal and infinite among them."""
    drawn = np.random.default_rng(0).normal(size=2_048)
    edges = np.array(
        [0.0, -0.0, 708.5, 709.78, 709.79, -708.5, -745.13, -745.14, 1e308, -1e308, 5e-324, np.inf, -np.inf]
    )
    return np.concatenate([drawn * scale for scale in (1e-9, 0.1, 1.0, 20.0, 400.0)] + [edges])


def _alike(found: np.ndarray, exact: np.ndarray) -> bool:
    return found.dtype == np.float64 and np.array_equal(found.view(np.int64), exact.view(np.int64))
