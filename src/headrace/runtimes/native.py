"""Native objects of libraries whose `predict` wants the library's own tables, behind `predict` of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np


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
