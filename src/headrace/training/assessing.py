"""Is this data enough for this target? A learning curve beside a constant and a linear model, and what is suspicious.

The curve is of gradient-boosted trees on ever larger parts of the training rows, all held against the same rows that
were held out (the last fifth by time where there is a time, else a random fifth). Training takes scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl

from headrace.data.expectations import late_columns
from headrace.kernel.errors import InvalidInput, MissingExtra
from headrace.kernel.records import Assessment, Metric, Point, Suspect, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.training.evaluation import hold_out
from headrace.training.metrics import HIGHER_IS_BETTER, PRIMARY, evaluate

PARTS = (0.0625, 0.125, 0.25, 0.5, 1.0)
MOST_ROWS = 200_000
LEAST_ROWS = 50
MOST_CLASSES = 50
WORTH = 0.03
"""What a doubling of the rows must add to what is gained over a constant, for more of them to help."""
NEARLY = {"roc_auc": 0.995, "accuracy": 0.995, "rmse": 0.05}
"""What one column alone must not reach; of an error, as a share of the constant's."""

Progress = Callable[[str], None]
Numbers = np.ndarray


def assess(
    frame: pl.DataFrame, schema: Schema, target: str, seed: int = 0, progress: Progress | None = None
) -> Assessment:
    """What can be said of `frame` for predicting `target`.

    Raises:
        InvalidInput: there are too few rows, or the target never varies.
        MissingExtra: scikit-learn is not installed.
    """
    _sklearn()
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
    trial = _Trial(task, schema, target, training, test, seed)
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


class _Trial:
    """The same held-out rows for every model."""

    def __init__(
        self, task: Task, schema: Schema, target: str, training: pl.DataFrame, test: pl.DataFrame, seed: int
    ) -> None:
        self._task = task
        self._seed = seed
        self._features = [column.name for column in schema.features if column.name != target]
        order = np.random.default_rng(seed).permutation(training.height)
        self._training = training[order]
        self._truth, self._test_truth = (_plain_target(part[target], task) for part in (self._training, test))
        self._test = test
        self._sklearn = _sklearn()

    def trees(self, rows: int, features: list[str] | None = None) -> Metric:
        """Gradient-boosted trees on the first `rows` training rows."""
        names, kind = features or self._features, self._task == "regression"
        ensemble = self._sklearn("ensemble")
        model = (ensemble.HistGradientBoostingRegressor if kind else ensemble.HistGradientBoostingClassifier)(
            random_state=self._seed, max_iter=100, early_stopping=False
        )
        known = _Codes(self._training[:rows], names)
        return self._scored(model, known.coded(self._training[:rows]), known.coded(self._test), rows)

    def linear(self) -> Metric:
        """A linear model on one-hot texts and standardised numbers, nulls at the mean."""
        models, pipeline = self._sklearn("linear_model"), self._sklearn("pipeline")
        model = models.Ridge() if self._task == "regression" else models.LogisticRegression(max_iter=300)
        known = _Codes(self._training, self._features)
        steps = (self._sklearn("preprocessing").StandardScaler(), model)
        return self._scored(
            pipeline.make_pipeline(*steps),
            known.wide(self._training),
            known.wide(self._test),
            self._training.height,
        )

    def constant(self) -> Metric:
        """What needs no column at all."""
        dummy = self._sklearn("dummy")
        model = dummy.DummyRegressor() if self._task == "regression" else dummy.DummyClassifier(strategy="prior")
        nothing = np.zeros((self._training.height, 1)), np.zeros((self._test.height, 1))
        return self._scored(model, *nothing, self._training.height)

    def suspects(self, constant: Metric) -> tuple[Suspect, ...]:
        """Columns that alone tell nearly everything: mostly they are the target under another name."""
        metric, rows, found = PRIMARY[self._task], min(self._training.height, 20_000), []
        for name in self._features:
            score = self.trees(rows, [name]).value
            if score > NEARLY[metric] if HIGHER_IS_BETTER[metric] else score < NEARLY[metric] * constant.value:
                found.append(Suspect(column=name, why=f"alone it gives {metric} {score:.4f}: too good to be true"))
        return tuple(found)

    def _scored(self, model: Any, training: Numbers, test: Numbers, rows: int) -> Metric:
        truth = self._truth[:rows]
        if self._task != "regression" and len(set(truth)) == 1:
            model = self._sklearn("dummy").DummyClassifier(strategy="prior")
        model.fit(training, np.asarray(truth))
        answers = model.predict(test).tolist()
        shares = None if self._task == "regression" else model.predict_proba(test)
        classes = () if shares is None else tuple(model.classes_.tolist())
        found = evaluate(self._task, self._test_truth, answers, shares, classes)
        return found.get(PRIMARY[self._task]) or next(iter(found.values()))


class _Codes:
    """Columns as numbers: texts by their place among the training rows', moments as seconds and parts of a day."""

    def __init__(self, training: pl.DataFrame, names: list[str]) -> None:
        self._names = names
        self._places: dict[str, list[str]] = {}
        for name in names:
            if training.schema[name] in (pl.String, pl.Categorical, pl.Enum):
                counted = training[name].cast(pl.String).drop_nulls().value_counts(sort=True)
                self._places[name] = counted[name].head(250).to_list()

    def coded(self, frame: pl.DataFrame) -> Numbers:
        """Shape (rows, columns), NaN for null and for texts that are not known."""
        return np.column_stack([part for name in self._names for part in self._numbers(frame[name], name)])

    def wide(self, frame: pl.DataFrame) -> Numbers:
        """Shape (rows, columns), one for each of the 30 most frequent texts; nulls at the mean."""
        parts = []
        for name in self._names:
            if name in self._places:
                texts = frame[name].cast(pl.String)
                parts += [
                    (texts == value).fill_null(False).to_numpy().astype(float) for value in self._places[name][:30]
                ]
            else:
                parts += self._numbers(frame[name], name)
        numbers = np.column_stack(parts) if parts else np.zeros((frame.height, 1))
        means = np.nan_to_num(np.nanmean(np.where(np.isfinite(numbers), numbers, np.nan), axis=0), nan=0.0)
        return np.where(np.isfinite(numbers), numbers, means)

    def _numbers(self, series: pl.Series, name: str) -> list[Numbers]:
        if name in self._places:
            places = {value: float(place) for place, value in enumerate(self._places[name])}
            return [series.cast(pl.String).replace_strict(places, default=None, return_dtype=pl.Float64).to_numpy()]
        if series.dtype in (pl.Datetime, pl.Date):
            moment = series.cast(pl.Datetime("us"))
            parts = (moment.dt.epoch("s"), moment.dt.hour(), moment.dt.weekday(), moment.dt.month())
            return [part.cast(pl.Float64).to_numpy() for part in parts]
        return [series.cast(pl.Float64).to_numpy()]


def _sklearn() -> Callable[[str], Any]:
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise MissingExtra(
            "Assessing data takes scikit-learn, which is not installed.", todo="pip install 'headrace[sklearn]'"
        ) from error
    return lambda name: importlib.import_module(f"sklearn.{name}")


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


def _plain_target(series: pl.Series, task: Task) -> list[Scalar]:
    return series.cast(pl.Float64).to_list() if task == "regression" else series.to_list()


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
