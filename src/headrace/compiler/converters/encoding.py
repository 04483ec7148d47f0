"""Imputers, indicators and encoders of categories: texts by tables of the transformer's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converters.pieces import interval
from headrace.compiler.converting import converts
from headrace.compiler.table import (
    Known,
    Raw,
    Table,
    is_known,
    side_by_side,
    slots,
)
from headrace.compiler.tabulating import tabulate
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled


def know_categories(table: Table, categories: Any) -> None:
    """Let the request's columns know the values that an encoder learnt of them."""
    for cell, values in zip(table.cells, categories, strict=True):
        if is_known(cell):
            raw = cell.column.name if isinstance(cell, Raw) else cell.raw if isinstance(cell, Known) else ""
            table.source.know(raw, list(values))


def encoded(step: Any, table: Table, categories: Any, widths: Any, strict: bool, finite: bool) -> Table:
    """The outputs of an encoder of categories, `widths[j]` of them for column j."""
    know_categories(table, categories)
    numbers = {
        place: _numbers(values)
        for place, (cell, values) in enumerate(zip(table.cells, categories, strict=True))
        if not is_known(cell)
    }
    owners = [place for place, width in enumerate(widths) for _ in range(int(width))]
    dtype = getattr(step, "dtype", np.float64)
    return tabulate(table, step.transform, owners, numbers=numbers, strict=strict, finite=finite, dtype=dtype)


def _numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotCompiled("a column of numbers is encoded by categories that are texts") from error


@converts("sklearn.OneHotEncoder", takes="table")
def one_hot_encoder(step: Any, table: Table) -> Table:
    """A column for each category, as the encoder itself answers."""
    return encoded(
        step, table, step.categories_, step._n_features_outs, step.handle_unknown in ("error", "warn"), finite=True
    )


@converts("sklearn.OrdinalEncoder", takes="table")
def ordinal_encoder(step: Any, table: Table) -> Table:
    """The place of the category, as the encoder itself answers."""
    return encoded(step, table, step.categories_, [1] * table.width, step.handle_unknown == "error", finite=False)


@converts("sklearn.TargetEncoder", takes="table")
def target_encoder(step: Any, table: Table) -> Table:
    """The mean of the target in the category, as the encoder itself answers."""
    width = len(step.classes_) if step.target_type_ == "multiclass" else 1
    return encoded(step, table, step.categories_, [width] * table.width, strict=False, finite=True)


@converts("sklearn.SimpleImputer", takes="table")
def simple_imputer(step: Any, table: Table) -> Table:
    """What is missing is filled; a column without any value seen is dropped unless it is to be kept."""
    statistics = np.asarray(step.statistics_, dtype=object)
    kept = [p for p, s in enumerate(statistics) if step.keep_empty_features or not _is_nan(s)]
    filled = [_filled(step, table.pick([place]), statistics[place]) for place in kept]
    if step.indicator_ is not None:
        filled.append(missing_indicator(step.indicator_, table))
    return side_by_side(_merged(table, filled))


def _merged(table: Table, parts: list[Table]) -> list[Table]:
    """Parts as they are: cells of one tensor meet again when they are read."""
    return [part for part in parts if part.width] or [table.pick([])]


def _filled(step: Any, table: Table, statistic: Any) -> Table:
    cell = table.cells[0]
    if is_known(cell):
        know_categories(table, [[statistic, step.missing_values]])
        return tabulate(table, _filler(step.missing_values, statistic), [0])
    x = table.tensor().require_bounded()
    if _is_nan(step.missing_values):
        return table if x.finite else slots(table.source, x.filled(np.array([float(statistic or 0.0)])))
    missing = _missing(x, step.missing_values)
    out = missing.where(float(0.0 if statistic is None else statistic), x)
    out.dtype = x.dtype
    return slots(table.source, out)


def _filler(missing: Any, statistic: Any) -> Any:
    def fill(frame: Any) -> np.ndarray:
        values = frame.to_numpy() if hasattr(frame, "to_numpy") else np.asarray(frame)
        out = values.astype(object)
        for row in range(len(out)):
            if _matches(out[row, 0], missing):
                out[row, 0] = statistic
        return out

    return fill


def _matches(value: Any, missing: Any) -> bool:
    if type(missing).__name__ == "NAType":
        return value is None or _is_nan(value)
    if _is_nan(missing):
        return value is not None and _is_nan(value)
    return value is None if missing is None else value == missing


def _is_nan(value: Any) -> bool:
    try:
        return bool(value != value)
    except TypeError:
        return True


def _missing(x: Tensor, missing: Any) -> Tensor:
    if missing is None:
        raise NotCompiled("it looks for None among numbers")
    return x.isnan() if _is_nan(missing) else x.require_finite().equals(float(missing))


