"""Giving a version back: as a signed bundle for another Headrace, as an MLflow model, or as one ONNX file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from headrace.kernel.clock import to_text
from headrace.kernel.errors import InvalidInput, StorageUnavailable
from headrace.kernel.folders import need_empty
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import Version
from headrace.kernel.release import VERSION
from headrace.kernel.schema import Column
from headrace.registry.environment import Environment
from headrace.registry.onnx_form import write_onnx

_TYPES = {"boolean": "boolean", "integer": "long", "number": "double", "string": "string", "datetime": "datetime"}


def export(version: Version, bundle: Path, target: Path, form: str) -> Path:
    """Write a version, whose verified bundle is given, to the folder `target`.

    Args:
        form: ``bundle``, ``mlflow`` or ``onnx``.

    Raises:
        InvalidInput: another form, or one that this version cannot take.
        Conflict: something stands at `target`.
        StorageUnavailable: it cannot be written; nothing is left there.
    """
    if form not in FORMS:
        raise InvalidInput(f"There is no form {form!r}.", expected=f"one of {', '.join(FORMS)}", todo="Correct it.")
    need_empty(target)
    draft = target.with_name(f".{target.name}.{new_id()}")
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        FORMS[form](version, bundle, draft)
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except OSError as error:
        raise StorageUnavailable(
            f"{version.reference} could not be written to {target}: {error.strerror or error}.",
            todo="See that the disk has room and the folder may be written.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _bundle(_version: Version, bundle: Path, draft: Path) -> None:
    shutil.copytree(bundle, draft)


def _mlflow(version: Version, bundle: Path, draft: Path) -> None:
    """An MLflow model (mlflow/mlflow, `mlflow/models/model.py`) whose `python_function` is ``headrace.mlflow``."""
    shutil.copytree(bundle, draft / "bundle")
    environment = msgspec.json.decode((bundle / "environment/environment.json").read_bytes(), type=Environment)
    needed = [f"headrace=={VERSION}", *_needed(version, environment)]
    python = environment.python
    files: dict[str, Any] = {
        "python_env.yaml": {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]},
        "conda.yaml": {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": needed}],
        },
        "MLmodel": _mlmodel(version, python),
    }
    for name, document in files.items():
        (draft / name).write_text(yaml.safe_dump(document, sort_keys=False))
    (draft / "requirements.txt").write_text("".join(f"{line}\n" for line in needed))


def _needed(version: Version, environment: Environment) -> list[str]:
    """What the version needs beside Headrace: for a compiled one nothing, else the libraries of its object."""
    if version.runtime == "graph":
        return []
    libraries = ("scikit-learn", "skops", "pandas", "lightgbm", "xgboost", "xgboost-cpu", "catboost", "cloudpickle")
    return [f"{name}=={environment.packages[name].version}" for name in libraries if name in environment.packages]


def _mlmodel(version: Version, python: str) -> dict[str, Any]:
    inputs = [_input(column) for column in version.schema.asked]
    return {
        "flavors": {
            "python_function": {
                "loader_module": "headrace.mlflow",
                "data": "bundle",
                "python_version": python,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            },
            "headrace": {"version": version.reference, "digest": version.digest, "headrace_version": VERSION},
        },
        "model_uuid": version.digest[:32],
        "utc_time_created": to_text(version.created),
        "signature": {"inputs": msgspec.json.encode(inputs).decode(), "outputs": _outputs(version), "params": _PARAMS},
    }


def _input(column: Column) -> dict[str, Any]:
    required = column.role == "feature" and not column.nullable
    return {"type": _TYPES[column.type], "name": column.name, "required": required}


def _outputs(version: Version) -> str:
    dtype = "float64" if version.task == "regression" else "object"
    return msgspec.json.encode([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1]}}]).decode()


_PARAMS = msgspec.json.encode([{"name": "answer", "type": "string", "default": "prediction", "shape": None}]).decode()

FORMS: dict[str, Callable[[Version, Path, Path], None]] = {"bundle": _bundle, "mlflow": _mlflow, "onnx": write_onnx}
