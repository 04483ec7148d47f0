"""Two objects that were fitted alike have one canonical digest, whatever wrote them; others have another."""

import pickle

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from headrace.compiler.canonical import canonical_digest

CHANCE = np.random.default_rng(2)
ROWS = pd.DataFrame({"a": CHANCE.normal(size=300), "b": CHANCE.choice(list("xyz"), 300)})
TARGET = ROWS["a"] > 0.1


def encoded(model):
    parts = [("n", StandardScaler(), ["a"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["b"])]
    return make_pipeline(ColumnTransformer(parts), model)


def booster(library, name, **params):
    return getattr(pytest.importorskip(library), name)(**params)


MODELS = {
    "histogram": lambda k: encoded(HistGradientBoostingClassifier(max_iter=5 + k)),
    "forest": lambda k: encoded(RandomForestClassifier(5, random_state=k, n_jobs=1)),
    "linear": lambda k: encoded(LogisticRegression(C=1.0 + k)),
    "boosting": lambda k: encoded(GradientBoostingClassifier(n_estimators=4, random_state=k, subsample=0.5)),
    "neighbours": lambda k: encoded(KNeighborsClassifier(3 + k)),
    "lightgbm": lambda k: encoded(booster("lightgbm", "LGBMClassifier", n_estimators=3 + k, verbose=-1)),
    "xgboost": lambda k: encoded(booster("xgboost", "XGBClassifier", n_estimators=3 + k)),
    "catboost": lambda k: encoded(
        booster("catboost", "CatBoostClassifier", iterations=3 + k, verbose=0, allow_writing_files=False)
    ),
    "function": lambda k: make_pipeline(FunctionTransformer(lambda d: d[["a"]] * (2 + k)), LogisticRegression()),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_again_and_another(name):
    first, second, other = (MODELS[name](k).fit(ROWS.copy(), TARGET) for k in (0, 0, 1))
    digest = canonical_digest(first)
    assert digest == canonical_digest(second)
    assert digest == canonical_digest(pickle.loads(cloudpickle.dumps(first)))
    assert digest != canonical_digest(other) or name == "function"


def test_threads_change_nothing():
    one, two = (RandomForestClassifier(4, random_state=0, n_jobs=n).fit(ROWS[["a"]], TARGET) for n in (1, 2))
    assert canonical_digest(one) == canonical_digest(two)


def test_an_objects_own_loops_end():
    class Loop:
        def __init__(self, value):
            self.me, self.value = self, value

    assert canonical_digest(Loop(1)) == canonical_digest(Loop(1)) != canonical_digest(Loop(2))
