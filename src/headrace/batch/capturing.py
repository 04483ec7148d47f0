"""What is written down of the answers of a job, so that outcomes, drift and trace cover batch as they do requests.

The rows of a chunk wait beside its part, and go to the worker's inbox once the job's answers are where they belong. The
id of the plan stands for the request, so the same rows scored again are the same predictions, written down once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from headrace.batch.job import Asked, Plan
from headrace.data.predicted import MOMENT, PREDICTIONS
from headrace.kernel.digests import canonical
from headrace.kernel.routes import Rule
from headrace.kernel.schema import Schema
from headrace.serving.protecting import hashed

ROUTE = "batch"
ISO = "%Y-%m-%dT%H:%M:%S%.6f"


class Policy(NamedTuple):
    """What may be written down of a model's answers, and with which secret columns are hashed."""

    rule: Rule
    secret: Callable[[], bytes]


class Capturing:
    """Makes the rows of one job for the predictions table; can be sent to other machines, with the secret if it hashes.

    Args:
        moment: when the job was begun, in UTC.
        who: who asked for it.
    """

    def __init__(self, asked: Asked, plan: Plan, schema: Schema, policy: Policy, moment: datetime, who: str) -> None:
        self._asked = asked
        self._plan = plan
        self._schema = schema
        self._hashed = policy.rule.hashed
        self._secret = policy.secret() if self._hashed else b""
        self._moment = moment.replace(tzinfo=None)
        self._who = who
        hidden = policy.rule.masked
        self._features = [column.name for column in schema.features if column.name not in hidden]
        self._keys = sorted(column.name for column in schema.having("key") if column.name not in hidden)
        self._time = next((column.name for column in schema.having("time")), None)

    def rows(self, seen: pl.DataFrame, answers: pl.DataFrame, numbers: np.ndarray) -> pl.DataFrame:
        """Rows of the predictions table.

        Args:
            seen: what the schema asks for, of shape (rows, columns), typed.
            answers: of the same rows.
            numbers: of each row within the source.
        """
        seen = self._protected(seen)
        frame = pl.DataFrame({"row": pl.Series(numbers, dtype=pl.Int64)}).with_columns(
            features=_as_json(seen, [name for name in self._features if name in seen.columns]),
            key=_keys(seen, [name for name in self._keys if name in seen.columns]),
            prediction=_spelled(answers["prediction"]),
            score=_score(answers),
            time=pl.lit(self._moment, MOMENT),
        )
        moments = seen[self._time].cast(MOMENT) if self._time in seen.columns else frame["time"]
        return frame.with_columns(
            id=pl.format(f"{self._plan.id}.{{}}", "row"),
            request=pl.lit(self._plan.id),
            model=pl.lit(self._asked.model),
            version=pl.lit(self._asked.version, pl.Int64),
            route=pl.lit(ROUTE),
            generation=pl.lit(0, pl.Int64),
            moment=moments.fill_null(self._moment),
            date=moments.fill_null(self._moment).dt.strftime("%Y-%m-%d"),
            latency=pl.lit(None, pl.Float64),
            error=pl.lit(""),
            consumer=pl.lit(self._who),
        ).select(list(PREDICTIONS))

    def _protected(self, seen: pl.DataFrame) -> pl.DataFrame:
        """The columns with keyed hashes in place of those that are hashed."""
        names = [name for name in self._hashed if name in seen.columns and name != self._time]
        if not names:
            return seen
        return seen.with_columns(
            [
                pl.Series(name, [hashed(value, self._secret) for value in seen[name].to_list()], pl.String)
                for name in names
            ]
        )


def _as_json(seen: pl.DataFrame, names: list[str]) -> pl.Series:
    if not names:
        return pl.Series(["{}"] * seen.height, dtype=pl.String)
    frame = seen.select(names)
    moments = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
    texts = [frame[name].alias("moments").dt.to_string(ISO).alias(name) for name in moments]
    frame = frame.with_columns(texts) if texts else frame
    return frame.to_struct("features").struct.json_encode()


def _keys(seen: pl.DataFrame, names: list[str]) -> pl.Series:
    """Keys in canonical JSON, without those that are null. Names come sorted."""
    plain = all(seen.schema[name] in (pl.String, pl.Int64) for name in names)
    if plain and not any(seen[name].null_count() for name in names):
        return _as_json(seen, names)
    rows = seen.select(names).iter_rows(named=True)
    kept = ({name: value for name, value in row.items() if value is not None} for row in rows)
    return pl.Series([canonical(row).decode() for row in kept], dtype=pl.String)


def _spelled(said: pl.Series) -> pl.Series:
    """Predictions as JSON spells them; where they are texts, each of them once."""
    if said.dtype == pl.Boolean or said.dtype.is_integer():
        return said.cast(pl.String)
    if said.dtype.is_float():
        finite = pl.when(pl.col("p").is_finite()).then(pl.col("p").cast(pl.String))  # JSON has no other numbers
        return said.to_frame("p").select(finite.otherwise(pl.lit("null"))).to_series()
    spelled: dict[Any, str] = {value: msgspec.json.encode(value).decode() for value in said.unique().to_list()}
    return said.replace_strict(spelled, return_dtype=pl.String)


def _score(answers: pl.DataFrame) -> pl.Series:
    """One number for each prediction: the second class's probability of two, the largest of more, or itself."""
    shares = [name for name in answers.columns if name.startswith("probability.")]
    said = answers["prediction"]
    if len(shares) == 2:
        return answers[shares[1]].cast(pl.Float64)
    if shares:
        return answers.select(pl.max_horizontal(shares)).to_series().cast(pl.Float64)
    numeric = said.dtype.is_numeric()
    return said.cast(pl.Float64) if numeric else pl.Series([None] * len(said), dtype=pl.Float64)
