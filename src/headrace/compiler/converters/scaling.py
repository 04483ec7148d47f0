"""Scalers and elementwise functions of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.compiler.converters.pieces import interpolated, ndtri
from headrace.compiler.converting import converts
from headrace.compiler.table import Table, slots
from headrace.compiler.tensor import Tensor, concat, constant_rows
from headrace.compiler.uncompiled import NotCompiled


def shifted(x: Tensor, centre: Any, scale: Any) -> Tensor:
    """(x - centre) / scale; what is None is left out."""
    x.require_bounded()
    x = x if centre is None else x - centre
    return x if scale is None else x / scale


@converts("sklearn.StandardScaler")
def standard_scaler(step: Any, x: Tensor) -> Tensor:
    """(x - mean) / scale."""
    return shifted(x, step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


@converts("sklearn.MinMaxScaler")
def min_max_scaler(step: Any, x: Tensor) -> Tensor:
    """x · scale + min."""
    x.require_bounded()
    x = x * step.scale_ + step.min_
    return x.clip(*map(float, step.feature_range)) if step.clip else x


@converts("sklearn.MaxAbsScaler")
def max_abs_scaler(step: Any, x: Tensor) -> Tensor:
    """x / scale."""
    x = shifted(x, None, step.scale_)
    return x.clip(-1.0, 1.0) if getattr(step, "clip", False) else x


@converts("sklearn.RobustScaler")
def robust_scaler(step: Any, x: Tensor) -> Tensor:
    """(x - center) / scale."""
    return shifted(x, step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None)


@converts("sklearn.Normalizer")
def normalizer(step: Any, x: Tensor) -> Tensor:
    """Each row over its norm, or as it is where that is zero."""
    x.require_finite()
    size = x.absolute()
    match step.norm:
        case "l1":
            norm = size.total()
        case "l2":
            norm = (x * x).total().sqrt()
        case _:
            norm = size.largest()
    return x / (norm < 10 * np.finfo(np.float64).eps).where(1.0, norm)


@converts("sklearn.Binarizer", single=True)
def binarizer(step: Any, x: Tensor) -> Tensor:
    """1 past the threshold, else 0."""
    out = (x.require_finite().require_exact() > float(step.threshold)).doubles()
    out.dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    return out


@converts("sklearn.PolynomialFeatures")
def polynomial_features(step: Any, x: Tensor) -> Tensor:
    """Products of columns, each grown from a shorter one as scikit-learn does."""
    x.require_finite()
    made: dict[tuple[int, ...], Tensor] = {}
    rows: list[Tensor] = []
    for powers in step.powers_.tolist():
        places = tuple(place for place, power in enumerate(powers) for _ in range(power))
        rows.append(_product(x, places, made) if places else constant_rows(x, np.ones(1)))
    return concat(rows)


def _product(x: Tensor, places: tuple[int, ...], made: dict[tuple[int, ...], Tensor]) -> Tensor:
    if places not in made:
        last = x.pick([places[0]])
        made[places] = last if len(places) == 1 else _product(x, places[1:], made) * last
    return made[places]


@converts("sklearn.PowerTransformer")
def power_transformer(step: Any, x: Tensor) -> Tensor:
    """Yeo-Johnson or Box-Cox by column, then scaled."""
    x.require_bounded()
    transform = _box_cox if step.method == "box-cox" else _yeo_johnson
    x = concat([transform(x.pick([place]), float(power)) for place, power in enumerate(step.lambdas_)])
    return standard_scaler(step._scaler, x) if step.standardize else x


def _yeo_johnson(x: Tensor, power: float) -> Tensor:
    up, down = (x < 0.0).where(0.0, x), (x < 0.0).where(x, 0.0)
    left = _box_cox_1p(up, power)
    right = -_box_cox_1p(-down, 2.0 - power)
    return (x < 0.0).where(right, left)


def _box_cox_1p(x: Tensor, power: float) -> Tensor:
    if abs(power) < np.spacing(1.0):
        return log1p(x)
    return expm1(log1p(x) * power) / power


def _box_cox(x: Tensor, power: float) -> Tensor:
    x.graph.checks.append((x <= 0.0).where(np.nan, x.isnan().where(0.0, x * 0.0)).name)
    return x.log() if abs(power) < 1e-19 else expm1(x.log() * power) / power


@converts("sklearn.QuantileTransformer")
def quantile_transformer(step: Any, x: Tensor) -> Tensor:
    """The mean of two interpolations over the quantiles, and the normal's percent point where asked."""
    x.require_bounded().require_exact()
    return concat([_quantile(step, x.pick([place]), step.quantiles_[:, place]) for place in range(x.width)])


