"""Reading a schema off a table: types, nullability, ranges, categories, and the frame that it came in."""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.data.frames import frame_kind
from headrace.kernel.errors import InvalidInput
from headrace.kernel.schema import Column, Role, Scalar, Schema, Type

MOST_CATEGORIES = 256


def infer_schema(
    table: Any, frame: pl.DataFrame, *, keys: tuple[str, ...] = (), time: str | None = None, target: str | None = None
) -> Schema:
    """The schema of `frame`, which is `table` as Polars; `table` tells the native dtypes and the null sentinel.

    Raises:
        InvalidInput: a key, time or target column is absent, or a column has a type that no schema has.
    """
    named: dict[str, Role] = {**dict.fromkeys(keys, "key"), **({time: "time"} if time else {})}
    if target:
        named[target] = "target"
    for name, role in named.items():
        if name not in frame.columns:
            raise InvalidInput(
                f"The {role} column {name!r} is not in the data.",
                field=name,
                expected=f"one of its columns: {', '.join(frame.columns)}",
                todo=f"Correct the name of the {role}, or load the column.",
            )
    kind = frame_kind(table)
    columns = tuple(_column(frame[name], table, kind, named.get(name, "feature")) for name in frame.columns)
    return Schema(frame=kind, columns=columns)


def column_type(dtype: pl.DataType) -> Type | None:
    """The schema's word for a Polars type."""
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or dtype.is_decimal():
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    return "datetime" if dtype in (pl.Datetime, pl.Date) else None


def _column(series: pl.Series, table: Any, frame_kind: str, role: Role) -> Column:
    kind = column_type(series.dtype)
    if kind is None:
        raise InvalidInput(
            f"Column {series.name!r} has the type {series.dtype}.",
            field=series.name,
            expected="booleans, numbers, texts or dates",
            todo="Convert the column, or leave it out.",
        )
    native = table[series.name] if frame_kind == "pandas" else None
    present = (series.cast(pl.Float64) if series.dtype.is_decimal() else series).drop_nulls()
    present = (present.fill_nan(None) if present.dtype.is_float() else present).drop_nulls()
    numeric = kind in ("integer", "number") and len(present) > 0
    return Column(
        name=series.name,
        type=kind,
        dtype=_dtype(series, table, frame_kind, native),
        role=role,
        nullable=series.null_count() > 0
        or (kind == "number" and role == "feature" and series.dtype.is_float() and bool(series.is_nan().any())),
        sentinel=_sentinel(native),
        minimum=float(present.min()) if numeric else None,  # type: ignore[arg-type]
        maximum=float(present.max()) if numeric else None,  # type: ignore[arg-type]
        categories=_categories(series, native) if role == "feature" else None,
        example=_example(present, kind),
    )


def _dtype(series: pl.Series, table: Any, frame_kind: str, native: Any) -> str:
    if native is not None:
        return str(native.dtype)
    return str(table.dtype) if frame_kind == "numpy" else str(series.dtype)


def _sentinel(native: Any) -> Any:
    if native is None or str(native.dtype) != "object":
        return "nan"
    return "none" if any(value is None for value in native) else "nan"


def _categories(series: pl.Series, native: Any) -> tuple[str, ...] | None:
    if native is not None and str(native.dtype) == "category":
        return tuple(str(value) for value in native.cat.categories)
    if series.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return None
    values = series.drop_nulls().cast(pl.String).unique()
    return tuple(sorted(values.to_list())) if 0 < len(values) <= MOST_CATEGORIES else None


def _example(present: pl.Series, kind: Type) -> Scalar:
    if not len(present):
        return None
    value = present[len(present) // 2]
    if kind == "number":
        return float(value)
    return value.isoformat() if kind == "datetime" else str(value) if kind == "string" else value
