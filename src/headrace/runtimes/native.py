"""Native objects of libraries whose `predict` wants the library's own tables, behind `predict` of a frame."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from headrace.kernel.errors import InvalidInput


class XGBoostBooster:
    """A native `xgboost.Booster`: numbers for a frame; probabilities are numbers here, since it names no classes."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        if booster.feature_names:
            self.feature_names_in_ = list(booster.feature_names)

    def predict(self, frame: Any) -> np.ndarray:
        """What `Booster.inplace_predict` gives for all its trees."""
        return np.asarray(self.booster.inplace_predict(frame, validate_features=False))


class CatBoostNumbers:
    """A native `catboost.CatBoost`, whose `predict` gives raw numbers although it knows classes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.feature_names_in_ = list(model.feature_names_)

    def predict(self, frame: Any) -> np.ndarray:
        """What `CatBoost.predict` gives: raw numbers."""
        return np.asarray(self.model.predict(frame))


class Context:
    """What a `PythonModel` of MLflow's is given: its artifacts while it loads, and its config always."""

    def __init__(self, artifacts: dict[str, str] | None, config: dict[str, Any]) -> None:
        self._artifacts = artifacts
        self.model_config = config

    @property
    def artifacts(self) -> dict[str, str]:
        """The paths of the artifacts by name.

        Raises:
            InvalidInput: the model was loaded; they are not kept.
        """
        if self._artifacts is None:
            raise InvalidInput(
                "The model reads its artifacts again when it predicts.",
                expected="a PythonModel whose load_context keeps what it needs in itself",
                todo="Load them in load_context, as MLflow's own examples do, and save the model again.",
            )
        return self._artifacts


class PythonFunction:
    """A `PythonModel` (mlflow/mlflow, `mlflow/pyfunc/model.py`) once it was loaded: pandas frames in, a column out."""

    def __init__(self, model: Any, artifacts: dict[str, str], config: dict[str, Any]) -> None:
        load = getattr(model, "load_context", None)
        if callable(load):
            load(Context(artifacts, config))
        self.model = model
        self.config = config

    def predict(self, frame: Any) -> np.ndarray:
        """What the model's own `predict` gives, of shape (rows,)."""
        parameters = inspect.signature(self.model.predict).parameters
        given = (Context(None, self.config), frame) if "context" in parameters else (frame,)
        answers = np.asarray(self.model.predict(*given))
        if answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        if answers.ndim != 1:
            raise InvalidInput(
                f"predict gave an array of shape {answers.shape}.",
                expected="one value for each row",
                todo="Register a model that gives one column: its labels, or a number.",
            )
        return answers


def feature_names(fitted: Any) -> list[str] | None:
    """The names of the columns that an object was fitted with, in its order; None where it does not say."""
    names = getattr(fitted, "feature_names_in_", None)
    if names is None and type(fitted).__module__ == "lightgbm.basic":
        names = _given(fitted.feature_name(), "Column_")
    if names is None and type(fitted).__module__.startswith("catboost."):
        names = _given(fitted.feature_names_, "")
    return None if names is None else [str(name) for name in names]


def _given(names: list[str], prefix: str) -> list[str] | None:
    """The names, unless the library made them up: their places after a prefix."""
    return None if list(names) == [f"{prefix}{i}" for i in range(len(names))] else names


def adapted(fitted: Any) -> Any:
    """The object itself, or what stands before it so that it predicts frames."""
    kind = type(fitted)
    if kind.__module__.split(".")[0] == "xgboost" and kind.__name__ == "Booster":
        return XGBoostBooster(fitted)
    if kind.__module__.split(".")[0] == "catboost" and kind.__name__ == "CatBoost":
        return CatBoostNumbers(fitted)
    return fitted