def _quantile(step: Any, x: Tensor, quantiles: np.ndarray) -> Tensor:
    references = step.references_
    up = interpolated(x, quantiles, references)
    down = interpolated(-x, -quantiles[::-1], -references[::-1])
    middle = (up - down) * 0.5
    if step.output_distribution == "uniform":
        middle = x.equals(float(quantiles[-1])).where(1.0, middle)
        return x.equals(float(quantiles[0])).where(0.0, middle)
    threshold = 1e-7
    middle = (x + threshold > float(quantiles[-1])).where(1.0, middle)
    middle = (x - threshold < float(quantiles[0])).where(0.0, middle)
    return ndtri(middle, threshold - np.spacing(1), 1 - (threshold - np.spacing(1)))


def log1p(x: Tensor) -> Tensor:
    """log(1 + x), right for small x too (Kahan): log(u) · x / (u - 1) with u = 1 + x."""
    whole = x + 1.0
    rest = whole - 1.0
    factor = rest.equals(0.0).where(1.0, x / rest.equals(0.0).where(1.0, rest))
    near = rest.equals(0.0).where(x, whole.log() * factor)
    return (x.absolute() > 1e300).where(x.log(), near)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, right for small x too (Kahan): (u - 1) · x / log(u) with u = exp(x)."""
    power = x.exp()
    small = power.equals(1.0)
    low = power < 1e-300
    logs = (small | low).where(np.e, power).log()
    near = small.where(x, (power - 1.0) * x / logs)
    near = low.where(-1.0, near)
    return (x > 50.0).where(power - 1.0, near)


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": Tensor.log,
    "log1p": log1p,
    "log2": lambda x: x.log() * (1 / np.log(2)),
    "log10": lambda x: x.log() * (1 / np.log(10)),
    "exp": Tensor.exp,
    "expm1": expm1,
    "sqrt": Tensor.sqrt,
    "abs": Tensor.absolute,
    "absolute": Tensor.absolute,
    "fabs": Tensor.absolute,
    "square": lambda x: x * x,
    "negative": lambda x: -x,
    "reciprocal": lambda x: 1.0 / x,
    "sin": Tensor.sine,
    "cos": Tensor.cosine,
    "tanh": Tensor.tanh,
    "sign": lambda x: x.derive("Sign"),
    "floor": lambda x: x.derive("Floor"),
    "ceil": lambda x: x.derive("Ceil"),
    "rint": lambda x: x.derive("Round"),
    "isnan": lambda x: x.isnan().doubles(),
}


_PROMOTING = ("log", "log1p", "log2", "log10", "exp", "expm1", "sqrt", "sin", "cos", "tanh", "floor", "ceil", "rint")


def known_function(function: Any) -> Callable[[Tensor], Tensor]:
    """The operators of a function of numpy.

    Raises:
        NotCompiled: it is another function.
    """
    if isinstance(function, np.ufunc) and function.__name__ in _FUNCTIONS:
        return _FUNCTIONS[function.__name__]
    name = getattr(function, "__qualname__", repr(function))
    raise NotCompiled(f"its function {name!r} is not one of numpy's that are known: {', '.join(sorted(_FUNCTIONS))}")


@converts("sklearn.FunctionTransformer", takes="table")
def function_transformer(step: Any, table: Table) -> Table:
    """A known function of each number; none is the identity."""
    if step.func is None or _is_check(step.func):
        return table
    if step.kw_args:
        raise NotCompiled("its function takes further arguments")
    name = getattr(step.func, "__name__", "")
    wide = {"f8"} | ({"i8", "i4", "u8", "u4"} if name in _PROMOTING else set())
    if any(dtype.str[1:] not in wide for dtype in table.dtypes()):
        raise NotCompiled(f"its function {name!r} is given other numbers than doubles, and numpy keeps their type")
    x = table.tensor()
    if step.validate:
        x.require_finite()
    return slots(table.source, known_function(step.func)(x))


def _is_check(function: Any) -> bool:
    return getattr(getattr(function, "func", None), "__name__", "") == "check_array"
