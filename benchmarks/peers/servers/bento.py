"""BentoML: an endpoint whose requests are batched adaptively."""

from __future__ import annotations

import os
from pathlib import Path

import bentoml
import joblib
import pandas as pd
from row import Row


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Predictor:
    """The pipeline."""

    def __init__(self) -> None:
        self.model = joblib.load(Path(os.environ["MODEL_FOLDER"]) / "model.joblib")

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict(self, rows: list[Row]) -> list[float]:
        """The probability of the second class for each row."""
        frame = pd.DataFrame([row.model_dump() for row in rows])
        return self.model.predict_proba(frame)[:, 1].tolist()
