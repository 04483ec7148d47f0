"""Holding a compiled form against its object on requests of any kind."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from headrace.compiler.proving import try_compile
from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.kernel.errors import SchemaViolation
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.reference import ReferenceScorer, describe_fitted


def compiled_scorer(fitted: Any, train: Any) -> tuple[GraphScorer | None, ReferenceScorer, str]:
    """The compiled form, the object behind the same words, and the reason where there is no compiled form."""
    schema = infer_schema(train, to_polars(train)).for_model()
    task, classes = describe_fitted(fitted, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled, reason = try_compile(fitted, schema, task, classes)
    scorer = GraphScorer(compiled.plan, compiled.graph, schema, task, classes) if compiled else None
    return scorer, ReferenceScorer(fitted, schema, task, classes), reason


def hold_rows(fitted: Any, train: Any, request: Any, *, exact: bool = False) -> str:
    """Row by row the compiled form answers what the object answers and rejects where it raises; the runtime found.

    Args:
        exact: the bits must be the same; else |Δ| <= 1e-12 · max(1, |reference|).
    """
    graph, reference, _ = compiled_scorer(fitted, train)
    if graph is None:
        return "reference"
    frame = conform(to_polars(request), reference.schema)
    columns = columns_of(frame, reference.schema)
    good: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in range(frame.height):
            one = {name: list(values[row : row + 1]) for name, values in columns.items()}
            try:
                expected = reference.answer(one, 1)
            except Exception:
                try:
                    graph.answer(one, 1)
                except SchemaViolation:
                    continue
                raise AssertionError(f"it answers a row at which the object raises: {one}") from None
            good.append(row)
            _same(expected, graph.answer(one, 1), exact, one)
    if good:
        part = {name: [values[row] for row in good] for name, values in columns.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = reference.answer(part, len(good))
        _same(expected, graph.answer(part, len(good)), exact, "all rows")
    return "graph"


def _same(expected: Any, found: Any, exact: bool, where: Any) -> None:
    first = expected.probabilities or expected.predictions
    second = found.probabilities or found.predictions
    try:
        a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    except ValueError:
        assert first == second, where
        return
    gap = np.abs(a - b)
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    limit = 0.0 if exact else 1e-12 * np.maximum(1.0, np.abs(np.nan_to_num(a)))
    assert np.all(gap <= limit), (where, gap.max())
    if expected.probabilities is not None:
        ordered = np.sort(a, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > 1e-9
        assert [p for p, c in zip(expected.predictions, clear, strict=True) if c] == [
            p for p, c in zip(found.predictions, clear, strict=True) if c
        ], where
