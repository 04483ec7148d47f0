"""The canonical digest of a fitted object: the same for two objects that were fitted alike, whatever wrote them.

Pickles of equal objects differ in bytes (memo, interning, timestamps), so the object is walked instead: types,
parameters, raw arrays. Boosters by their libraries' own text, without what only says how they were trained (threads,
moments, unique ids).
"""

from __future__ import annotations

import hashlib
import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LIGHTGBM_PARAMETERS = re.compile(r"\nparameters:.*?end of parameters\n", re.DOTALL)
_CATBOOST_MOMENTS = ("model_guid", "train_finish_time")
IGNORED = frozenset(
    {
        "_memory",
        "_random_seed",
        "_sklearn_version",
        "n_jobs",
        "n_threads",
        "nthread",
        "num_threads",
        "random_state",
        "thread_count",
        "verbose",
    }
)
"""Attributes that change nothing of the answers."""


def canonical_digest(fitted: Any) -> str:
    """SHA-256 of a fitted object's content, in hexadecimal."""
    walk = _Walk()
    walk.add(fitted)
    return walk.total.hexdigest()


class _Walk:
    def __init__(self) -> None:
        self.total = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []

    def add(self, value: Any) -> None:
        """Add one value and what it holds; one that was met before goes in as its place."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            self._scalar(value)
            return
        place = self._seen.get(id(value))
        if place is not None:
            self._mark("again", place)
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        self._mark(f"{type(value).__module__}.{type(value).__qualname__}")
        self._content(value)

    def _content(self, value: Any) -> None:
        known = NATIVE.get(f"{type(value).__module__.split('.')[0]}.{type(value).__name__}")
        if known is not None:
            self.total.update(known(value))
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, np.dtype):
            self._mark(str(value))
        elif isinstance(value, Mapping):
            self._pairs(value)
        elif isinstance(value, list | tuple):
            self._items(value)
        elif isinstance(value, set | frozenset):
            self._items(sorted(value, key=repr))
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
            self._mark(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        elif isinstance(value, np.random.RandomState | np.random.Generator):
            return  # where the draws of a training ended
        else:
            self._object(value)

    def _scalar(self, value: Any) -> None:
        if isinstance(value, float | np.floating):
            self._mark("float", np.float64(value).tobytes().hex())
        else:
            self._mark(type(value).__name__, value.item() if isinstance(value, np.generic) else value)

    def _array(self, value: np.ndarray) -> None:
        self._mark(value.dtype.str, value.shape)
        if value.dtype.names:
            for name in value.dtype.names:
                self._array(np.ascontiguousarray(value[name]))
        elif value.dtype == object:
            self._items(value.ravel().tolist())
        else:
            self.total.update(np.ascontiguousarray(value).tobytes())

    def _pairs(self, value: Mapping[Any, Any]) -> None:
        for key in sorted(value, key=repr):
            if key not in IGNORED:
                self.add(key)
                self.add(value[key])
        self._mark("end")

    def _items(self, values: Any) -> None:
        for item in values:
            self.add(item)
        self._mark("end")

    def _function(self, value: types.FunctionType) -> None:
        code = value.__code__
        self._mark(value.__qualname__, code.co_code.hex(), code.co_names)
        self._items([c for c in code.co_consts if not isinstance(c, types.CodeType)])
        self.add(value.__defaults__)

    def _object(self, value: Any) -> None:
        if hasattr(value, "__dict__"):
            self._pairs(vars(value))
            return
        try:
            reduced = value.__reduce_ex__(2)
        except TypeError:
            return  # nothing can be read of it; its type went in
        self._items(reduced[1:3] if isinstance(reduced, tuple) else (str(reduced),))

    def _mark(self, *words: Any) -> None:
        self.total.update(repr(words).encode())


def _lightgbm(booster: Any) -> bytes:
    return _LIGHTGBM_PARAMETERS.sub("\n", booster.model_to_string()).encode()


def _catboost(model: Any) -> bytes:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        document = json.loads(path.read_text())
    info = document.get("model_info", {})
    for name in (*_CATBOOST_MOMENTS, "params", "output_options"):
        info.pop(name, None)
    return json.dumps(document, sort_keys=True).encode()


NATIVE: dict[str, Callable[[Any], bytes]] = {
    "lightgbm.Booster": _lightgbm,
    "xgboost.Booster": lambda booster: bytes(booster.save_raw("ubj")),
    "catboost.CatBoost": _catboost,
    "catboost.CatBoostClassifier": _catboost,
    "catboost.CatBoostRegressor": _catboost,
}
"""How boosters are written down, by library and class."""
