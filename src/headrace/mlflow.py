"""How MLflow opens a version that was exported with ``headrace export --as mlflow``: `mlflow.pyfunc` loads this."""

from __future__ import annotations

from headrace.entrypoints.mlflow_model import ExportedModel, _load_pyfunc

__all__ = ["ExportedModel", "_load_pyfunc"]
