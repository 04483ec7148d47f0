"""A bundle behind MLflow's `python_function`: frames in, predictions out, by the same schema as everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headrace.data.frames import columns_of, to_polars
from headrace.data.validation import conform, refuse_infinite
from headrace.kernel.digests import digest_file
from headrace.runtimes.bundle import MANIFEST
from headrace.runtimes.opening import open_bundle


class ExportedModel:
    """A version that left its registry. Every byte of it was held against its manifest when it was opened."""

    def __init__(self, folder: Path) -> None:
        self.scorer = open_bundle(folder, digest_file(folder / MANIFEST))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """The predictions of n rows, shape (n,) or (n, outputs); with ``params={"answer": "probability"}`` the
        probabilities of the classes, shape (n, classes).

        Raises:
            SchemaViolation: a row breaks the contract.
        """
        schema = self.scorer.schema
        frame = refuse_infinite(conform(to_polars(model_input), schema), schema)
        answers = self.scorer.arrays(columns_of(frame, schema), frame.height)
        if (params or {}).get("answer") == "probability" and answers.probabilities is not None:
            return np.asarray(answers.probabilities)
        return np.asarray(answers.predictions)


def _load_pyfunc(path: str) -> ExportedModel:
    """What MLflow calls, with the path of the bundle."""
    return ExportedModel(Path(path))
