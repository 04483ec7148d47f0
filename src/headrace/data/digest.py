"""The digest of a table: SHA-256 over the typed, ordered content of every row and column.

Each column adds its name and type, the bits of its nulls, and its values: numbers and moments as
little-endian words (so 0.0 and -0.0 differ, and null differs from NaN), texts as lengths and UTF-8.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def table_digest(frame: pl.DataFrame) -> str:
    """The digest of `frame`; any changed cell, name, type, row order or column order changes it."""
    total = hashlib.sha256(f"headrace table 1 {frame.height} {frame.width}".encode())
    for series in frame:
        _column(total, series.rechunk())
    return total.hexdigest()


def column_digests(frame: pl.DataFrame) -> dict[str, str]:
    """The digest of each column by its name."""
    found = {}
    for series in frame:
        total = hashlib.sha256()
        _column(total, series.rechunk())
        found[series.name] = total.hexdigest()
    return found


def _column(total: hashlib._Hash, series: pl.Series) -> None:
    total.update(f"\0{series.name}\0{series.dtype}\0".encode())
    total.update(np.packbits(series.is_null().to_numpy()).tobytes())
    for words in _values(series):
        total.update(words)


def _values(series: pl.Series) -> list[bytes]:
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        text = series.fill_null("")
        lengths = text.str.len_bytes().to_numpy().astype("<u8")
        return [lengths.tobytes(), "".join(text.to_list()).encode("utf-8", "surrogatepass")]
    if series.dtype == pl.Boolean:
        return [np.packbits(series.fill_null(False).to_numpy()).tobytes()]
    if series.dtype.is_decimal():
        return _values(series.cast(pl.String))
    physical = series.to_physical().fill_null(0).to_numpy()
    return [np.ascontiguousarray(physical, dtype=physical.dtype.newbyteorder("<")).tobytes()]
