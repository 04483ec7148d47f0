"""Links in float32, as XGBoost computes them: with the C library's `expf`, whose bits numpy's own do not have."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np

_EXPF = ctypes.CDLL(ctypes.util.find_library("m")).expf
_EXPF.restype, _EXPF.argtypes = ctypes.c_float, [ctypes.c_float]
_ONE, _TINY, _MOST = np.float32(1.0), np.float32(1e-16), np.float32(88.7)


def exponential32(scores: np.ndarray) -> np.ndarray:
    """exp of each score; float32 of the same shape."""
    flat = np.array([_EXPF(score) for score in scores.ravel().tolist()], dtype=np.float32)
    return flat.reshape(scores.shape)


def logistic32(scores: np.ndarray) -> np.ndarray:
    """1 / (exp(min(-x, 88.7)) + 1 + 1e-16) of each score; float32 of the same shape.

    Source: `Sigmoid` in XGBoost's common/math.h.
    """
    powers = exponential32(np.minimum(-scores.astype(np.float32), _MOST))
    return _ONE / ((powers + _ONE) + _TINY)


def softmax32(scores: np.ndarray) -> np.ndarray:
    """exp(x - max) over the sum, which is added in double; float32 of shape [n, classes].

    Source: `Softmax` in XGBoost's common/math.h.
    """
    single = scores.astype(np.float32)
    powers = exponential32(single - single.max(axis=1, keepdims=True))
    total = np.zeros(len(powers))
    for column in range(powers.shape[1]):
        total = total + powers[:, column].astype(np.float64)
    return powers / total.astype(np.float32)[:, None]
