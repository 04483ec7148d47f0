"""Compiling a fitted object: encoders, graph and link, or the reason why not."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.compiler import converters
from headrace.compiler.converting import Prediction, predicted
from headrace.compiler.table import Source, whole_table
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled
from headrace.kernel.records import Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.plan import Link, Number, Plan, encoder_width

BLOCK_ROWS = 2_048
BLOCK_BYTES = 256 << 20

for _family in pkgutil.iter_modules(converters.__path__):
    importlib.import_module(f"{converters.__name__}.{_family.name}")


@dataclass(frozen=True)
class Compiled:
    """A plan and its graph, not yet proved.

    `splits` has the doubles at which trees split a request's numbers; past the magnitude `reach` of a number the
    nearest neighbours that a model looks for are not defined; `scorer` runs it.
    """

    plan: Plan
    graph: bytes
    splits: dict[str, np.ndarray]
    reach: float
    scorer: GraphScorer


def compile_fitted(fitted: Any, schema: Schema, task: Task, classes: tuple[Scalar, ...]) -> Compiled:
    """The compiled form of a fitted object.

    Args:
        schema: the contract of its requests.
        classes: its classes, as `runtimes.reference.describe_fitted` gives them.

    Raises:
        NotCompiled: it has a step that is not covered; the text names the step.
    """
    table = whole_table(schema)
    prediction = predicted(fitted, table)
    _check_classes(prediction, classes)
    source = table.source
    scores = prediction.scores
    if prediction.decision == "index":
        scores = concat([scores, prediction.place()]) if prediction.has_probabilities else prediction.place()
    outputs = {"scores": (scores.name, scores.width)}
    if source.graph.checks:
        checks = [Tensor(source.graph, name, 1) for name in source.graph.checks]
        refused = sum(checks[1:], start=checks[0])
        outputs["refused"] = (refused.name, 1)
    encoders = source.finished()
    graph = source.graph.finish(source.width, outputs)
    plan = Plan(
        encoders=encoders,
        link=Link(
            prediction.link,
            prediction.decision,
            prediction.whole,
            tuple(tuple(np.asarray(one).tolist()) for one in prediction.labels),
        ),
        block=max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(source.graph.row_bytes, 1))),
        checked=bool(source.graph.checks),
    )
    scorer = GraphScorer(plan, graph, schema, task, classes)
    return Compiled(plan, graph, _splits(source), source.graph.reach, scorer)


def _splits(source: Source) -> dict[str, np.ndarray]:
    """The doubles at which trees split numbers of the request, by column."""
    columns: list[str] = []
    for encoder in source.encoders:
        columns += [encoder.column if isinstance(encoder, Number) else ""] * encoder_width(encoder)
    parts: dict[str, list[np.ndarray]] = {}
    for place, thresholds in source.graph.splits.items():
        if columns[place]:
            parts.setdefault(columns[place], []).extend(thresholds)
    return {name: np.unique(np.concatenate(arrays)) for name, arrays in parts.items()}


def _check_classes(prediction: Prediction, classes: tuple[Scalar, ...]) -> None:
    found = () if prediction.classes is None else tuple(np.asarray(prediction.classes).tolist())
    if len(found) == 1:
        raise NotCompiled("it knows only one class")
    if found != classes:
        raise NotCompiled(f"its classes are {found!r:.80} in the graph and {classes!r:.80} in the object")
