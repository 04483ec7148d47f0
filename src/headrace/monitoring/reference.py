"""What a version's windows are held against, computed once from its own snapshot and kept in its bundle."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from headrace.kernel.clock import parse_duration
from headrace.kernel.ports import Answers, Scorer
from headrace.monitoring import drift, harm, quality
from headrace.monitoring.drift import DriftReference
from headrace.monitoring.harm import HarmReference
from headrace.monitoring.quality import QualityReference

PREDICTION = "prediction"
WITHOUT_TIME = 20


class MonitorReference(msgspec.Struct, frozen=True):
    """The references of the three detectors."""

    window: str
    drift: dict[str, DriftReference]
    quality: QualityReference
    harm: HarmReference | None


def build_reference(
    scorer: Scorer,
    training: pl.DataFrame,
    test: pl.DataFrame,
    answers: Answers,
    target: str,
    time: str | None,
    window: str,
) -> MonitorReference:
    """The reference of a version.

    Args:
        training: the rows it was trained on. test: labelled rows that it has not seen. answers: its answers to `test`.
        window: the length of the windows that will be held against it.
    """
    columns = [column.name for column in scorer.schema.features]
    everything = pl.concat([training, test])
    windows = split_windows(everything, time, window)
    drifts = {
        name: drift.build(everything[name], [part[name] for part in windows])
        for name in columns
        if everything[name].dtype.is_numeric()
        or everything[name].dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
        if not _bound_to_the_calendar(everything[name], windows, name)
    }
    scored = test.with_columns(pl.Series("_score", scores_of(answers)), pl.Series("_at", range(test.height)))
    scored_windows = split_windows(scored, time, window)
    if scored["_score"].null_count() == 0:
        score = scored["_score"].rename(PREDICTION)
        drifts[PREDICTION] = drift.build(score, [part["_score"].rename(PREDICTION) for part in scored_windows])
    return MonitorReference(
        window=window,
        drift=drifts,
        quality=quality.build(scorer.schema, [part.select(columns) for part in windows]),
        harm=_harm(scorer, scored, scored_windows, answers, target),
    )


def scores_of(answers: Answers) -> list[float | None]:
    """One number for each answer, as the predictions table has it."""
    if answers.probabilities is not None:
        return [row[1] if len(row) == 2 else max(row) for row in answers.probabilities]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in answers.predictions)
    return [float(v) if numeric else None for v in answers.predictions]  # type: ignore[arg-type]


def split_windows(frame: pl.DataFrame, time: str | None, window: str) -> list[pl.DataFrame]:
    """The frame in windows of time, in order; in twenty equal parts where it has no time."""
    if time is None:
        size = max(frame.height // WITHOUT_TIME, 1)
        return [frame.slice(start, size) for start in range(0, frame.height, size)]
    moments = frame[time].cast(pl.Datetime("us")) if not isinstance(frame[time].dtype, pl.Datetime) else frame[time]
    length = parse_duration(window)
    labelled = frame.with_columns(_window=moments.dt.truncate(length))
    return [part.drop("_window") for part in labelled.partition_by("_window", maintain_order=True)]


def _bound_to_the_calendar(series: pl.Series, windows: list[pl.DataFrame], name: str) -> bool:
    """A column that is one value within a window and varies between windows, such as the weekday of a day."""
    if len(windows) < 5 or series.n_unique() < 2:
        return False
    return all(window[name].n_unique() <= 1 for window in windows)


def _harm(
    scorer: Scorer, scored: pl.DataFrame, windows: list[pl.DataFrame], answers: Answers, target: str
) -> HarmReference | None:
    loss: harm.Loss = "error_rate"
    positive: Any = None
    median = 0.0
    if scorer.task == "binary" and answers.probabilities is not None:
        loss, positive = "one_minus_auc", scorer.classes[1]
    elif scorer.task == "regression":
        loss = "above_median_error"
        errors = np.abs(scored[target].cast(pl.Float64).to_numpy() - scored["_score"].to_numpy())
        median = float(np.median(errors))
    losses = []
    for part in windows:
        predictions = [answers.predictions[i] for i in part["_at"]]
        scores = part["_score"].to_numpy().astype(float)
        found = harm.window_loss(loss, positive, median, part[target].to_list(), predictions, scores)
        losses += [found] if found is not None else []
    return harm.build(loss, positive, median, losses)


def window_length(reference: MonitorReference) -> timedelta:
    """How long a window is."""
    return parse_duration(reference.window)
