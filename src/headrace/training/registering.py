"""From a notebook to a version in one call: a fitted object and an example of its rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.compiler.onnx_files import read_onnx
from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.kernel.errors import InvalidInput
from headrace.kernel.identifiers import check_name, new_id
from headrace.kernel.records import Evaluation, Lineage, Version
from headrace.kernel.schema import Schema
from headrace.registry.environment import record_environment
from headrace.registry.filling import Registration
from headrace.registry.versions import Versions
from headrace.runtimes.native import adapted, feature_names
from headrace.runtimes.reference import ReferenceScorer, describe_fitted
from headrace.training.evaluation import evaluate_frame


def register_fitted(
    versions: Versions, model: str, fitted: Any, example: Any, target: str | None, holdout: Any, who: str
) -> Version:
    """Make a version of a fitted object; see `registration_of`."""
    return versions.register(registration_of(model, fitted, example, target, holdout, who))


def registration_of(model: str, fitted: Any, example: Any, target: str | None, holdout: Any, who: str) -> Registration:
    """All that makes a version of a fitted object.

    Args:
        fitted: an object with predict, or an ONNX model (its bytes, or the loaded message).
        example: rows as the model was fitted with, of the same kind of frame; with or without the target.
        holdout: labelled rows that it has not seen, for metrics; needs `target`.

    Raises:
        InvalidInput: the object cannot predict, the example is no table or lacks a column.
    """
    check_name(model)
    fitted = adapted(fitted)
    frame = to_polars(example)
    named = target if target in frame.columns else None
    seen = infer_schema(example, frame, target=named)
    schema = seen.for_model(_features(seen, feature_names(fitted)))
    rows = conform(frame, schema)
    columns = columns_of(rows, schema)
    content = _onnx_content(fitted)
    if content is not None:
        fitted, task, classes = read_onnx(content, schema, columns, rows.height)
    else:
        task, classes = describe_fitted(fitted, frame[named].unique().to_list() if named else None)
    return Registration(
        model=model,
        fitted=fitted,
        schema=schema,
        task=task,
        classes=classes,
        example=columns,
        example_rows=rows.height,
        params={},
        who=who,
        lineage=Lineage(run=new_id()),
        environment=record_environment({}),
        evaluation=_evaluation(ReferenceScorer(fitted, schema, task, classes), holdout, target),
    )


def _onnx_content(fitted: Any) -> bytes | None:
    """The bytes of an ONNX model that was read or handed in as a message; None for other objects."""
    if isinstance(fitted, bytes):
        return fitted
    return fitted.SerializeToString() if type(fitted).__name__ == "ModelProto" else None


def _features(schema: Schema, named: list[str] | None) -> tuple[str, ...]:
    if named is None:
        return tuple(column.name for column in schema.features)
    missing = [name for name in named if schema.column(name) is None]
    if missing:
        raise InvalidInput(
            f"The example lacks the column {missing[0]!r}, which the model was fitted with.",
            field=missing[0],
            expected=f"the columns {', '.join(named)}",
            todo="Pass rows of the frame that the model was fitted with.",
        )
    return tuple(named)


def _evaluation(scorer: ReferenceScorer, holdout: Any, target: str | None) -> Evaluation | None:
    if holdout is None:
        return None
    frame = to_polars(holdout)
    if target is None or target not in frame.columns:
        raise InvalidInput(
            f"The holdout has no target column {target!r}.",
            expected=f"one of {', '.join(frame.columns)}",
            todo="Name the target: target='COLUMN'.",
        )
    return evaluate_frame(scorer, frame.filter(pl.col(target).is_not_null()), target, (), None)[0]