@converts("sklearn.MissingIndicator", takes="table")
def missing_indicator(step: Any, table: Table) -> Table:
    """1 where a value is missing, for the columns where some were."""
    chosen = table.pick([int(place) for place in step.features_])
    if step.error_on_new and step.features == "missing-only" and chosen.width < table.width:
        _reject_new(step, table, [p for p in range(table.width) if p not in set(step.features_.tolist())])
    parts: list[Table] = []
    for place in range(chosen.width):
        one = chosen.pick([place])
        if is_known(one.cells[0]):
            know_categories(one, [[step.missing_values]])
            parts.append(tabulate(one, _tester(step.missing_values), [0], finite=True))
        else:
            parts.append(slots(table.source, _missing(one.tensor(), step.missing_values).doubles()))
    return side_by_side(parts) if parts else table.pick([])


def _reject_new(step: Any, table: Table, places: list[int]) -> None:
    for place in places:
        one = table.pick([place])
        if not is_known(one.cells[0]):
            missing = _missing(one.tensor(), step.missing_values)
            table.source.graph.checks.append(missing.where(np.nan, one.tensor() * 0.0).name)


def _tester(missing: Any) -> Any:
    def test(frame: Any) -> np.ndarray:
        values = frame.to_numpy() if hasattr(frame, "to_numpy") else np.asarray(frame)
        return np.array([[float(_matches(row[0], missing))] for row in values.astype(object)])

    return test


@converts("sklearn.KBinsDiscretizer")
def bins(step: Any, x: Tensor) -> Table | Tensor:
    """The bin that a number falls in, or a column for each bin."""
    if step.dtype is not None and np.dtype(step.dtype) != np.float64:
        raise NotCompiled(f"it rounds numbers to {np.dtype(step.dtype)} before it sorts them into bins")
    x.require_finite().require_exact()
    places = [interval(x.pick([j]), edges[1:-1]) for j, edges in enumerate(step.bin_edges_)]
    if step.encode == "ordinal":
        return concat(places)
    return concat([p.equals(np.arange(float(n))).doubles() for p, n in zip(places, step.n_bins_, strict=True)])


@converts("sklearn.SplineTransformer")
def splines(step: Any, x: Tensor) -> Tensor:
    """B-splines by column, from their polynomial pieces."""
    if step.extrapolation == "linear" and step.degree <= 1 and x.width > 1:
        raise NotCompiled("with straight pieces scikit-learn moves the boundary of every column but the first")
    if step.extrapolation not in ("constant", "linear", "continue", "periodic", "error"):
        raise NotCompiled(f"its extrapolation {step.extrapolation!r} is not covered")
    missing = getattr(step, "handle_missing", "error") == "zeros"
    if missing:
        x.require_bounded()
    else:
        x.require_finite()
    parts = [_spline(step, x.pick([place]), spline, missing) for place, spline in enumerate(step.bsplines_)]
    width = parts[0].width
    return concat([part if step.include_bias else part.pick(range(width - 1)) for part in parts])


def _spline(step: Any, x: Tensor, spline: Any, missing: bool) -> Tensor:
    from scipy.interpolate import PPoly

    degree = spline.k
    low, high = float(spline.t[degree]), float(spline.t[-degree - 1])
    present = x.isnan().where(low, x) if missing else x
    inside = _wrapped(present, low, high) if step.extrapolation == "periodic" else present
    if step.extrapolation in ("constant", "linear"):
        inside = inside.clip(low, high)
    if step.extrapolation == "error":
        outside = (present < low) | (present > high)
        x.graph.checks.append(outside.where(np.nan, present * 0.0).name)
    pieces = [PPoly.from_spline((spline.t, spline.c[:, j], degree)) for j in range(spline.c.shape[1])]
    knots = pieces[0].x
    first, last = degree, len(knots) - degree - 1
    table = np.column_stack([piece.c[:, first:last].T for piece in pieces] + [knots[first:last]])
    piece = interval(inside, knots[first + 1 : last]).lookup(np.ascontiguousarray(table))
    local = inside - piece.pick([table.shape[1] - 1])
    width, order = len(pieces), degree + 1
    out = piece.pick([j * order for j in range(width)])
    for power in range(1, order):
        out = out * local + piece.pick([j * order + power for j in range(width)])
    if step.extrapolation == "linear":
        out = _continued(out, present, spline, low, high)
    out.exact = False
    return x.isnan().where(0.0, out) if missing else out


def _wrapped(x: Tensor, low: float, high: float) -> Tensor:
    span = high - low
    rest = (x - low).derive("Mod", span, fmod=1)
    return (rest < 0.0).where(rest + span, rest) + low


def _continued(out: Tensor, x: Tensor, spline: Any, low: float, high: float) -> Tensor:
    below = np.asarray(spline(low)), np.asarray(spline(low, nu=1))
    above = np.asarray(spline(high)), np.asarray(spline(high, nu=1))
    out = (x < low).where((x - low) * below[1] + below[0], out)
    return (x > high).where((x - high) * above[1] + above[0], out)
