"""Any table that people have (pandas, Polars, numpy, files) as a Polars frame, and back as plain columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headrace.kernel.errors import InvalidInput, StorageUnavailable
from headrace.kernel.ports import Coded
from headrace.kernel.schema import FrameKind, Schema

READERS = {
    ".csv": lambda path, text: pl.read_csv(
        path, infer_schema=not text, infer_schema_length=None, try_parse_dates=not text
    ),
    ".tsv": lambda path, text: pl.read_csv(path, separator="\t", infer_schema=not text, infer_schema_length=None),
    ".parquet": lambda path, _text: pl.read_parquet(path),
    ".jsonl": lambda path, _text: pl.read_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path, _text: pl.read_ndjson(path, infer_schema_length=None),
    ".json": lambda path, _text: pl.read_json(path, infer_schema_length=None),
}


def frame_kind(table: Any) -> FrameKind:
    """Which library the table is of; files count as Polars."""
    module = type(table).__module__.split(".")[0]
    return module if module in ("pandas", "numpy") else "polars"  # pyright: ignore[reportReturnType]


def to_polars(table: Any, *, text: bool = False) -> pl.DataFrame:
    """`table` as a Polars frame: a frame, a 2-d array, a list of row objects, or paths of files to read and stack.

    Args:
        table: what a project's `load` returned or what a caller handed in.
        text: read every CSV cell as text, because a schema will type it.

    Raises:
        InvalidInput: it is none of these, holds no rows, or one of its columns mixes types.
    """
    frame = _convert(table, text)
    if frame.width == 0 or frame.height == 0:
        raise InvalidInput(
            f"The table has {frame.height} rows and {frame.width} columns.",
            expected="at least one row and one column",
            todo="See that the file or the function that loads it gives data.",
        )
    return frame


def storable(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the types that a Delta table gives back unchanged: signed integers, texts, moments in UTC.

    Raises:
        InvalidInput: an unsigned integer does not fit into 64 bits with a sign.
    """
    return _built(lambda: frame.with_columns([_storable(series) for series in frame]))


def _storable(series: pl.Series) -> pl.Series:
    kind = series.dtype
    if kind.is_unsigned_integer():
        return series.cast(pl.Int64)
    if kind.is_decimal():
        return series.cast(pl.Float64)
    if kind in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if isinstance(kind, pl.Datetime):
        naive = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else series
        return naive.dt.cast_time_unit("us")
    return series


def _convert(table: Any, text: bool) -> pl.DataFrame:
    match table:
        case pl.DataFrame():
            return table
        case pl.LazyFrame():
            return table.collect()
        case str() | Path():
            return read_file(Path(table), text=text)
        case [str() | Path(), *_]:
            return pl.concat([read_file(Path(path), text=text) for path in table], how="diagonal_relaxed")
        case dict() | [dict(), *_]:
            rows = [table] if isinstance(table, dict) else table
            return _built(lambda: pl.from_dicts(rows, infer_schema_length=None))
        case np.ndarray() if table.ndim == 2:
            return pl.DataFrame({f"x{i}": table[:, i] for i in range(table.shape[1])})
    if frame_kind(table) == "pandas" and hasattr(table, "columns"):
        return pl.DataFrame([_pandas_series(table[name], str(name)) for name in table.columns])
    raise InvalidInput(
        f"A {type(table).__name__} is not a table.",
        expected="a pandas or Polars frame, a 2-d numpy array, a list of row objects, or paths of CSV or Parquet files",
        todo="Return or pass one of these.",
    )


def read_file(path: Path, *, text: bool = False) -> pl.DataFrame:
    """A file as a frame; its ending says how to read it.

    Raises:
        InvalidInput: no such file, an unknown ending, or a file that does not hold what its ending says.
        StorageUnavailable: it may not be read.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"{path} cannot be read: its ending {path.suffix!r} is unknown.",
            expected=f"a file that ends in {', '.join(READERS)}",
            todo="Save the table in one of these formats.",
        )
    if not path.exists():
        raise InvalidInput(f"There is no file {path}.", expected="the path of a file", todo="Correct the path.")
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path} is empty.", expected="a header and rows", todo="Give a file with rows.")
    try:
        return reader(path, text)
    except PermissionError as error:
        raise StorageUnavailable(f"{path} may not be read: {error}.", todo="Give read permission.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            f"{path} could not be read as {path.suffix[1:]}: {str(error).splitlines()[0]}.",
            expected=f"a well-formed {path.suffix[1:]} file",
            todo="Mend the file, or save it again from its source.",
        ) from error


def _pandas_series(series: Any, name: str) -> pl.Series:
    dtype = str(series.dtype)
    if dtype.startswith(("datetime64", "timedelta64")):
        zoned = series.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(series.dt, "tz", None) else series
        return pl.Series(name, zoned.to_numpy().astype("datetime64[us]"))
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iufb":
        return pl.Series(name, series.to_numpy(), nan_to_null=True)
    values = [None if missing else value for value, missing in zip(series.tolist(), series.isna(), strict=True)]
    return _built(lambda: pl.Series(name, values, strict=True))


def _built(build: Any) -> Any:
    try:
        return build()
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(
            f"A column mixes types: {str(error).splitlines()[0]}.",
            expected="values of one type in each column",
            todo="Convert the column to one type before you pass it.",
        ) from error


CODED_ROWS = 1_000


def columns_of(frame: pl.DataFrame, schema: Schema) -> dict[str, Any]:
    """The features of a frame that conforms to `schema`, as columns for a scorer.

    Numbers without nulls keep their width as arrays of shape (rows,); nullable numbers are float64 with NaN;
    many texts are `Coded`; everything else is a list with None for null, moments as ISO 8601 texts.
    """
    return {column.name: _plain(frame[column.name], column.type, column.categories) for column in schema.features}


def _plain(series: pl.Series, kind: str, categories: tuple[str, ...] | None) -> Any:
    if kind == "datetime":
        return series.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f").to_list()
    if kind in ("integer", "number") and not series.null_count():
        return series.to_numpy()
    if kind == "number":
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if kind == "string" and len(series) >= CODED_ROWS:
        return (_coded_by(series, categories) if categories else None) or _coded(series)
    return series.to_list()


def _coded_by(series: pl.Series, categories: tuple[str, ...]) -> Coded | None:
    """Texts as places among known categories and null; None where there are others."""
    codes = series.cast(pl.Enum(list(dict.fromkeys(categories))), strict=False).to_physical()
    if codes.null_count() != series.null_count():
        return None
    values: list[str | None] = [*dict.fromkeys(categories), None]
    if codes.null_count():
        codes = codes.cast(pl.Int64).fill_null(len(values) - 1)
    return Coded(codes.to_numpy(), values)


def _coded(series: pl.Series) -> Coded:
    known = series.unique(maintain_order=True)
    codes = pl.DataFrame({"v": series}).join(
        pl.DataFrame({"v": known, "c": np.arange(len(known), dtype=np.int64)}),
        on="v",
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return Coded(codes["c"].to_numpy(), known.to_list())
