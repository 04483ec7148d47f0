"""The pipeline as a model of MLServer's scikit-learn runtime, which takes frames by the codec "pd".

python save_mlserver.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
from model import fit

SETTINGS = {
    "name": "model",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "max_batch_size": 64,
    "max_batch_time": 0.001,
    "parameters": {"uri": "./model.joblib", "extra": {"predict_fn": "predict_proba"}},
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    joblib.dump(fit(folder)[0], folder / "model.joblib")
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS))
