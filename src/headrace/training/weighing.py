"""Whether a model is worth what it costs: what each of its columns brings, and what simpler models reach.

A column's gain is its model reliance (Fisher, Rudin and Dominici, 2019): the mean growth of the loss of held-out rows
where the values of the column are shuffled among them, with the normal 95 % interval of the paired differences. That is
the logarithmic loss where there are probabilities, else 0 or 1; of a number the squared error over the target's
variance. Columns that stand in for each other each look worth less than both together.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np
import polars as pl

from headrace.kernel.errors import InvalidInput, MissingExtra
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Evaluation, Gain, Metric
from headrace.training.baselines import Trial
from headrace.training.evaluation import score_frame
from headrace.training.metrics import Z

ROWS = 4_000
SHUFFLES = 2
MOST_COLUMNS = 200
MOST_ROWS = 50_000
MOST_NUMBERS = 50_000_000
"""Of a linear model's table, times its classes: 400 MB, and about a minute."""
MOST_SECONDS = 120.0
MOST_SEED = 2**63
Found = TypeVar("Found")


def weighed(
    evaluation: Evaluation, scorer: Scorer, training: pl.DataFrame, test: pl.DataFrame, target: str, seed: int
) -> Evaluation:
    """An evaluation with its baselines and gains; what could not be found out says why in it, and fails nothing."""
    training, test = (part.filter(pl.col(target).is_not_null()) for part in (training, test))
    brought, unknown = _attempt(lambda: gains(scorer, test, target, seed % MOST_SEED), (), "no gains")
    found, simple = _attempt(
        lambda: _baselines(evaluation, scorer, training, test, target, seed % MOST_SEED), {}, "no simple model"
    )
    unweighed = "; ".join(why for why in (unknown, simple) if why)
    return msgspec.structs.replace(evaluation, baselines=found, gains=brought, unweighed=unweighed)


def _attempt(find: Callable[[], Found], nothing: Found, what: str) -> tuple[Found, str]:
    """What `find` gives, or nothing and why: a model may raise at shuffled rows, scikit-learn at unusual columns."""
    try:
        return find(), ""
    except MissingExtra as error:
        return nothing, error.text
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200]
        return nothing, f"{what}: {type(error).__name__}: {said}".rstrip(": ")


def gains(scorer: Scorer, test: pl.DataFrame, target: str, seed: int) -> tuple[Gain, ...]:
    """What each column brings, the most first; none of a model with very many columns, or that is very slow.

    Raises:
        InvalidInput: the loss of shuffled rows is no number.
    """
    names = [column.name for column in scorer.schema.features]
    if len(names) > MOST_COLUMNS or not test.height:
        return ()
    rows = test.sample(min(ROWS, test.height), seed=seed)
    truth = rows[target].to_list()
    began = time.monotonic()
    before = losses(scorer, rows, truth)
    if (time.monotonic() - began) * SHUFFLES * len(names) > MOST_SECONDS:
        raise InvalidInput(
            "The model is too slow.",
            expected=f"all columns within {MOST_SECONDS:.0f} s",
            todo="Nothing is needed: the version has no gains.",
        )
    found = []
    for name in names:
        random = np.random.default_rng([seed, *name.encode()])
        shuffled = [rows.with_columns(rows[name][random.permutation(rows.height)]) for _ in range(SHUFFLES)]
        grown = np.mean([losses(scorer, frame, truth) for frame in shuffled], axis=0) - before
        if not np.isfinite(grown).all():
            raise InvalidInput(
                f"Where {name} is shuffled, some answers are no numbers.",
                expected="numbers for all rows",
                todo="Nothing is needed, unless such rows may come.",
            )
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


def _baselines(
    evaluation: Evaluation, scorer: Scorer, training: pl.DataFrame, test: pl.DataFrame, target: str, seed: int
) -> dict[str, Metric]:
    """A constant's and a linear model's first metric that the evaluation has too.

    Raises:
        MissingExtra: scikit-learn is not installed.
        InvalidInput: there is too much of it for a comparison by the way.
    """
    parts = [part.sample(MOST_ROWS, seed=seed) if part.height > MOST_ROWS else part for part in (training, test)]
    names = [column.name for column in scorer.schema.features]
    floats = [name for name in names if training.schema[name].is_float()]
    plain = [part.with_columns(pl.col(floats).fill_nan(None)) for part in parts]
    trial = Trial(scorer.task, scorer.schema, target, plain[0], plain[1], seed, tuple(evaluation.metrics))
    numbers = trial.width() * plain[0].height * max(len(scorer.classes) - 1, 1)
    if numbers > MOST_NUMBERS:
        raise InvalidInput(
            f"It would take {numbers:,} numbers.",
            expected=f"at most {MOST_NUMBERS:,}",
            todo="Nothing is needed: the version stands without a comparison.",
        )
    with importlib.import_module("threadpoolctl").threadpool_limits(1):
        found = {"constant": trial.constant(), "linear": trial.linear()}
    return {name: metric for name, metric in found.items() if math.isfinite(metric.value)}
