"""Holding rows out, and saying what a scorer is worth on them, overall and by slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from headrace.data.frames import columns_of
from headrace.data.validation import conform
from headrace.kernel.clock import parse_duration
from headrace.kernel.errors import InvalidInput
from headrace.kernel.ports import Answers, Scorer
from headrace.kernel.records import Evaluation, Slice
from headrace.kernel.schema import Scalar
from headrace.training.metrics import evaluate
from headrace.training.project import Split

SMALLEST_SLICE = 50
MOST_SLICES = 40
DEFAULT_SHARE = 0.2


def hold_out(
    frame: pl.DataFrame, split: Split | None, time: str | None, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The training rows and the test rows of a snapshot, in its order.

    Without a split the last fifth by time is held out, or a random fifth where there is no time.

    Raises:
        InvalidInput: one of the parts would be empty.
    """
    if split is not None and split.by == "time" and time is None:
        raise InvalidInput(
            "The split is by time, and the dataset declares no time column.",
            expected='time = "COLUMN" in [dataset.NAME]',
            todo='Declare it, or use split = { by = "random", test = 0.2 }.',
        )
    test = _test_rows(frame, split, time, seed)
    if not 0 < test.sum() < frame.height:
        raise InvalidInput(
            f"The split holds out {int(test.sum())} of {frame.height} rows.",
            expected="at least one row to train on and one to test",
            todo="Change split in headrace.toml, or load more rows.",
        )
    return frame.filter(~test), frame.filter(test)


def _test_rows(frame: pl.DataFrame, split: Split | None, time: str | None, seed: int) -> pl.Series:
    share = split.test if split is not None and isinstance(split.test, float) else DEFAULT_SHARE
    if split is not None and split.by == "time" and isinstance(split.test, str) and time is not None:
        return (frame[time] > frame[time].max() - parse_duration(split.test)).fill_null(False)  # type: ignore[operator]
    position = np.arange(frame.height)
    if time is None or (split is not None and split.by == "random"):
        position = np.random.default_rng(seed).permutation(frame.height)
    return pl.Series(position >= round(frame.height * (1 - share)))


def score_frame(scorer: Scorer, frame: pl.DataFrame) -> Answers:
    """A scorer's answers to the rows of a frame, coerced by its schema."""
    conformed = conform(frame, scorer.schema)
    return scorer.answer(columns_of(conformed, scorer.schema), frame.height)


def evaluate_frame(
    scorer: Scorer, frame: pl.DataFrame, target: str, slices: Sequence[str], time: str | None
) -> tuple[Evaluation, Answers]:
    """What `scorer` is worth on `frame`, whose rows with a null target are left out, and its answers."""
    frame = frame.filter(pl.col(target).is_not_null())
    answers = score_frame(scorer, frame)
    truth = frame[target].to_list()
    probabilities = None if answers.probabilities is None else np.asarray(answers.probabilities)
    parts = [part for column in slices for part in _slice(scorer, frame, column, truth, answers, probabilities)]
    evaluation = Evaluation(
        metrics=evaluate(scorer.task, truth, answers.predictions, probabilities, scorer.classes),
        slices=tuple(parts),
        rows=frame.height,
        start=str(frame[time].min()) if time else "",
        end=str(frame[time].max()) if time else "",
    )
    return evaluation, answers


def _slice(
    scorer: Scorer,
    frame: pl.DataFrame,
    column: str,
    truth: list[Scalar],
    answers: Answers,
    probabilities: np.ndarray | None,
) -> list[Slice]:
    if column not in frame.columns:
        raise InvalidInput(
            f"The gate's slices name the column {column!r}, which the data does not have.",
            expected=f"one of {', '.join(frame.columns)}",
            todo="Correct slices in headrace.toml.",
        )
    groups = frame.with_row_index("_at").group_by(column, maintain_order=True).agg(pl.col("_at"))
    largest = sorted(groups.iter_rows(), key=lambda group: -len(group[1]))[:MOST_SLICES]
    parts = []
    for value, at in largest:
        if len(at) < SMALLEST_SLICE:
            continue
        chosen = None if probabilities is None else probabilities[at]
        metrics = evaluate(
            scorer.task, [truth[i] for i in at], [answers.predictions[i] for i in at], chosen, scorer.classes
        )
        parts.append(Slice(column=column, value=str(value), metrics=metrics))
    return parts
