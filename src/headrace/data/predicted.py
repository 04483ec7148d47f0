"""The columns of the predictions table, whoever writes rows of it."""

from __future__ import annotations

import polars as pl

MOMENT = pl.Datetime("us")
PREDICTIONS = {
    "id": pl.String,
    "request": pl.String,
    "row": pl.Int64,
    "model": pl.String,
    "version": pl.Int64,
    "route": pl.String,
    "generation": pl.Int64,
    "time": MOMENT,
    "moment": MOMENT,
    "date": pl.String,
    "key": pl.String,
    "features": pl.String,
    "prediction": pl.String,
    "score": pl.Float64,
    "latency": pl.Float64,
    "error": pl.String,
    "consumer": pl.String,
}
