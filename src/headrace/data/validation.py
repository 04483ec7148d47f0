"""Holding a table against a schema, and giving each column its type."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import polars as pl

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.schema import Column, Schema, describe_type

_TARGETS: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "string": pl.String(),
    "datetime": pl.Datetime("us"),
}
_TRUE, _FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")


class Broken(NamedTuple):
    """The rows, as a mask, whose value in a column breaks the schema; `what` says it of one of them."""

    column: Column
    rows: pl.Series
    what: Callable[[int], str]
    expected: str = ""
    todo: str = "Correct the value, or leave the row out."

    def violation(self, row: int) -> SchemaViolation:
        """The error that names this row."""
        return SchemaViolation(
            f"Row {row}, field {self.column.name!r}: {self.what(row)}.",
            row=row,
            field=self.column.name,
            expected=self.expected or describe_type(self.column),
            todo=self.todo,
        )


def conform(frame: pl.DataFrame, schema: Schema, *, needed: tuple[Column, ...] | None = None) -> pl.DataFrame:
    """The columns that `schema` asks for, in its order and types; others are left out.

    A text is read as what the column is (a CSV has nothing but texts). Keys and time may be absent.

    Raises:
        SchemaViolation: a column is absent, or a value has the wrong type; names the first row (from 0) and field.
    """
    conformed, broken = check(frame, schema, needed=needed)
    for one in broken:
        raise one.violation(one.rows.arg_max() or 0)
    return conformed


def check(
    frame: pl.DataFrame, schema: Schema, *, needed: tuple[Column, ...] | None = None
) -> tuple[pl.DataFrame, list[Broken]]:
    """As `conform`, but with what is broken instead of an error; a broken value is null.

    Raises:
        SchemaViolation: a column is absent.
    """
    wanted = schema.asked if needed is None else needed
    absent = [c for c in wanted if c.name not in frame.columns and c.role in ("feature", "target")]
    missing = [c.name for c in absent if not c.nullable]
    if missing:
        raise SchemaViolation(
            f"The rows lack {'the column' if len(missing) == 1 else 'the columns'} {', '.join(map(repr, missing))}; "
            f"they have {', '.join(map(repr, frame.columns[:40]))}.",
            field=missing[0],
            expected=f"the columns {', '.join(c.name for c in wanted if c.role != 'time' and c.role != 'key')}",
            todo="Add the column, or correct its name.",
        )
    typed = [_typed(frame[column.name], column) for column in wanted if column.name in frame.columns]
    there = [series for series, _ in typed]
    nulls = [pl.Series(c.name, [None] * frame.height, dtype=_TARGETS[c.type]) for c in absent]
    found = {series.name: series for series in there + nulls}
    conformed = pl.DataFrame([found[column.name] for column in wanted if column.name in found])
    broken = [one for _, one in typed if one is not None]
    return conformed, broken + (_enforced(conformed, wanted) if schema.enforce else [])


def refuse_infinite(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The frame, if none of its features is infinite: JSON has no such number, so no form answers it.

    Raises:
        SchemaViolation: a number is infinite.
    """
    for one in infinite(frame, schema):
        raise one.violation(one.rows.arg_max() or 0)
    return frame


def infinite(frame: pl.DataFrame, schema: Schema) -> list[Broken]:
    """The infinite numbers among the features of a frame that conforms to `schema`."""
    found = ((column, frame[column.name]) for column in schema.features if column.type == "number")
    return [
        Broken(column, series.is_infinite().fill_null(False), lambda row, s=series: f"{s[row]} is not finite")
        for column, series in found
        if not _all_finite(series) and series.is_infinite().any()
    ]


def _all_finite(numbers: pl.Series) -> bool:
    """Whether all are surely finite, because their sum is; it takes a tenth of looking at each."""
    return math.isfinite(numbers.sum())


