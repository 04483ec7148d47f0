"""Imputation, scaling, one-hot encoding and gradient boosting. It imports nothing of the platform that runs it."""

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["distance", "hour", "weekday", "humid", "wind_speed", "precip", "visib"]
CATEGORIES = ["carrier", "origin", "dest"]


def train(frame: pl.DataFrame, max_iter: int = 100, learning_rate: float = 0.05, seed: int = 0) -> Pipeline:
    """A fitted pipeline over the features of `frame`."""
    numbers = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    categories = OneHotEncoder(handle_unknown="ignore", min_frequency=50, sparse_output=False)
    prepare = ColumnTransformer([("numbers", numbers, NUMBERS), ("categories", categories, CATEGORIES)])
    model = HistGradientBoostingClassifier(
        max_iter=max_iter, learning_rate=learning_rate, min_samples_leaf=200, max_leaf_nodes=15,
        l2_regularization=1.0, random_state=seed,
    )
    return Pipeline([("prepare", prepare), ("model", model)]).fit(frame[NUMBERS + CATEGORIES], frame["late"])
