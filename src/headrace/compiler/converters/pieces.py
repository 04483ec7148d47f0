"""Functions made of pieces: which interval a number lies in, and what is computed there."""

from __future__ import annotations

import numpy as np

from headrace.compiler.tensor import Tensor
from headrace.compiler.trees import Tree, ensemble


def interval(x: Tensor, edges: np.ndarray) -> Tensor:
    """How many of the sorted `edges` are at most x, for one column; NaN counts as past all of them.

    A balanced tree finds it; x < edge is the same as x <= the double before the edge.
    """
    edges = np.asarray(edges, dtype=np.float64)
    if not len(edges):
        return (x * 0.0).isnan().where(0.0, 0.0 * x)
    before = np.nextafter(edges, -np.inf)
    return ensemble(x, [_searching(before)], 1)


def interpolated(x: Tensor, xs: np.ndarray, ys: np.ndarray) -> Tensor:
    """`numpy.interp`, for one column: the same operations in the same order."""
    xs, ys = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.diff(ys) / np.diff(xs)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    table = np.column_stack(
        [
            np.concatenate([[0.0], slopes, [0.0]]),
            np.concatenate([[0.0], xs[:-1], [0.0]]),
            np.concatenate([[ys[0]], ys[:-1], [ys[-1]]]),
        ]
    )
    piece = interval(x, xs).lookup(table)
    return (x - piece.pick([1])) * piece.pick([0]) + piece.pick([2])


def _searching(thresholds: np.ndarray) -> Tree:
    """The balanced tree whose leaf says how many thresholds are less than x."""
    feature: list[int] = []
    nodes: list[tuple[float, int, int, float]] = []

    def grow(low: int, high: int) -> int:
        place = len(nodes)
        feature.append(0)
        if low == high:
            nodes.append((0.0, -1, -1, float(low)))
            return place
        middle = (low + high) // 2
        nodes.append((float(thresholds[middle]), 0, 0, 0.0))
        left = grow(low, middle)
        right = grow(middle + 1, high)
        nodes[place] = (float(thresholds[middle]), left, right, 0.0)
        return place

    grow(0, len(thresholds))
    threshold, left, right, value = (np.array(part) for part in zip(*nodes, strict=True))
    return Tree(
        feature=np.array(feature),
        threshold=threshold,
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        missing_left=np.zeros(len(nodes), dtype=bool),
        values=value[:, None],
    )


_P0 = (
    -5.99633501014107895267e1,
    9.80010754185999661536e1,
    -5.66762857469070293439e1,
    1.39312609387279679503e1,
    -1.23916583867381258016e0,
)
_Q0 = (
    1.0,
    1.95448858338141759834e0,
    4.67627912898881538453e0,
    8.63602421390890590575e1,
    -2.25462687854119370527e2,
    2.00260212380060660359e2,
    -8.20372256168333339912e1,
    1.59056225126211695515e1,
    -1.18331621121330003142e0,
)
_P1 = (
    4.05544892305962419923e0,
    3.15251094599893866154e1,
    5.71628192246421288162e1,
    4.40805073893200834700e1,
    1.46849561928858024014e1,
    2.18663306850790267539e0,
    -1.40256079171354495875e-1,
    -3.50424626827848203418e-2,
    -8.57456785154685413611e-4,
)
_Q1 = (
    1.0,
    1.57799883256466749731e1,
    4.53907635128879210584e1,
    4.13172038254672030440e1,
    1.50425385692907503408e1,
    2.50464946208309415979e0,
    -1.42182922854787788574e-1,
    -3.80806407691578277194e-2,
    -9.33259480895457427372e-4,
)
_SQRT_2_PI = 2.50662827463100050242
_EXP_MINUS_2 = 0.13533528323661269189


def ndtri(p: Tensor, low: float, high: float) -> Tensor:
    """The normal distribution's percent point at p clipped to [low, high], both farther than 1e-13 from 0 and 1.

    Source: Cephes `ndtri`, the rational approximations that scipy uses.
    """
    p = p.clip(low, high)
    upper = p > 1.0 - _EXP_MINUS_2
    tail = upper.where(1.0 - p, p)
    central = tail - 0.5
    square = central * central
    middle = (central + central * (square * _polynomial(square, _P0) / _polynomial(square, _Q0))) * _SQRT_2_PI
    x = (tail.log() * -2.0).sqrt()
    z = 1.0 / x
    far = x - x.log() / x - z * _polynomial(z, _P1) / _polynomial(z, _Q1)
    signed = upper.where(far, -far)
    out = (tail > _EXP_MINUS_2).where(middle, signed)
    out.exact = False
    return out


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total: Tensor | None = None
    for place, coefficient in enumerate(coefficients[1:]):
        previous = x * coefficients[0] if place == 0 else x * total  # type: ignore[operator]
        total = previous + coefficient
    if total is None:
        raise ValueError("a polynomial has at least two coefficients")
    return total
