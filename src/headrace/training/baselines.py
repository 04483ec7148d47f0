"""Simple models beside the one that is judged: a constant, a linear one, trees on some of the rows or columns.

All of them are trained on the same rows and held against the same rows that were held out. Training takes scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from headrace.kernel.errors import MissingExtra
from headrace.kernel.records import Metric, Suspect, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.training.metrics import HIGHER_IS_BETTER, PRIMARY, evaluate

NEARLY = {"roc_auc": 0.995, "accuracy": 0.995, "rmse": 0.05}
"""What one column alone must not reach; of an error, as a share of the constant's."""
MOST_ONE_HOT = 30
Numbers = np.ndarray


class Trial:
    """The same held-out rows for every model."""

    def __init__(
        self,
        task: Task,
        schema: Schema,
        target: str,
        training: pl.DataFrame,
        test: pl.DataFrame,
        seed: int,
        metrics: tuple[str, ...] = (),
    ) -> None:
        self._task = task
        self._metrics = (PRIMARY[task], *metrics) if not metrics or PRIMARY[task] in metrics else metrics
        self._seed = seed
        self._features = [column.name for column in schema.features if column.name != target]
        order = np.random.default_rng(seed).permutation(training.height)
        self._training = training[order]
        self._truth, self._test_truth = (_plain_target(part[target], task) for part in (self._training, test))
        self._test = test
        self._sklearn = sklearn()

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
        return next((found[name] for name in self._metrics if name in found), next(iter(found.values())))

    def width(self) -> int:
        """How many numbers a row is to a linear model, at most."""
        texts = sum(min(len(places), MOST_ONE_HOT) for places in _Codes(self._training, self._features).places.values())
        return texts + 4 * len(self._features)


class _Codes:
    """Columns as numbers: texts by their place among the training rows', moments as seconds and parts of a day."""

    def __init__(self, training: pl.DataFrame, names: list[str]) -> None:
        self._names = names
        self.places: dict[str, list[str]] = {}
        for name in names:
            if training.schema[name] in (pl.String, pl.Categorical, pl.Enum):
                counted = training[name].cast(pl.String).drop_nulls().value_counts(sort=True)
                self.places[name] = counted[name].head(250).to_list()

    def coded(self, frame: pl.DataFrame) -> Numbers:
        """Shape (rows, columns), NaN for null and for texts that are not known."""
        return np.column_stack([part for name in self._names for part in self._numbers(frame[name], name)])

    def wide(self, frame: pl.DataFrame) -> Numbers:
        """Shape (rows, columns), one for each of the 30 most frequent texts; nulls at the mean."""
        parts = []
        for name in self._names:
            if name in self.places:
                texts = frame[name].cast(pl.String)
                parts += [
                    (texts == value).fill_null(False).to_numpy().astype(float)
                    for value in self.places[name][:MOST_ONE_HOT]
                ]
            else:
                parts += self._numbers(frame[name], name)
        numbers = np.column_stack(parts) if parts else np.zeros((frame.height, 1))
        means = np.nan_to_num(np.nanmean(np.where(np.isfinite(numbers), numbers, np.nan), axis=0), nan=0.0)
        return np.where(np.isfinite(numbers), numbers, means)

    def _numbers(self, series: pl.Series, name: str) -> list[Numbers]:
        if name in self.places:
            places = {value: float(place) for place, value in enumerate(self.places[name])}
            return [series.cast(pl.String).replace_strict(places, default=None, return_dtype=pl.Float64).to_numpy()]
        if series.dtype in (pl.Datetime, pl.Date):
            moment = series.cast(pl.Datetime("us"))
            parts = (moment.dt.epoch("s"), moment.dt.hour(), moment.dt.weekday(), moment.dt.month())
            return [part.cast(pl.Float64).to_numpy() for part in parts]
        return [series.cast(pl.Float64).to_numpy()]


def sklearn() -> Callable[[str], Any]:
    """Gives scikit-learn's modules by name.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise MissingExtra(
            "Simple models to compare with take scikit-learn, which is not installed.",
            todo="pip install 'headrace[sklearn]'",
        ) from error
    return lambda name: importlib.import_module(f"sklearn.{name}")


def _plain_target(series: pl.Series, task: Task) -> list[Scalar]:
    return series.cast(pl.Float64).to_list() if task == "regression" else series.to_list()
