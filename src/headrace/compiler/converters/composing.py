"""Pipelines and column transformers: nothing is computed here, columns are only led."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import Prediction, converts, predicted, transformed
from headrace.compiler.table import Table, side_by_side, slots
from headrace.compiler.uncompiled import NotCompiled


@converts("sklearn.Pipeline", takes="table")
def pipeline_transform(step: Any, table: Table) -> Table:
    """Each step after the other."""
    return _through(step.steps, table)


@converts("sklearn.Pipeline", takes="table", predicts=True)
def pipeline(step: Any, table: Table) -> Prediction:
    """The transformers, then the predictor at the end."""
    return predicted(step.steps[-1][1], _through(step.steps[:-1], table))


def _through(steps: list[Any], table: Table) -> Table:
    for _, step in steps:
        if step is not None and step != "passthrough":
            table = transformed(step, table)
    return table


@converts("sklearn.ColumnTransformer", takes="table")
def column_transformer(step: Any, table: Table) -> Table:
    """Each transformer on its own columns, side by side; what is dropped is not looked at."""
    places = step._transformer_to_input_indices
    parts: list[Table] = []
    for name, inner, _ in step.transformers_:
        chosen = table.pick([int(place) for place in places.get(name, [])])
        if isinstance(inner, str) and inner == "drop":
            continue
        if chosen.width:
            parts.append(chosen if isinstance(inner, str) else transformed(inner, chosen))
    if not parts:
        raise NotCompiled("it leaves no column")
    return side_by_side(parts)


@converts("sklearn.FeatureUnion", takes="table")
def feature_union(step: Any, table: Table) -> Table:
    """Every transformer on all columns, side by side, each times its weight."""
    weights = step.transformer_weights or {}
    parts: list[Table] = []
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        part = table if isinstance(inner, str) else transformed(inner, table)
        if name in weights:
            part = slots(table.source, part.tensor() * float(weights[name]))
        parts.append(part)
    return side_by_side(parts)


@converts("sklearn.FrozenEstimator", takes="table")
def frozen_transform(step: Any, table: Table) -> Table:
    """What is frozen."""
    return transformed(step.estimator, table)


@converts("sklearn.FrozenEstimator", takes="table", predicts=True)
def frozen(step: Any, table: Table) -> Prediction:
    """What is frozen."""
    return predicted(step.estimator, table)


@converts("sklearn.GridSearchCV", "sklearn.RandomizedSearchCV", takes="table", predicts=True)
def search(step: Any, table: Table) -> Prediction:
    """The best one, fitted again on everything."""
    return predicted(step.best_estimator_, table)


@converts("sklearn.GridSearchCV", "sklearn.RandomizedSearchCV", takes="table")
def search_transform(step: Any, table: Table) -> Table:
    """The best one, fitted again on everything."""
    return transformed(step.best_estimator_, table)


@converts(
    "sklearn.SelectKBest",
    "sklearn.SelectPercentile",
    "sklearn.SelectFpr",
    "sklearn.SelectFdr",
    "sklearn.SelectFwe",
    "sklearn.GenericUnivariateSelect",
    "sklearn.SelectFromModel",
    "sklearn.SequentialFeatureSelector",
    "sklearn.VarianceThreshold",
    "sklearn.RFE",
    "sklearn.RFECV",
    takes="table",
)
def selector(step: Any, table: Table) -> Table:
    """The columns that were selected."""
    return table.pick(np.flatnonzero(step.get_support()).tolist())


@converts("sklearn.RFE", "sklearn.RFECV", takes="table", predicts=True)
def eliminated(step: Any, table: Table) -> Prediction:
    """The estimator on the columns that were left."""
    return predicted(step.estimator_, selector(step, table))
