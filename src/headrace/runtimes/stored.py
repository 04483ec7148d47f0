"""The fitted object as a bundle stores it: the library's own format, skops, or a pickle if nothing else holds it.

Only a pickle can run code when it is opened. A skops file is opened against the list of types here, never against one
that it brings along.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from typing import Any

from headrace.kernel.errors import NotTrusted
from headrace.runtimes.native import adapted

PICKLE, SKOPS = "reference/model.pkl", "reference/model.skops"
LIGHTGBM, XGBOOST, CATBOOST = "reference/model.txt", "reference/model.ubj", "reference/model.cbm"
KNOWN_TYPES = (
    "collections.OrderedDict",
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
)
"""Types beyond those of numpy, scipy and scikit-learn that skops knows, whose opening runs nothing but their own
library's reader."""


def unknown_types(content: bytes) -> list[str]:
    """The types in a skops file that are not known to be harmless, in order; nothing of it is opened."""
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=content)) - set(KNOWN_TYPES))


def load_stored(name: str, content: bytes) -> Any:
    """The fitted object in the file `name` of a bundle that was verified.

    Raises:
        NotTrusted: a skops file holds a type that is not known to be harmless.
        ImportError: a library that it needs is not installed.
    """
    return LOADERS[name](content)


def load_skops(content: bytes) -> Any:
    """The object in a skops file.

    Raises:
        NotTrusted: it holds a type that is not known to be harmless.
    """
    import skops.io

    unknown = unknown_types(content)
    if unknown:
        raise NotTrusted(
            f"The skops file holds {', '.join(unknown)}, which this registry does not know to be harmless.",
            todo="If you know who wrote it, register it with --trust; that is recorded.",
        )
    return skops.io.loads(content, trusted=list(KNOWN_TYPES))


def load_lightgbm(content: bytes) -> Any:
    """A `lightgbm.Booster` from its text."""
    import lightgbm

    return lightgbm.Booster(model_str=content.decode())


def load_xgboost(content: bytes) -> Any:
    """An `xgboost.Booster` from its JSON or UBJSON."""
    import xgboost

    return adapted(xgboost.Booster(model_file=bytearray(content)))


def load_catboost(content: bytes, classes: bool = False) -> Any:
    """A CatBoost model from its binary form: raw numbers, or with `classes` a classifier where it knows any.

    It goes by a file: a model that was read from memory still points into it when that memory is gone.
    """
    import catboost

    with tempfile.NamedTemporaryFile(suffix=".cbm") as file:
        file.write(content)
        file.flush()
        model = catboost.CatBoost().load_model(file.name)
        if classes and len(model.classes_):
            return catboost.CatBoostClassifier().load_model(file.name)
    return adapted(model)


def _unpickled(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301 - the bundle was verified: this registry wrote it


LOADERS: dict[str, Callable[[bytes], Any]] = {
    PICKLE: _unpickled,
    SKOPS: load_skops,
    LIGHTGBM: load_lightgbm,
    XGBOOST: load_xgboost,
    CATBOOST: load_catboost,
}
