"""The reference runtime: the fitted Python object itself, unchanged, behind the common words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headrace.kernel.digests import digest_bytes
from headrace.kernel.errors import InvalidInput, MissingExtra, NotTrusted
from headrace.kernel.ports import AnswerArrays, Answers, Columns
from headrace.kernel.records import Runtime, Task
from headrace.kernel.schema import Scalar, Schema
from headrace.runtimes.bundle import REPAIR, Manifest, read_schema
from headrace.runtimes.frames import build_frame
from headrace.runtimes.labels import derived_labels, has_derived_labels
from headrace.runtimes.stored import LOADERS, load_stored


class ReferenceScorer:
    """Any object with `predict`, and `predict_proba` where it has one. See `kernel.ports.Scorer`.

    Args:
        derived: whether labels may follow from probabilities, as far as they do (see `labels`). What others are held
            against asks the object for both.
    """

    runtime: Runtime = "reference"

    def __init__(
        self, fitted: Any, schema: Schema, task: Task, classes: tuple[Scalar, ...], derived: bool = False
    ) -> None:
        self.fitted = fitted
        self._derived = derived and task in ("binary", "multiclass") and has_derived_labels(fitted)
        self.schema = schema
        self.task: Task = task
        self.classes = classes

    def answer(self, columns: Columns, rows: int) -> Answers:
        """The model's own `predict` and `predict_proba` of `rows` rows."""
        return self.arrays(columns, rows).lists()

    def arrays(self, columns: Columns, rows: int) -> AnswerArrays:
        """The same as arrays."""
        frame = build_frame(self.schema, columns, rows)
        if self._derived:
            shares = np.asarray(self.fitted.predict_proba(frame), dtype=np.float64)
            labels = derived_labels(np.asarray(self.fitted.classes_), shares)
            if labels is not None:
                return AnswerArrays(labels, shares)
        predictions = plain(self.fitted.predict(frame))
        if len(predictions) != rows:
            raise InvalidInput(
                f"predict gave {len(predictions)} answers for {rows} rows.",
                expected="one answer for each row",
                todo="Correct the predict method of the model.",
            )
        if self.task in ("regression", "multioutput") or not hasattr(self.fitted, "predict_proba"):
            return AnswerArrays(predictions, None)
        return AnswerArrays(predictions, np.asarray(self.fitted.predict_proba(frame), dtype=np.float64))


def load_reference(folder: Path, digest: str, manifest: Manifest) -> ReferenceScorer:
    """The scorer of the Python object in a bundle that was verified.

    Raises:
        NotTrusted: the stored object is not the one that was registered.
        MissingExtra: a library that the model needs is not installed.
    """
    name = next(name for name in LOADERS if name in manifest.files)
    content = (folder / name).read_bytes()
    if digest_bytes(content) != manifest.files[name]:
        raise NotTrusted(f"{name} in bundle {digest[:12]} was altered.", todo=REPAIR)
    try:
        fitted = load_stored(name, content)
    except ImportError as error:
        raise MissingExtra(
            f"{manifest.name}@{manifest.version} needs the package {error.name!r}, which is not installed.",
            todo=f"Install it: pip install {str(error.name).split('.')[0]}; the bundle's environment/ has its version.",
        ) from error
    return ReferenceScorer(fitted, read_schema(folder), manifest.task, manifest.classes, derived=True)


def plain(values: Any) -> np.ndarray:
    """Predictions as an array of shape [n] or [n, m], whatever they came in; an (n, 1) array counts as n values."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise InvalidInput(
            f"predict gave an array of shape {array.shape}.",
            expected="one value, or one list of values, for each row",
            todo="Register a model that answers row by row.",
        )
    return array


def describe_fitted(fitted: Any, target: list[Scalar] | None) -> tuple[Task, tuple[Scalar, ...]]:
    """The task and the classes of a fitted object; the target's values tell where the object does not.

    Raises:
        InvalidInput: the object cannot predict.
    """
    if not callable(getattr(fitted, "predict", None)):
        raise InvalidInput(
            f"A {type(fitted).__name__} has no method 'predict'.",
            expected="a fitted object with predict, and predict_proba if it is a classifier",
            todo="Return or register the fitted model itself.",
        )
    classes = getattr(fitted, "classes_", None)
    if classes is None and target and all(isinstance(value, bool | str) for value in target if value is not None):
        classes = sorted({value for value in target if value is not None}, key=str)
    if classes is None:
        return "regression", ()
    if isinstance(classes, list) and any(np.ndim(one) for one in classes):
        return "multioutput", ()
    named = tuple(plain(classes).tolist())
    return ("binary" if len(named) == 2 else "multiclass"), named
