"""A fitted object as bytes."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from headrace.kernel.errors import InvalidInput


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
    installed |= {Path(__file__).parents[1]}
    taken = cloudpickle.list_registry_pickle_by_value()
    return [m for name, m in list(sys.modules.items()) if name not in taken and _outside(m, installed)]


def _outside(module: ModuleType, folders: set[Path]) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__" or sys.modules.get(module.__name__) is not module:
        return False
    return not any(Path(file).is_relative_to(folder) for folder in folders)
