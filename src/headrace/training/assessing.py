"""Is this data enough for this target? A learning curve beside a constant and a linear model, and what is suspicious.

The curve is of gradient-boosted trees on ever larger parts of the training rows, all held against the same rows that
were held out (the last fifth by time where there is a time, else a random fifth). Training takes scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import msgspec
import polars as pl

from headrace.data.expectations import late_columns
from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Assessment, Metric, Point, Suspect, Task
from headrace.kernel.schema import Schema
from headrace.training.baselines import Trial, sklearn
from headrace.training.evaluation import hold_out
from headrace.training.metrics import HIGHER_IS_BETTER, PRIMARY

PARTS = (0.0625, 0.125, 0.25, 0.5, 1.0)
MOST_ROWS = 200_000
LEAST_ROWS = 50
MOST_CLASSES = 50
WORTH = 0.03
"""What a doubling of the rows must add to what is gained over a constant, for more of them to help."""

Progress = Callable[[str], None]


def assess(
    frame: pl.DataFrame, schema: Schema, target: str, seed: int = 0, progress: Progress | None = None
) -> Assessment:
    """What can be said of `frame` for predicting `target`.

    Raises:
        InvalidInput: there are too few rows, or the target never varies.
        MissingExtra: scikit-learn is not installed.
    """
    sklearn()
    with importlib.import_module("threadpoolctl").threadpool_limits(
        1
    ):  # more only wait for each other on a busy machine
        return _assess(frame, schema, target, seed, progress or (lambda _what: None))


def _assess(frame: pl.DataFrame, schema: Schema, target: str, seed: int, tell: Progress) -> Assessment:
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    frame = frame.with_columns(pl.col(floats).fill_nan(None)).filter(pl.col(target).is_not_null())
    empty = [name for name in frame.columns if frame[name].null_count() == frame.height]
    nothing = tuple(Suspect(column=name, why="it holds nothing but nulls") for name in empty)
    schema = msgspec.structs.replace(schema, columns=tuple(c for c in schema.columns if c.name not in empty))
    task = _task(frame[target])
    _need_rows(frame, target)
    if frame.height > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, seed=seed).sort(_time(schema) or pl.int_range(pl.len()))
    training, test = hold_out(frame, None, _time(schema), seed)
    trial = Trial(task, schema, target, training, test, seed)
    curve = []
    for part in PARTS:
        rows = max(round(training.height * part), min(LEAST_ROWS, training.height))
        tell(f"training on {rows:,} rows")
        curve.append(Point(rows=rows, score=trial.trees(rows)))
    tell("a linear model and a constant")
    linear, constant = trial.linear(), trial.constant()
    tell("each column alone")
    suspects = (*nothing, *_late(frame, schema), *trial.suspects(constant), *_identifiers(frame, schema))
    return Assessment(
        target=target,
        task=task,
        metric=PRIMARY[task],
        rows=frame.height,
        held_out=test.height,
        balance=_balance(frame[target], task),
        duplicates=int(frame.is_duplicated().sum()),
        contradictions=_contradictions(frame, schema, target),
        curve=tuple(curve),
        linear=linear,
        constant=constant,
        suspects=suspects,
        verdict=verdict(PRIMARY[task], tuple(curve), linear, constant, suspects),
    )


def verdict(
    metric: str, curve: tuple[Point, ...], linear: Metric, constant: Metric, suspects: tuple[Suspect, ...]
) -> tuple[str, ...]:
    """The answer in plain sentences, the most important first."""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    best, half = curve[-1].score, curve[-2].score
    said = []
    if suspects:
        said.append(f"Look first at {', '.join(one.column for one in suspects[:5])}: {suspects[0].why}.")
    beats = best.low > constant.value if sign > 0 else best.high < constant.value
    if not beats:
        both = f"{metric} {best.value:.3f} against {constant.value:.3f}"
        return (*said, f"No: nothing here predicts better than a constant ({both}).")
    share = sign * (best.value - half.value) / abs(best.value - constant.value)
    rising = sign * (half.value - curve[-3].score.value) > 0
    moved = f"the last doubling of them moved {metric} from {half.value:.3f} to {best.value:.3f}"
    if share > WORTH and rising:
        said.append(f"More rows would help: {moved}, {share:.0%} of what it gains over a constant.")
    else:
        said.append(f"There are enough rows for this: {moved}, {max(share, 0):.1%} of what it gains over a constant.")
    if sign * (best.value - linear.value) <= (best.high - best.low) / 2:
        said.append(f"A linear model does as well ({metric} {linear.value:.3f}): begin with one.")
    return tuple(said)


def _task(target: pl.Series) -> Task:
    values = target.n_unique()
    if values == 2:
        return "binary"
    texts = not (target.dtype.is_numeric() or target.dtype.is_decimal())
    return "multiclass" if texts or (target.dtype.is_integer() and values <= 20) else "regression"


def _need_rows(frame: pl.DataFrame, target: str) -> None:
    values = frame[target].n_unique()
    if frame.height < 2 * LEAST_ROWS or values < 2:
        raise InvalidInput(
            f"There are {frame.height} rows with a {target}, of {values} different values.",
            field=target,
            expected=f"at least {2 * LEAST_ROWS} rows and two values",
            todo="Name another target, or bring more rows.",
        )
    if not frame[target].dtype.is_numeric() and values > MOST_CLASSES:
        raise InvalidInput(
            f"The target {target} has {values} different values.",
            field=target,
            expected=f"a number, or at most {MOST_CLASSES} classes",
            todo="Name another target, or group its values.",
        )


def _time(schema: Schema) -> str | None:
    return next((column.name for column in schema.having("time")), None)


def _balance(target: pl.Series, task: Task) -> dict[str, float]:
    if task == "regression":
        return {}
    counted = target.value_counts(sort=True)
    return {str(row[0]): row[1] / len(target) for row in counted.iter_rows()}


def _contradictions(frame: pl.DataFrame, schema: Schema, target: str) -> int:
    """Rows whose features stand there with another target too: no model can be right about all of them."""
    names = [column.name for column in schema.features if column.name != target]
    several = frame.group_by(names).agg(pl.len().alias("n"), pl.col(target).n_unique().alias("targets"))
    return int(several.filter(pl.col("targets") > 1)["n"].sum())


def _identifiers(frame: pl.DataFrame, schema: Schema) -> tuple[Suspect, ...]:
    found = []
    for column in schema.features:
        distinct = frame[column.name].n_unique()
        if column.type in ("string", "integer") and distinct > 0.95 * frame.height and frame.height > 200:
            found.append(Suspect(column=column.name, why="it is another in nearly every row, like an identifier"))
    return tuple(found)


def _late(frame: pl.DataFrame, schema: Schema) -> tuple[Suspect, ...]:
    return tuple(
        Suspect(column=one.column, why=f"it tells of later moments than the row's own in {one.count:,} rows")
        for one in late_columns(frame, schema)
    )
