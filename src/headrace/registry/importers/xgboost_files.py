"""XGBoost models in the library's own files: as the classifiers that they were, where the file says so."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.runtimes.stored import load_xgboost


def opened_xgboost(content: bytes) -> Any:
    """An XGBoost model: an `XGBClassifier` where one wrote the file, else the booster."""
    import xgboost

    booster = load_xgboost(content)
    written: dict[str, Any] = msgspec.json.decode(booster.booster.attr("scikit_learn") or "{}")
    if written.get("_estimator_type") != "classifier":
        return booster
    fitted = xgboost.XGBClassifier()
    fitted.load_model(bytearray(content))
    return fitted
