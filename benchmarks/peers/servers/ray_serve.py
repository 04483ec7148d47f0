"""Ray Serve: one replica that batches up to 64 requests.

python ray_serve.py PORT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=64, logging_config={"enable_access_log": False})
class Predictor:
    """The pipeline."""

    def __init__(self, path: str) -> None:
        self.model = joblib.load(path)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """The probability of the second class for each row."""
        return self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()

    async def __call__(self, request: Request) -> dict[str, float]:
        """A request is a row."""
        return {"probability": await self.predict(await request.json())}


if __name__ == "__main__":
    folder = Path(os.environ["MODEL_FOLDER"])
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "ray"),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Predictor.bind(str(folder / "model.joblib")), route_prefix="/predict", blocking=True)