def _typed(series: pl.Series, column: Column) -> tuple[pl.Series, Broken | None]:
    if _is_sound(series, column):
        return series, None
    series = series.alias("values")  # Polars would take some names for patterns
    if series.dtype.is_float() and column.type != "string":
        series = series.fill_nan(None)
    typed = _cast(series, column)
    broken = typed.is_null()
    if broken.any() and series.dtype == pl.String and column.type in ("integer", "number"):
        series = series.str.strip_chars()
        series = pl.select(pl.when(~series.str.to_lowercase().is_in(["", "nan"])).then(series)).to_series()
        typed = _cast(series, column)
        broken = typed.is_null()
    if column.nullable or column.role != "feature":
        broken = broken & series.is_not_null()
    typed = typed.alias(column.name)
    if not broken.any():
        return typed, None

    def what(row: int) -> str:
        found = "null" if series[row] is None else repr(series[row])
        return f"{found} is not {describe_type(column)}"

    return typed, Broken(column, broken, what)


def _is_sound(series: pl.Series, column: Column) -> bool:
    """Whether a column is of its type already, without nulls: nearly all are, and need no more work."""
    if series.dtype != _TARGETS[column.type] or series.null_count() or column.type == "datetime":
        return False
    return column.type != "number" or _all_finite(series) or not series.is_nan().any()


def _cast(series: pl.Series, column: Column) -> pl.Series:
    text = series.dtype == pl.String
    if column.type == "boolean" and text:
        truth = pl.when(pl.col("v").is_in(_TRUE)).then(True).when(pl.col("v").is_in(_FALSE)).then(False)
        return pl.select(v=series).select(truth.alias(series.name)).to_series()
    if column.type == "datetime":
        return _moments(series)
    if not text and not _compatible(series.dtype, column):
        return pl.Series(series.name, [None] * len(series), dtype=_TARGETS[column.type])
    if column.type == "integer" and (text or series.dtype.is_float()):
        exact, number = pl.col("v").cast(pl.Int64, strict=False), pl.col("v").cast(pl.Float64, strict=False)
        whole = pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)
        chosen = pl.coalesce(exact, whole) if text else whole
        return pl.select(v=series).select(chosen.alias(series.name)).to_series()
    cast = series.cast(_TARGETS[column.type], strict=False).rename(series.name)
    return cast.fill_nan(None) if column.type == "number" else cast


def _compatible(dtype: pl.DataType, column: Column) -> bool:
    if dtype == pl.Null:
        return True
    if column.type in ("integer", "number"):
        return dtype.is_numeric()
    if column.type == "string":
        return dtype in (pl.String, pl.Categorical, pl.Enum)
    return dtype == pl.Boolean


_PLAIN_MOMENTS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def _moments(series: pl.Series) -> pl.Series:
    moment = pl.Datetime("us")
    if series.dtype == pl.String:
        text = pl.col("v").str
        zoned = text.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)
        plain = [text.to_datetime(form, time_unit="us", strict=False, exact=True) for form in _PLAIN_MOMENTS]
        return pl.select(v=series).select(pl.coalesce(zoned, *plain).alias(series.name)).to_series()
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone:
        return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(moment)
    if series.dtype in (pl.Datetime, pl.Date, pl.Null):
        return series.cast(moment)
    return pl.Series(series.name, [None] * len(series), dtype=moment)


def _enforced(frame: pl.DataFrame, wanted: tuple[Column, ...]) -> list[Broken]:
    found = []
    for column in wanted:
        if column.name not in frame.columns:
            continue
        series = frame[column.name]
        outside = pl.Series([False] * len(series))
        if column.categories is not None and column.type == "string":
            outside = ~series.is_in(list(column.categories)) & series.is_not_null()
        elif column.minimum is not None and column.maximum is not None:
            outside = ((series < column.minimum) | (series > column.maximum)).fill_null(False)
        if outside.any():
            seen = column.categories or f"{column.minimum:g} to {column.maximum:g}"
            expected = f"one of {seen}" if column.categories else str(seen)
            what = partial(_unseen, series)
            found.append(Broken(column, outside, what, expected, "Correct the value, or set enforce = false."))
    return found


def _unseen(series: pl.Series, row: int) -> str:
    return f"{series[row]!r} was not seen in training (enforced)"
