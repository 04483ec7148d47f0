"""A fitted object as bytes: in its library's own format or as skops where that gives the same answers, else pickled."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from headrace.kernel.errors import InvalidInput
from headrace.runtimes import stored as formats

Same = Callable[[Any], bool]
"""Whether an object that was read back answers as the one that was stored."""


def stored_safely(fitted: Any, same: Same) -> tuple[str, bytes]:
    """The file of a bundle and its content, in a form that runs no code when it is opened, where there is one.

    Raises:
        InvalidInput: it cannot be stored at all.
    """
    for name, written in ((_native_name(fitted), _native), (formats.SKOPS, _skops)):
        content = written(fitted) if name else None
        if content is not None and _read_back(name, content, same):
            return name, content
    return formats.PICKLE, stored(fitted)


def _read_back(name: str, content: bytes, same: Same) -> bool:
    try:
        return same(formats.load_stored(name, content))
    except Exception:  # a form that cannot be read back, whatever the reason, is not taken
        return False


def _native_name(fitted: Any) -> str:
    kind = f"{type(fitted).__module__.split('.')[0]}.{type(fitted).__name__}"
    return {
        "lightgbm.Booster": formats.LIGHTGBM,
        "headrace.XGBoostBooster": formats.XGBOOST,
        "headrace.CatBoostNumbers": formats.CATBOOST,
    }.get(kind, "")


def _native(fitted: Any) -> bytes:
    if _native_name(fitted) == formats.LIGHTGBM:
        return fitted.model_to_string().encode()
    if _native_name(fitted) == formats.XGBOOST:
        return bytes(fitted.booster.save_raw("ubj"))
    return bytes(fitted.model._serialize_model())


def _skops(fitted: Any) -> bytes | None:
    try:
        import skops.io
    except ImportError:
        return None
    try:
        content = skops.io.dumps(fitted)
        return None if formats.unknown_types(content) else content
    except Exception:  # skops refuses in many ways what it cannot hold; a pickle may
        return None


def stored(fitted: Any) -> bytes:
    """The object as cloudpickle writes it; classes of a notebook, and of modules that are not installed, go with it.

    Raises:
        InvalidInput: it cannot be stored.
    """
    local = _local_modules()
    for module in local:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(fitted)
    except Exception as error:
        raise InvalidInput(
            f"The fitted {type(fitted).__name__} cannot be stored: {error}.",
            expected="an object that pickle or cloudpickle can store",
            todo="Take open files, locks and connections out of the object.",
        ) from error
    finally:
        for module in local:
            cloudpickle.unregister_pickle_by_value(module)


def _local_modules() -> list[ModuleType]:
    """The loaded modules that another process would not find: neither installed, nor Python's, nor ours."""
    installed = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed |= {Path(__file__).parents[1], Path(cloudpickle.__file__).parents[1]}  # in an image they lie elsewhere
    taken = cloudpickle.list_registry_pickle_by_value()
    return [m for name, m in list(sys.modules.items()) if name not in taken and _outside(m, installed)]


def _outside(module: ModuleType, folders: set[Path]) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__" or sys.modules.get(module.__name__) is not module:
        return False
    return not any(Path(file).is_relative_to(folder) for folder in folders)
