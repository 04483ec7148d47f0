"""Models of LightGBM, XGBoost and CatBoost in the shapes that people fit, for the estimator table."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from tests.contracts.estimators import Case

from headrace.runtimes.native import adapted

ROWS = 3_000


def mixed(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers with holes and zeros, and a categorical column."""
    frame = numbers(random, rows)
    levels = pd.Categorical.from_codes(random.integers(-1, 6, size=rows), categories=list("uvwxyz"))
    return frame.assign(k=levels)


def texts(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """The same with the categories as texts."""
    return numbers(random, rows).assign(k=random.choice(list("uvwxyz"), size=rows))


def numbers(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers with holes and zeros."""
    values = random.normal(size=(rows, 5))
    values[:, 1] = np.round(values[:, 1], 1)
    values[random.random(values.shape) < 0.1] = 0.0
    values[:, :4][random.random((rows, 4)) < 0.1] = np.nan
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(5)])


LIGHTGBM = {"n_estimators": 40, "verbose": -1, "n_jobs": 1, "random_state": 0}
XGBOOST = {"n_estimators": 40, "n_jobs": 1, "random_state": 0}
CATBOOST = {"iterations": 40, "verbose": 0, "thread_count": 1, "allow_writing_files": False, "random_seed": 0}
BAGGED = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}

_Draw = Callable[[np.random.Generator, int], pd.DataFrame]
CASES: dict[str, tuple[str, str, dict[str, Any], _Draw, str]] = {
    "LightGBM, two classes": ("lightgbm", "LGBMClassifier", LIGHTGBM, mixed, "two"),
    "LightGBM, three classes": ("lightgbm", "LGBMClassifier", LIGHTGBM, mixed, "three"),
    "LightGBM, one against the rest": (
        "lightgbm",
        "LGBMClassifier",
        {**LIGHTGBM, "objective": "multiclassova"},
        mixed,
        "three",
    ),
    "LightGBM, regression": ("lightgbm", "LGBMRegressor", LIGHTGBM, mixed, "number"),
    "LightGBM, one-hot splits": ("lightgbm", "LGBMRegressor", {**LIGHTGBM, "max_cat_to_onehot": 99}, mixed, "number"),
    "LightGBM, Poisson": ("lightgbm", "LGBMRegressor", {**LIGHTGBM, "objective": "poisson"}, mixed, "count"),
    "LightGBM, zero as missing": ("lightgbm", "LGBMRegressor", {**LIGHTGBM, "zero_as_missing": True}, mixed, "number"),
    "LightGBM, random forest": ("lightgbm", "LGBMClassifier", {**LIGHTGBM, **BAGGED}, mixed, "two"),
    "LightGBM, dart": ("lightgbm", "LGBMClassifier", {**LIGHTGBM, "boosting_type": "dart"}, mixed, "two"),
    "LightGBM, linear leaves": ("lightgbm", "LGBMRegressor", {**LIGHTGBM, "linear_tree": True}, numbers, "number"),
    "XGBoost, two classes": ("xgboost", "XGBClassifier", {**XGBOOST, "enable_categorical": True}, mixed, "two"),
    "XGBoost, three classes": ("xgboost", "XGBClassifier", {**XGBOOST, "enable_categorical": True}, mixed, "three"),
    "XGBoost, regression": ("xgboost", "XGBRegressor", {**XGBOOST, "enable_categorical": True}, mixed, "number"),
    "XGBoost, partitions of categories": (
        "xgboost",
        "XGBRegressor",
        {**XGBOOST, "enable_categorical": True, "max_cat_to_onehot": 2},
        mixed,
        "number",
    ),
    "XGBoost, Poisson": ("xgboost", "XGBRegressor", {**XGBOOST, "objective": "count:poisson"}, numbers, "count"),
    "XGBoost, dart": ("xgboost", "XGBClassifier", {**XGBOOST, "booster": "dart", "rate_drop": 0.2}, numbers, "two"),
    "XGBoost, random forest": ("xgboost", "XGBRFClassifier", XGBOOST, numbers, "three"),
    "XGBoost, several outputs": ("xgboost", "XGBRegressor", XGBOOST, numbers, "pair"),
    "XGBoost, vector leaves": (
        "xgboost",
        "XGBClassifier",
        {**XGBOOST, "multi_strategy": "multi_output_tree", "tree_method": "hist"},
        numbers,
        "three",
    ),
    "XGBoost, linear": ("xgboost", "XGBRegressor", {"n_estimators": 10, "booster": "gblinear"}, numbers, "number"),
    "CatBoost, two classes": ("catboost", "CatBoostClassifier", CATBOOST, numbers, "two"),
    "CatBoost, three classes": ("catboost", "CatBoostClassifier", CATBOOST, numbers, "three"),
    "CatBoost, one against the rest": (
        "catboost",
        "CatBoostClassifier",
        {**CATBOOST, "loss_function": "MultiClassOneVsAll"},
        numbers,
        "three",
    ),
    "CatBoost, regression": ("catboost", "CatBoostRegressor", CATBOOST, numbers, "number"),
    "CatBoost, Poisson": ("catboost", "CatBoostRegressor", {**CATBOOST, "loss_function": "Poisson"}, numbers, "count"),
    "CatBoost, leaf by leaf": (
        "catboost",
        "CatBoostRegressor",
        {**CATBOOST, "grow_policy": "Lossguide", "nan_mode": "Max"},
        numbers,
        "number",
    ),
    "CatBoost, level by level": (
        "catboost",
        "CatBoostClassifier",
        {**CATBOOST, "grow_policy": "Depthwise"},
        numbers,
        "three",
    ),
    "CatBoost, categories": ("catboost", "CatBoostClassifier", {**CATBOOST, "cat_features": ["k"]}, texts, "two"),
}


def native_booster(library: str) -> Case:
    """A library's own training call and its own object."""
    random = np.random.default_rng(3)
    frame = numbers(random, ROWS)
    labels = (frame["x4"] > frame["x1"].fillna(0)).to_numpy().astype(int)
    module = importlib.import_module(library)
    match library:
        case "lightgbm":
            parameters = {"objective": "multiclass", "num_class": 2, "verbose": -1, "num_threads": 1}
            fitted = module.train(parameters, module.Dataset(frame, labels), 30)
        case "xgboost":
            table = module.DMatrix(frame, labels)
            fitted = adapted(module.train({"objective": "binary:logistic", "nthread": 1}, table, 30))
        case _:
            fitted = adapted(module.CatBoost({**CATBOOST, "loss_function": "Logloss"}).fit(frame, labels))
    return Case(f"{library}, its own call", fitted, numbers, tree=True)


NATIVE = ("lightgbm", "xgboost", "catboost")


def fitted_booster(name: str) -> Case:
    """One of `CASES`, fitted."""
    package, kind, parameters, draw, target = CASES[name]
    random = np.random.default_rng(3)
    frame = draw(random, ROWS)
    filled = frame.select_dtypes("number").fillna(0.0)
    signal = (filled["x0"] + np.sin(3 * filled["x1"]) + random.normal(size=ROWS) * 0.3).to_numpy()
    targets = {
        "two": (signal > 0.3).astype(int),
        "three": np.digitize(signal, [-0.3, 0.8]),
        "number": signal,
        "count": np.random.default_rng(1).poisson(np.exp(np.clip(signal, -2, 2))),
        "pair": np.column_stack([signal, signal**2]),
    }
    model = getattr(importlib.import_module(package), kind)(**parameters)
    return Case(name, model.fit(frame, targets[target]), draw, tree=True)
