"""Golden rows: the rows whose answers every form must repeat.

They are chosen to be awkward: ordinary rows; nulls in each nullable column, in all of them; unseen categories;
extremes, zeros of both signs, subnormals, huge values; rows near the decision boundary; and for trees the doubles on
both sides of a split. Rows at which the Python object raises are kept apart: every form must reject them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from headrace.compiler.table import UNSEEN
from headrace.kernel.errors import HeadraceError, InvalidInput, SchemaViolation
from headrace.kernel.ports import AnswerArrays, Answers, Columns
from headrace.kernel.schema import Column, Scalar, Schema
from headrace.runtimes.bundle import GOLDEN_OUTPUTS, GOLDEN_REFUSED, GOLDEN_ROWS
from headrace.runtimes.reference import ReferenceScorer

ORDINARY, NEAR_BOUNDARY, SPLITS, REFUSED = 640, 120, 300, 40
LEAST, REPEATS = 1_000, 3


class Golden(NamedTuple):
    """Rows that the Python object answers, with its answers, and rows at which it raises."""

    columns: Columns
    rows: int
    answers: Answers
    refused: Columns
    refused_rows: int


def golden_rows(
    scorer: ReferenceScorer,
    example: Columns,
    rows: int,
    splits: Mapping[str, np.ndarray] | None = None,
    reach: float = np.inf,
) -> Golden:
    """Golden rows made of `rows` example rows, as lists.

    Args:
        splits: for columns that trees split, the largest double that goes to the left.
        reach: the largest magnitude at which the model's answer is defined in doubles.

    Raises:
        InvalidInput: the model raises at every one of them.
    """
    schema = scorer.schema
    ordinary = _take(example, _spaced(rows, ORDINARY))
    near = _take(example, _near_boundary(scorer, example, rows))
    awkward = [
        _changed(ordinary, {column.name: value}, repeat)
        for column in schema.features
        for value in _awkward(column)
        if not isinstance(value, int | float) or abs(value) <= reach
        for repeat in range(1 if isinstance(value, float) and abs(value) > 1e29 else REPEATS)
    ]
    nothing: dict[str, Scalar] = {column.name: None for column in schema.features if column.nullable}
    awkward += [_changed(ordinary, nothing, repeat) for repeat in range(REPEATS if nothing else 0)]
    awkward += _beside_splits(schema, ordinary, splits or {})
    parts = [ordinary, near, *awkward, *_mixed(ordinary, min(LEAST - _height(ordinary), rows * 8))]
    candidates = _stack(schema, parts)
    return _parted(scorer, candidates)


def _spaced(rows: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))


def _take(columns: Columns, index: Iterable[int]) -> Columns:
    index = list(index)
    return {name: _scalars(values, index) for name, values in columns.items()}


def _scalars(values: Any, index: list[int]) -> list[Scalar]:
    if isinstance(values, np.ndarray):
        chosen = values[index].tolist()
        return [None if value != value else value for value in chosen]
    return [values[i] for i in index]


def _near_boundary(scorer: ReferenceScorer, example: Columns, rows: int) -> np.ndarray:
    if scorer.task not in ("binary", "multiclass"):
        return np.empty(0, dtype=int)
    sample = _spaced(rows, 4000)
    try:
        probabilities = scorer.answer(_take(example, sample), len(sample)).probabilities
    except Exception:
        return np.empty(0, dtype=int)
    if probabilities is None:
        return np.empty(0, dtype=int)
    ordered = np.sort(np.asarray(probabilities), axis=1)
    if ordered.shape[1] < 2:
        return np.empty(0, dtype=int)
    distance = ordered[:, -1] - ordered[:, -2]
    return sample[np.argsort(distance, kind="stable")[:NEAR_BOUNDARY]]


def _awkward(column: Column) -> list[Scalar]:
    nothing: list[Scalar] = [None] if column.nullable else []
    low, high = column.minimum or 0.0, column.maximum or 0.0
    match column.type:
        case "string":
            return [*nothing, UNSEEN, "", *(column.categories or ())[:40]]
        case "integer":
            return [*nothing, 0, int(low), int(high), int(low) - 1, int(high) + 1, *_whole(column.dtype)]
        case "number":
            return [*nothing, 0.0, -0.0, low, high, low - 1.0, high * 1e3 + 1.0, *_tiny_and_huge(column.dtype)]
        case "boolean":
            return [*nothing, True, False]
    return nothing


def _whole(dtype: str) -> list[Scalar]:
    bits = int("".join(filter(str.isdigit, dtype)) or 64)
    signed = not dtype.lower().startswith("u")
    return [(1 << (bits - 1)) - 1, -(1 << (bits - 2))] if signed and bits <= 64 else [(1 << (bits - 1)) - 1]


def _tiny_and_huge(dtype: str) -> list[Scalar]:
    if "32" in dtype:
        return [1e-45, -1e-45, 0.1, 3e38, -3e38, 1e39]
    return [5e-324, -5e-324, 1e-310, 1e30, -1e30, 1e300, -1e300]


def _changed(ordinary: Columns, values: Mapping[str, Scalar], repeat: int) -> Columns:
    height = _height(ordinary)
    row = (repeat * 7919) % height
    base = {name: column[row : row + 1] for name, column in ordinary.items()}
    return {**base, **{name: [value] for name, value in values.items()}}


def _beside_splits(schema: Schema, ordinary: Columns, splits: Mapping[str, np.ndarray]) -> list[Columns]:
    numbers = {c.name: c for c in schema.features if c.type == "number" and c.name in splits}
    chosen: list[Columns] = []
    for name, column in numbers.items():
        edges = np.unique(splits[name][np.isfinite(splits[name])])
        step = np.float32 if "32" in column.dtype else np.float64
        beside = np.nextafter if step is np.float64 else _between_singles
        for place in _spaced(len(edges), max(1, SPLITS // (2 * len(numbers)))) if len(edges) else ():
            edge = step(edges[place])
            for value in (edge, beside(edge, step(np.inf))):
                if np.isfinite(value):
                    chosen.append(_changed(ordinary, {name: float(value)}, int(place)))
    return chosen


def _between_singles(edge: Any, towards: Any) -> float:
    """A double a little nearer to `edge` than half-way to the next float32; it is rounded to `edge` again."""
    return float(edge) + 0.49 * (float(np.nextafter(edge, towards)) - float(edge))


def _mixed(ordinary: Columns, wanted: int) -> list[Columns]:
    """More ordinary rows where the example is short: each column taken from another row."""
    height = _height(ordinary)
    if wanted <= 0 or height < 2:
        return []
    random = np.random.default_rng(0)
    return [_take_each(ordinary, random.integers(0, height, size=(len(ordinary), wanted)))]


def _take_each(columns: Columns, index: np.ndarray) -> Columns:
    return {name: [values[i] for i in places] for (name, values), places in zip(columns.items(), index, strict=True)}


def _height(columns: Columns) -> int:
    return len(next(iter(columns.values()), []))


def _stack(schema: Schema, parts: list[Columns]) -> Columns:
    return {c.name: [value for part in parts for value in part[c.name]] for c in schema.features}


def _parted(scorer: ReferenceScorer, columns: Columns) -> Golden:
    rows = _height(columns)
    good: list[int] = []
    bad: list[int] = []
    _divide(scorer, columns, list(range(rows)), good, bad)
    if not good:
        scorer.answer(_take(columns, [0]), 1)
        raise InvalidInput("The model answers no row of its example alone.", todo="See its predict with one row.")
    answers = scorer.answer(_take(columns, good), len(good))
    finite = [row for row, is_finite in zip(good, _finite(answers), strict=True) if is_finite] or good
    if len(finite) < len(good):
        good, answers = finite, scorer.answer(_take(columns, finite), len(finite))
    chosen = [bad[i] for i in _spaced(len(bad), REFUSED)] if bad else []
    return Golden(_take(columns, good), len(good), answers, _take(columns, chosen), len(chosen))


def _finite(answers: Answers) -> list[bool]:
    """Which answers are finite: JSON has no other numbers, so no form over HTTP could repeat the rest."""
    numbers = np.asarray(answers.probabilities or answers.predictions)
    if numbers.dtype.kind != "f":
        return [True] * len(answers.predictions)
    return np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1).tolist()


def _divide(scorer: ReferenceScorer, columns: Columns, index: list[int], good: list[int], bad: list[int]) -> None:
    """Halve the rows until those at which the object raises stand alone."""
    try:
        scorer.answer(_take(columns, index), len(index))
    except Exception as error:
        if isinstance(error, HeadraceError) and not isinstance(error, SchemaViolation):
            raise
        if len(index) == 1:
            bad += index
            return
        middle = len(index) // 2
        _divide(scorer, columns, index[:middle], good, bad)
        _divide(scorer, columns, index[middle:], good, bad)
    else:
        good += index


def rows_frame(schema: Schema, columns: Columns) -> pl.DataFrame:
    """Golden rows as they are stored in the bundle."""
    types = {"boolean": pl.Boolean, "integer": pl.Int64, "number": pl.Float64}
    return pl.DataFrame(
        [pl.Series(c.name, list(columns[c.name]), dtype=types.get(c.type, pl.String)) for c in schema.features]
    )


def stored_columns(frame: pl.DataFrame) -> Columns:
    """Stored golden rows as columns again."""
    return {series.name: series.to_list() for series in frame}


def stored_golden(folder: Path) -> Golden:
    """The golden rows in a bundle."""
    columns = stored_columns(pl.read_ipc(folder / GOLDEN_ROWS))
    outputs = pl.read_ipc(folder / GOLDEN_OUTPUTS)
    refused = pl.read_ipc(folder / GOLDEN_REFUSED)
    shares = outputs.drop("prediction")
    probabilities = [list(row) for row in shares.rows()] if shares.width else None
    answers = Answers(outputs["prediction"].to_list(), probabilities)
    return Golden(columns, outputs.height, answers, stored_columns(refused), refused.height)


def answers_frame(answers: Answers | AnswerArrays, classes: tuple[Scalar, ...]) -> pl.DataFrame:
    """Answers as people get them: `prediction`, and `probability.<class>` with the class spelled as in JSON."""
    said = answers.predictions
    said = said.tolist() if isinstance(said, np.ndarray) and said.dtype == object else said
    frame = pl.DataFrame({"prediction": pl.Series(said)})
    if answers.probabilities is None:
        return frame
    table = np.asarray(answers.probabilities, dtype=np.float64).reshape(len(answers.predictions), -1)
    return frame.with_columns([pl.Series(f"probability.{class_name(c)}", table[:, i]) for i, c in enumerate(classes)])


def class_name(value: Scalar) -> str:
    """A class as JSON spells it: ``true``, ``0``, ``low``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
