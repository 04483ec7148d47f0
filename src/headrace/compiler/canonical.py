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


PANDAS = frozenset({"DataFrame", "Series", "Index", "ExtensionArray"})


def canonical_digest(fitted: Any) -> str:
    """SHA-256 of a fitted object's content, in hexadecimal; empty where some part of it cannot be read."""
    walk = _Walk()
    walk.add(fitted)
    return walk.total.hexdigest() if walk.readable else ""


class _Walk:
    def __init__(self) -> None:
        self.total = hashlib.sha256()
        self.readable = True
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
        elif isinstance(value, Mapping):
            self._pairs(value)
        elif isinstance(value, list | tuple):
            self._items(value)
        elif isinstance(value, set | frozenset):
            self._items(sorted(value, key=repr))
        else:
            self._other(value)

    def _other(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, np.dtype):
            self._mark(str(value))
        elif isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
            self._mark(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        elif isinstance(value, np.random.RandomState | np.random.Generator):
            return  # where the draws of a training ended
        elif PANDAS & {each.__name__ for each in type(value).__mro__ if each.__module__.split(".")[0] == "pandas"}:
            self._pandas(value)
        else:
            self._object(value)

    def _pandas(self, value: Any) -> None:
        """A frame, series, index or array of pandas by its values: how it holds them differs from one to the next."""
        if hasattr(value, "columns"):
            self.add(list(value.columns))
            self._items([value.iloc[:, i] for i in range(len(value.columns))])
            return
        if hasattr(value, "index"):
            self.add(list(value.index))
        categories = getattr(value.dtype, "categories", None)
        self._mark(str(value.dtype), None if categories is None else list(categories))
        self.add([None if missing else item for item, missing in zip(list(value), value.isna(), strict=True)])

    def _scalar(self, value: Any) -> None:
        if isinstance(value, float | np.floating):
            self._mark("float", np.float64(value).tobytes().hex())
        else:
            self._mark(type(value).__name__, value.item() if isinstance(value, np.generic) else value)

    def _array(self, value: np.ndarray) -> None:
        if isinstance(value, np.ma.MaskedArray):
            self._array(np.ma.getmaskarray(value))
            value = np.asarray(value.data)
        self._mark(value.dtype.str, value.shape)
        if value.dtype.names:
            for name in value.dtype.names:
                self._array(np.ascontiguousarray(value[name]))
        elif value.dtype == object:
            self._items(value.ravel().tolist())
        else:
            self.total.update(np.ascontiguousarray(value).tobytes())

    def _pairs(self, value: Mapping[Any, Any], ignored: frozenset[str] = frozenset()) -> None:
        for key in sorted(value, key=repr):
            if key not in ignored:
                self.add(key)
                self.add(value[key])
        self._mark("end")

    def _items(self, values: Any) -> None:
        for item in values:
            self.add(item)
        self._mark("end")

    def _function(self, value: types.FunctionType) -> None:
        self._mark(value.__qualname__)
        self._code(value.__code__, value.__globals__)
        self.add(value.__defaults__)
        self.add(value.__kwdefaults__)
        self._items([cell.cell_contents for cell in value.__closure__ or ()])

    def _code(self, code: types.CodeType, names: Mapping[str, Any]) -> None:
        self._mark(code.co_code.hex(), code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, names)
            else:
                self.add(constant)
        for name in code.co_names:
            known = names.get(name)
            if isinstance(known, bool | int | float | str | tuple | np.ndarray | types.FunctionType):
                self.add(known)

    def _object(self, value: Any) -> None:
        if hasattr(value, "__dict__"):
            self._pairs(vars(value), IGNORED)
            if not _pickles_itself(type(value)):
                return
        try:
            reduced = value.__reduce_ex__(2)
        except TypeError:
            self.readable = False
            return
        if isinstance(reduced, str):
            self._mark(reduced)
            return
        self._items([list(part) if hasattr(part, "__next__") else part for part in reduced[1:5]])

    def _mark(self, *words: Any) -> None:
        self.total.update(repr(words).encode())


def _pickles_itself(kind: type) -> bool:
    """Whether a class says itself what it holds, beyond its attributes; scikit-learn's says no more than they do."""
    own = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
    plain = ("builtins.object", "sklearn.base.BaseEstimator")
    named = [each for each in kind.__mro__ if f"{each.__module__}.{each.__name__}" not in plain]
    return any(name in vars(each) for each in named for name in own)


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
