"""The null contract: columns become exactly the frame that the model was fitted with, once a batch.

To scikit-learn None and NaN differ, and so do int64 and float64. The schema records the kind of frame, the
dtypes and the sentinel of missing texts; here they are rebuilt.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.kernel.errors import MissingExtra
from headrace.kernel.ports import Coded, Columns
from headrace.kernel.schema import Column, Schema

_NUMPY = re.compile(r"(bool|u?int(8|16|32|64)|float(16|32|64))\Z")
_POLARS_MOMENT = re.compile(r"Datetime\(time_unit='(ms|us|ns)', time_zone=(None|'([^']*)')\)")


def build_frame(schema: Schema, columns: Columns, rows: int) -> Any:
    """`rows` rows of the schema's features as a pandas frame, a Polars frame or a 2-d array.

    Args:
        columns: a list (None for null, moments as ISO 8601 texts) or an array for each feature.

    Raises:
        MissingExtra: the frame's library is not installed.
    """
    columns = {name: list(values) if isinstance(values, Coded) else values for name, values in columns.items()}
    build = {"pandas": _pandas, "polars": _polars, "numpy": _numpy}[schema.frame]
    return build(schema.features, columns, rows)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"The model was fitted with {name} frames, and {name} is not installed.",
            todo=f"Install it: pip install 'headrace[{name}]'."
            if name == "pandas"
            else f"Install it: pip install {name}.",
        ) from error


def _pandas(features: Sequence[Column], columns: Columns, rows: int) -> Any:
    pd = _library("pandas")
    series = {column.name: _pandas_column(pd, column, columns[column.name]) for column in features}
    return pd.DataFrame(series, index=pd.RangeIndex(rows), copy=False)


def _pandas_column(pd: Any, column: Column, values: Any) -> Any:
    if _NUMPY.match(column.dtype):
        return _numbers(column.dtype, values)
    if column.dtype == "object":
        missing = None if column.sentinel == "none" else np.nan
        array = np.empty(len(values), dtype=object)
        array[:] = [missing if value is None else value for value in values]
        return pd.Series(array, dtype=object)
    if column.dtype == "category":
        known = dict.fromkeys(typed_categories(column))
        return pd.Categorical([value if value in known else None for value in values], categories=list(known))
    if column.dtype.startswith("datetime64"):
        zoned = "UTC" in column.dtype or "," in column.dtype
        return pd.Series(pd.to_datetime(pd.Series(list(values), dtype="object"), utc=zoned)).astype(column.dtype)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        values = [None if value != value else value for value in values.tolist()]
    return pd.Series(list(values), dtype=column.dtype)


def typed_categories(column: Column) -> list[Any]:
    """The categories of a categorical column in their own type; the schema keeps them as texts."""
    convert = {"integer": int, "number": float, "boolean": lambda text: text == "True"}.get(column.type, str)
    return [convert(text) for text in column.categories or ()]


def _numbers(dtype: str, values: Any) -> np.ndarray:
    if dtype.startswith("float"):
        values = [np.nan if value is None else value for value in values] if isinstance(values, list) else values
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype=dtype)
    array = np.asarray(values)
    if dtype != "bool" and array.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        outside = (array < limits.min) | (array > limits.max)
        if outside.any():
            raise OverflowError(f"{array[int(outside.argmax())]} does not fit into {dtype}")
    return np.asarray(values, dtype=dtype)


def _polars(features: Sequence[Column], columns: Columns, rows: int) -> Any:
    pl = _library("polars")
    return pl.DataFrame([_polars_column(pl, column, columns[column.name]) for column in features])


def _polars_column(pl: Any, column: Column, values: Any) -> Any:
    moment = _POLARS_MOMENT.match(column.dtype)
    if moment or column.dtype == "Date":
        series = pl.Series(column.name, list(values), dtype=pl.String).str.to_datetime(time_unit="us", strict=True)
        if not moment:
            return series.cast(pl.Date)
        return series.dt.replace_time_zone(moment[3]).dt.cast_time_unit(moment[1])
    if column.dtype.startswith(("Categorical", "Enum")):
        kind = pl.Enum(list(column.categories or ())) if column.dtype.startswith("Enum") else pl.Categorical
        return pl.Series(column.name, list(values), dtype=pl.String).cast(kind, strict=False)
    nans = isinstance(values, np.ndarray) and values.dtype.kind == "f" and column.nullable
    series = pl.Series(column.name, values, nan_to_null=nans) if nans else pl.Series(column.name, values)
    return series.cast(getattr(pl, column.dtype.split("(")[0]))


def _numpy(features: Sequence[Column], columns: Columns, rows: int) -> np.ndarray:
    if not features:
        return np.empty((rows, 0))
    return np.column_stack([_numbers(column.dtype, columns[column.name]) for column in features])
