"""A model behind FastAPI as it is usually written: pydantic, a frame of one row, predict_proba in a plain function."""

from __future__ import annotations

import os
from pathlib import Path

import joblib
import pandas as pd
from fastapi import FastAPI
from row import Row

app = FastAPI()
model = joblib.load(Path(os.environ["MODEL_FOLDER"]) / "model.joblib")


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:
    """The probability of the second class."""
    frame = pd.DataFrame([row.model_dump()])
    return {"probability": float(model.predict_proba(frame)[0, 1])}
