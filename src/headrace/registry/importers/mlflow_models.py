"""MLflow's models: which file of a model's folder is the model, and fetching one from a live MLflow server.

Read by `MLmodel` (mlflow/mlflow, `mlflow/models/model.py`). Loaders that it names are not run: the model's own file is
read by its content, like any other. Of a `python_function` of somebody's own that is the pickled `PythonModel`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from headrace.kernel.errors import InvalidInput, MissingExtra, NotTrusted, Unavailable

FLAVORS = (
    ("onnx", "data"),
    ("lightgbm", "data"),
    ("xgboost", "data"),
    ("catboost", "data"),
    ("sklearn", "pickled_model"),
)
"""Each flavor whose model is one file, and the field that names the file."""
PYTHON_FUNCTION = ("python_function", "python_model")
SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


class Found(NamedTuple):
    """The file that holds a model. Of a `PythonModel` also the files that it loads (`artifacts`) and its `config`."""

    file: Path
    python_function: bool = False
    artifacts: dict[str, str] = {}
    config: dict[str, Any] = {}


def model_file(folder: Path) -> Found:
    """The file of an MLflow model's folder that holds the model itself.

    Raises:
        InvalidInput: MLmodel cannot be read, or the model has no flavor of which it can be taken.
        NotTrusted: it names a file outside its folder.
    """
    try:
        document: Any = yaml.safe_load((folder / "MLmodel").read_text())
        flavors: dict[str, Any] = dict(document["flavors"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{folder / 'MLmodel'} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}.",
            expected="the YAML that MLflow writes",
            todo="Save the model again.",
        ) from error
    for flavor, field in FLAVORS:
        section = flavors.get(flavor)
        if isinstance(section, dict) and isinstance(section.get(field), str):
            return Found(_file(_inside(folder, section[field])))
    section = flavors.get(PYTHON_FUNCTION[0])
    if isinstance(section, dict) and isinstance(section.get(PYTHON_FUNCTION[1]), str):
        return _python_model(folder, section)
    raise InvalidInput(
        f"The MLflow model in {folder} has the flavors {', '.join(map(str, flavors)) or 'none'}.",
        expected=f"one of {', '.join(name for name, _ in (*FLAVORS, PYTHON_FUNCTION))} (a pickled PythonModel)",
        todo="Load it with MLflow and register the fitted object itself: ws.register(NAME, fitted, example=ROWS).",
    )


def _python_model(folder: Path, section: dict[str, Any]) -> Found:
    listed = section.get("artifacts") or {}
    config = section.get("config") or {}
    named = {str(name): one.get("path") for name, one in listed.items() if isinstance(one, dict)}
    if not isinstance(config, dict) or not all(isinstance(path, str) for path in named.values()):
        raise InvalidInput(
            f"{folder / 'MLmodel'} names artifacts or a config that are none.",
            expected="paths by name, and a table",
            todo="Save the model again.",
        )
    artifacts = {name: str(_inside(folder, path).absolute()) for name, path in named.items()}
    return Found(_inside(folder, section[PYTHON_FUNCTION[1]]), True, artifacts, config)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    path = folder / name
    outside = "\\" in name or "\0" in name or ".." in parts or PurePosixPath(name).is_absolute()
    if outside or not path.resolve().is_relative_to(folder.resolve()):
        raise NotTrusted(
            f"MLmodel names {name!r}, which is not inside its own folder.",
            expected="a file of the model's folder",
            todo="Do not use this model: it was made to reach other files.",
        )
    if not path.exists():
        raise InvalidInput(f"The MLflow model lacks {name!r}, which MLmodel names.", todo="Save the model again.")
    return path


def _file(path: Path) -> Path:
    return next((one for one in sorted(path.iterdir()) if one.is_file()), path) if path.is_dir() else path


def fetched(address: str, folder: Path) -> Path:
    """Download ``models:/NAME/VERSION`` (or ``models:/NAME@ALIAS``) into `folder` and give where it lies.

    The server is that of ``MLFLOW_TRACKING_URI``.

    Raises:
        MissingExtra: MLflow's client is not installed.
        Unavailable: the server does not answer, or has no such model.
    """
    try:
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra(
            f"{address} needs MLflow's client, which is not installed.", todo="pip install 'headrace[mlflow]'"
        ) from error
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise Unavailable(
            f"{address} could not be fetched: {str(error).splitlines()[0]}.",
            expected="models:/NAME/VERSION or models:/NAME@ALIAS of the server that MLFLOW_TRACKING_URI names",
            todo="See that the server runs, and that the model and its version exist.",
        ) from error
