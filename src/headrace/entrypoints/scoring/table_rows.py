"""Polars frames as rows of a schema, and answers as frames. Loaded only where a whole table arrives."""

from __future__ import annotations

from typing import Any

import polars as pl
from polars.exceptions import PanicException

from headrace.compiler.golden import answers_frame
from headrace.data.frames import columns_of, storable
from headrace.data.validation import conform, refuse_infinite
from headrace.kernel.schema import Schema
from headrace.serving.decoding import Rows

answers_of = answers_frame
__all__ = ["PanicException", "answers_of", "pl", "rows_of"]


def rows_of(frame: pl.DataFrame, schema: Schema) -> Rows:
    """The rows of a frame, as arrays; columns that the schema does not have are counted.

    Raises:
        SchemaViolation: a column or a value breaks the schema.
    """
    conformed = refuse_infinite(conform(storable(frame), schema), schema)
    optional = [column.name for column in schema.having("key", "time")]
    context: dict[str, list[Any]] = {
        name: _plain(conformed[name]) if name in conformed else [None] * frame.height for name in optional
    }
    known = {column.name for column in schema.asked}
    unknown = len(set(frame.columns) - known) * frame.height
    return Rows(conformed.height, columns_of(conformed, schema), context, unknown, bulk=True)


def _plain(series: pl.Series) -> list[Any]:
    return series.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f").to_list() if series.dtype.is_temporal() else series.to_list()
