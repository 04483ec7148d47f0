"""LitServe: batches of up to 64 of what is waiting.

python lit.py PORT
"""

import os
import sys
from pathlib import Path
from typing import Any

import joblib
import litserve
import numpy as np
import pandas as pd
from row import Row


class Predictor(litserve.LitAPI):
    """The pipeline."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self.model = joblib.load(Path(os.environ["MODEL_FOLDER"]) / "model.joblib")

    def decode_request(self, request: Row) -> dict[str, Any]:
        """A request is a row; LitServe has validated it."""
        return request.model_dump()

    def batch(self, inputs: list[dict[str, Any]]) -> pd.DataFrame:
        """Rows as a frame."""
        return pd.DataFrame(inputs)

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        """The probability of the second class for each row."""
        return self.model.predict_proba(x)[:, 1]

    def unbatch(self, output: np.ndarray) -> list[float]:
        """An answer for each request."""
        return output.tolist()

    def encode_response(self, output: float) -> dict[str, float]:
        """The answer as a document."""
        return {"probability": output}


if __name__ == "__main__":
    predictor = Predictor(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(predictor, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
