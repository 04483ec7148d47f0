"""For people who live in Ray Data: a version as a function of batches.

>>> ray.data.read_parquet("s3://flights").map_batches(headrace.ray.predictor("late-arrival@3"), batch_format="pyarrow")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from headrace.batch.engines.frames import Answering, prepared
from headrace.batch.engines.on_ray import connected
from headrace.batch.sources import need
from headrace.data.frames import to_polars
from headrace.workspace import Workspace, open  # noqa: A004


class Predictor:
    """Adds to batches their answers: `prediction`, ``probability.CLASS`` for each class, `version`, and `error`, which
    says of a row that cannot be answered which field and why. Batches come as Arrow, pandas or dicts of arrays, and go
    as Arrow."""

    def __init__(self, it: Answering, files: Any) -> None:
        self._it = it
        self._files = files

    def __call__(self, batch: Any) -> Any:
        """A batch with its answers, as an Arrow table.

        Raises:
            SchemaViolation: a column is absent.
        """
        ray = need("ray", "A predictor of Ray", "ray")
        frame = batch if type(batch).__module__.startswith("pyarrow") else _frame(batch)
        frame = pl.DataFrame(pl.from_arrow(frame)) if not isinstance(frame, pl.DataFrame) else frame
        return self._it.beside(frame, lambda: ray.get(self._files)).to_arrow()


def _frame(batch: Any) -> pl.DataFrame:
    if isinstance(batch, Mapping):
        return pl.DataFrame({name: pl.Series(name, list(values)) for name, values in batch.items()})
    return to_polars(batch)


def predictor(model: str, workspace: Workspace | str | None = None) -> Predictor:
    """A version as a function for ``Dataset.map_batches``, on the cluster that Ray is connected to, or a new local one.

    Answers are those of every other form. The bundle goes to each machine once.

    Args:
        model: a reference such as ``late-arrival@3``.
        workspace: one, or its address; by default the one of ``headrace.open()``.

    Raises:
        MissingExtra: Ray (``headrace[ray]``) is not installed.
        NotFound: there is no such version.
        NotTrusted: its bundle was altered.
    """
    ray = connected(None, 0)
    ws = workspace if isinstance(workspace, Workspace) else open(workspace)
    it, files = prepared(ws.version_store, model)
    return Predictor(it, ray.put(files))
