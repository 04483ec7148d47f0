"""The pipeline as MLflow saves it, with its signature, answering with probabilities.

python save_mlflow.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow.sklearn
from mlflow.models import infer_signature
from model import fit

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    fitted, frame = fit(folder)
    mlflow.sklearn.save_model(
        fitted,
        folder / "model",
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(frame, fitted.predict_proba(frame[:100])),
    )
