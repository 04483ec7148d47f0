"""Whether a model is worth what it costs: what each of its columns brings, and what simpler models reach.

A column's gain is its model reliance (Fisher, Rudin and Dominici, 2019): the mean growth of the loss of held-out rows
where the values of the column are shuffled among them, with the normal 95 % interval of the paired differences. That is
the logarithmic loss where there are probabilities, else 0 or 1; of a number the squared error over the target's
variance. Columns that stand in for each other each look worth less than both together.
"""

from __future__ import annotations

import importlib
from typing import Any

import msgspec
import numpy as np
import polars as pl

from headrace.kernel.errors import MissingExtra
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Evaluation, Gain
from headrace.training.baselines import Trial
from headrace.training.evaluation import score_frame
from headrace.training.metrics import Z

ROWS = 4_000
SHUFFLES = 2
MOST_COLUMNS = 200
MOST_TRAINING = 50_000


def weighed(
    evaluation: Evaluation, scorer: Scorer, training: pl.DataFrame, test: pl.DataFrame, target: str, seed: int
) -> Evaluation:
    """An evaluation with its baselines and gains; a simple model that cannot be trained on these rows says so in it."""
    training, test = (part.filter(pl.col(target).is_not_null()) for part in (training, test))
    brought, unweighed = gains(scorer, test, target, seed), ""
    try:
        baselines = _baselines(scorer, training, test, target, seed)
    except MissingExtra as error:
        baselines, unweighed = {}, error.text
    except Exception as error:  # whatever scikit-learn or a column of an unusual type raises
        baselines, unweighed = {}, f"no simple model: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return msgspec.structs.replace(evaluation, baselines=baselines, gains=brought, unweighed=unweighed)


def gains(scorer: Scorer, test: pl.DataFrame, target: str, seed: int) -> tuple[Gain, ...]:
    """What each column brings, the most first; none of a model with very many columns."""
    names = [column.name for column in scorer.schema.features]
    if len(names) > MOST_COLUMNS or not test.height:
        return ()
    rows = test.sample(min(ROWS, test.height), seed=seed)
    truth = rows[target].to_list()
    before = losses(scorer, rows, truth)
    found = []
    for name in names:
        random = np.random.default_rng([seed, *name.encode()])
        shuffled = [rows.with_columns(rows[name][random.permutation(rows.height)]) for _ in range(SHUFFLES)]
        grown = np.mean([losses(scorer, frame, truth) for frame in shuffled], axis=0) - before
        half = Z * float(grown.std()) / max(len(grown), 1) ** 0.5
        mean = float(grown.mean())
        found.append(Gain(column=name, value=mean, low=mean - half, high=mean + half))
    return tuple(sorted(found, key=lambda gain: -gain.value))


def losses(scorer: Scorer, rows: pl.DataFrame, truth: list[Any]) -> np.ndarray:
    """The loss of each row, shape (rows,)."""
    answers = score_frame(scorer, rows)
    if scorer.task == "regression":
        wanted = np.asarray(truth, dtype=float)
        return (np.asarray(answers.predictions, dtype=float) - wanted) ** 2 / (float(wanted.var()) or 1.0)
    if answers.probabilities is None:
        return np.asarray([float(said != true) for said, true in zip(answers.predictions, truth, strict=True)])
    shares = np.asarray(answers.probabilities, dtype=float)
    known = {value: place for place, value in enumerate(scorer.classes)}
    chosen = [shares[row, known[value]] if value in known else 0.0 for row, value in enumerate(truth)]
    return -np.log(np.clip(chosen, 1e-6, 1.0))


def _baselines(scorer: Scorer, training: pl.DataFrame, test: pl.DataFrame, target: str, seed: int) -> dict[str, Any]:
    if training.height > MOST_TRAINING:
        training = training.sample(MOST_TRAINING, seed=seed)
    names = [column.name for column in scorer.schema.features]
    floats = [name for name in names if training.schema[name].is_float()]
    plain = [part.with_columns(pl.col(floats).fill_nan(None)) for part in (training, test)]
    trial = Trial(scorer.task, scorer.schema, target, plain[0], plain[1], seed)
    with importlib.import_module("threadpoolctl").threadpool_limits(1):
        return {"constant": trial.constant(), "linear": trial.linear()}
