"""Golden rows: the rows whose answers every form must repeat.

They are chosen to be awkward: ordinary rows, nulls in each nullable column, unseen categories, extremes and
signed zeros, and rows near the decision threshold. Rows at which the Python object itself raises are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from headrace.kernel.errors import HeadraceError, InvalidInput
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.schema import Column, Scalar, Schema
from headrace.runtimes.reference import ReferenceScorer

ORDINARY, NEAR_THRESHOLD = 160, 40
UNSEEN = "\u00ab unseen \u00bb"


def golden_rows(scorer: ReferenceScorer, example: Columns, rows: int) -> tuple[Columns, int]:
    """Golden rows made of `rows` example rows, as lists, and how many they are.

    Raises:
        InvalidInput: the model raises at every one of them.
    """
    ordinary = _take(example, np.unique(np.linspace(0, rows - 1, min(rows, ORDINARY)).astype(int)))
    near = _take(example, _near_threshold(scorer, example, rows))
    awkward = [_changed(ordinary, c, v) for c in scorer.schema.features for v in _awkward(c)]
    candidates = _stack(scorer.schema, [ordinary, near, *awkward])
    return _answerable(scorer, candidates)


def _take(columns: Columns, index: Iterable[int]) -> Columns:
    index = list(index)
    return {name: _scalars(values, index) for name, values in columns.items()}


def _scalars(values: Any, index: list[int]) -> list[Scalar]:
    if isinstance(values, np.ndarray):
        chosen = values[index].tolist()
        return [None if value != value else value for value in chosen]
    return [values[i] for i in index]


def _near_threshold(scorer: ReferenceScorer, example: Columns, rows: int) -> np.ndarray:
    if scorer.task != "binary":
        return np.empty(0, dtype=int)
    sample = np.unique(np.linspace(0, rows - 1, min(rows, 2000)).astype(int))
    probabilities = scorer.answer(_take(example, sample), len(sample)).probabilities
    if probabilities is None:
        return np.empty(0, dtype=int)
    distance = np.abs(np.asarray(probabilities)[:, 1] - 0.5)
    return sample[np.argsort(distance, kind="stable")[:NEAR_THRESHOLD]]


def _awkward(column: Column) -> list[Scalar]:
    nothing: list[Scalar] = [None] if column.nullable else []
    low, high = column.minimum or 0.0, column.maximum or 0.0
    match column.type:
        case "string":
            return [*nothing, UNSEEN, ""]
        case "integer":
            return [*nothing, 0, int(low) - 1, int(high) + 1]
        case "number":
            return [*nothing, 0.0, -0.0, low, high, low - 1.0, high * 1e3 + 1.0, 5e-324]
        case _:
            return nothing


def _changed(ordinary: Columns, column: Column, value: Scalar) -> Columns:
    first = {name: values[:1] for name, values in ordinary.items()}
    return {**first, column.name: [value]}


def _stack(schema: Schema, parts: list[Columns]) -> Columns:
    return {c.name: [value for part in parts for value in part[c.name]] for c in schema.features}


def _answerable(scorer: ReferenceScorer, columns: Columns) -> tuple[Columns, int]:
    rows = len(next(iter(columns.values()), []))
    try:
        scorer.answer(columns, rows)
        return columns, rows
    except Exception:
        kept = [i for i in range(rows) if _answers(scorer, columns, i)]
    if not kept:
        scorer.answer(columns, rows)
        raise InvalidInput("The model answers no row of its example alone.", todo="See its predict with one row.")
    return _take(columns, kept), len(kept)


def _answers(scorer: ReferenceScorer, columns: Columns, row: int) -> bool:
    try:
        scorer.answer({name: values[row : row + 1] for name, values in columns.items()}, 1)
    except HeadraceError:
        raise
    except Exception:
        return False
    return True


def rows_frame(schema: Schema, columns: Columns) -> pl.DataFrame:
    """Golden rows as they are stored in the bundle."""
    types = {"boolean": pl.Boolean, "integer": pl.Int64, "number": pl.Float64}
    return pl.DataFrame(
        [pl.Series(c.name, list(columns[c.name]), dtype=types.get(c.type, pl.String)) for c in schema.features]
    )


def stored_columns(frame: pl.DataFrame) -> Columns:
    """Stored golden rows as columns again."""
    return {series.name: series.to_list() for series in frame}


def answers_frame(answers: Answers, classes: tuple[Scalar, ...]) -> pl.DataFrame:
    """Answers as people get them: `prediction`, and `probability.<class>` with the class spelled as in JSON."""
    frame = pl.DataFrame({"prediction": pl.Series(answers.predictions)})
    if answers.probabilities is None:
        return frame
    table = np.asarray(answers.probabilities, dtype=np.float64).reshape(len(answers.predictions), -1)
    return frame.with_columns([pl.Series(f"probability.{class_name(c)}", table[:, i]) for i, c in enumerate(classes)])


def class_name(value: Scalar) -> str:
    """A class as JSON spells it: ``true``, ``0``, ``low``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
