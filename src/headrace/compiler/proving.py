"""Graph or reference is chosen by proof: a compiled form is kept only where it repeats the Python object's answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from headrace.compiler.certificate import agreement, rows_of
from headrace.compiler.compiling import Compiled, compile_fitted
from headrace.compiler.golden import Golden
from headrace.compiler.uncompiled import NotCompiled
from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.encoding import Encoding
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.plan import Vector
from headrace.runtimes.reference import ReferenceScorer

VECTORS = 12
STEADY_ROWS = 200
MOST_EXAMPLE = 20_000


def try_compile(fitted: Any, schema: Schema, task: Task, classes: tuple[Scalar, ...]) -> tuple[Compiled | None, str]:
    """The compiled form, or the reason why there is none, in a sentence that names the step."""
    try:
        return compile_fitted(fitted, schema, task, classes), ""
    except NotCompiled as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(fitted).__name__}: its converter failed with {type(error).__name__}: {error}"


def proved(
    compiled: Compiled, reference: ReferenceScorer, golden: Golden, example: Columns, rows: int
) -> tuple[Compiled | None, str]:
    """The compiled form with its test vectors, if it repeats the object's answers at level L2 or better; else why not.

    Args:
        example: `rows` rows; the first `MOST_EXAMPLE` of them are compared beside the golden rows.
    """
    scorer = compiled.scorer
    try:
        answers = scorer.answer(golden.columns, golden.rows)
        unsteady = _unsteady(scorer, golden, answers)
    except SchemaViolation as error:
        return None, f"the compiled form refuses a row that the object answers: {error.text}"
    except Exception as error:
        return None, f"the compiled form fails with {type(error).__name__}: {error}"
    level, worst, flipped = agreement(golden.answers, answers)
    if level not in ("L1", "L2"):
        where = _worst_row(golden, answers)
        return None, f"the compiled form differs by up to {worst:.3g} ({flipped} decisions flipped), first at {where}"
    strange = unsteady or _on_example(scorer, reference, example, rows)
    if strange:
        return None, strange
    for row in range(golden.refused_rows):
        one = {name: values[row : row + 1] for name, values in golden.refused.items()}
        try:
            scorer.answer(one, 1)
        except SchemaViolation:
            continue
        return None, f"the compiled form answers a row at which the object raises: {_shown(one)}"
    return replace(compiled, plan=msgspec.structs.replace(compiled.plan, vectors=_vectors(compiled, golden))), ""


def _on_example(scorer: GraphScorer, reference: ReferenceScorer, example: Columns, rows: int) -> str:
    """What is wrong on the example itself, whose values are most likely those at which a model jumps; else nothing."""
    count = min(rows, MOST_EXAMPLE)
    columns = {name: values[:count] for name, values in example.items()}
    try:
        expected = reference.answer(columns, count)
    except Exception:
        return ""
    try:
        level, worst, flipped = agreement(expected, scorer.answer(columns, count))
    except SchemaViolation as error:
        return f"the compiled form refuses a row of the example: {error.text}"
    if level in ("L1", "L2"):
        return ""
    return f"the compiled form differs on the example by up to {worst:.3g} ({flipped} decisions flipped)"


def _unsteady(scorer: GraphScorer, golden: Golden, whole: Answers) -> str:
    """What is wrong where the bits of an answer depend on the rows beside it; else nothing."""
    for size in (1, 2, 37):
        rows = min(golden.rows, STEADY_ROWS * size)
        for start in range(0, rows, size):
            count = min(size, rows - start)
            part = {name: values[start : start + count] for name, values in golden.columns.items()}
            if agreement(rows_of(whole, start, count), scorer.answer(part, count))[0] != "L1":
                return f"the bits of the compiled form depend on the batch ({count} rows at a time)"
    return ""


def _vectors(compiled: Compiled, golden: Golden) -> tuple[Vector, ...]:
    encoding = Encoding(compiled.plan.encoders)
    chosen = np.unique(np.linspace(0, golden.rows - 1, min(VECTORS, golden.rows)).astype(int)).tolist()
    columns = {name: [values[row] for row in chosen] for name, values in golden.columns.items()}
    matrix = encoding.encode(columns, len(chosen))
    return tuple(
        Vector(
            {name: values[place] for name, values in columns.items()},
            tuple(None if value != value else value for value in matrix[place].tolist()),
        )
        for place in range(len(chosen))
    )


def _worst_row(golden: Golden, answers: Answers) -> str:
    for row in range(golden.rows):
        one = [rows_of(a, row, 1) for a in (golden.answers, answers)]
        if agreement(one[0], one[1])[0] not in ("L1", "L2"):
            return _shown({name: values[row : row + 1] for name, values in golden.columns.items()})
    return "no single row"


def _shown(columns: dict[str, list[Scalar]]) -> str:
    return f"{ {name: values[0] for name, values in columns.items()} }"[:200]
