"""Two objects that were fitted alike have one canonical digest, whatever wrote them; others have another."""

import collections
import functools
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
    assert digest != canonical_digest(other)


def test_threads_change_nothing():
    one, two = (RandomForestClassifier(4, random_state=0, n_jobs=n).fit(ROWS[["a"]], TARGET) for n in (1, 2))
    assert canonical_digest(one) == canonical_digest(two)


def test_an_objects_own_loops_end():
    class Loop:
        def __init__(self, value):
            self.me, self.value = self, value

    assert canonical_digest(Loop(1)) == canonical_digest(Loop(1)) != canonical_digest(Loop(2))


def adding(number):
    return lambda x: x + number


def keyed(*, factor=2):
    return factor


def keyed_otherwise(*, factor=3):
    return factor


keyed_otherwise.__qualname__ = "keyed"
DIFFERENT = {
    "partial": (functools.partial(np.add, 1), functools.partial(np.multiply, 7)),
    "closure": (adding(1), adding(2)),
    "inner function": (lambda: (lambda: 1)(), lambda: (lambda: 2)()),
    "keyword default": (keyed, keyed_otherwise),
    "deque": (collections.deque([1, 2]), collections.deque([1, 3])),
    "masked": (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
    "frame": (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
    "series": (pd.Series([1.0, 2.0]), pd.Series([1.0, 3.0])),
    "categorical": (pd.Categorical(["a", "b"]), pd.Categorical(["b", "a"])),
    "a word that is a parameter elsewhere": ({"verbose": 1}, {"verbose": 2}),
    "clipped": tuple(FunctionTransformer(functools.partial(np.clip, a_min=0, a_max=m)) for m in (100, 200)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_has_another_digest(name):
    first, second = DIFFERENT[name]
    assert canonical_digest(first) != canonical_digest(second)
    again = pickle.loads(cloudpickle.dumps(first))
    assert canonical_digest(first) == canonical_digest(again) or name == "inner function"


def test_what_cannot_be_read_has_no_digest():
    import threading

    assert canonical_digest({"lock": threading.Lock()}) == ""
