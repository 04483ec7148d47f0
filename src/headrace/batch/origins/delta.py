"""Delta tables: the rows of one version of a table, in the order of its log."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import deltalake
import polars as pl

from headrace.batch.origins.found import Found
from headrace.batch.storage import is_remote
from headrace.kernel.errors import InvalidInput, StorageUnavailable

SCHEME = "delta:"


def is_delta(source: str) -> bool:
    """Whether a source is a Delta table: it says so, or is a folder with the log of one."""
    if source.startswith(SCHEME):
        return True
    return not is_remote(source) and (Path(source) / "_delta_log").is_dir()


def find_delta(source: str, after: tuple[str, Any, Any] | None = None) -> list[Found]:
    """A Delta table as it is now.

    Args:
        after: a column, the value above which its rows are taken (None for any), and that up to which.

    Raises:
        InvalidInput: there is none, or it cannot be read.
    """
    uri = source.removeprefix(SCHEME)
    table = open_delta(uri)
    name = f"{Path(uri).name}.parquet"

    def fetch(place: Path) -> None:
        rows = pl.scan_delta(table)
        if after is not None:
            kind = rows.collect_schema()[after[0]]
            low, high = (_literal(value, kind) for value in after[1:])
            column = pl.col(after[0])
            rows = rows.filter((column <= high) & ((column > low) if after[1] is not None else True))
        try:
            rows.sink_parquet(place, maintain_order=True)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StorageUnavailable(
                f"The Delta table {uri} could not be read: {str(error).splitlines()[0]}.",
                todo="See that its files are there, and that the disk has room for them.",
            ) from error

    identity = str(table.metadata().id)
    if after is not None and after[0] not in [field.name for field in table.schema().fields]:
        raise InvalidInput(f"{uri} has no column {after[0]!r}.", field="new", todo="Name one of its columns.")
    return [Found(name, Path(name), (uri, table.version(), zlib.crc32(identity.encode())), fetch)]


def newest_of_delta(source: str, column: str) -> Any:
    """The largest value of a column of a Delta table.

    Raises:
        InvalidInput: there is no such table, or column.
    """
    rows = pl.scan_delta(open_delta(source.removeprefix(SCHEME)))
    if column not in rows.collect_schema():
        raise InvalidInput(f"{source} has no column {column!r}.", field="new", todo="Name one of its columns.")
    return rows.select(pl.col(column).max()).collect().item()


def _literal(value: Any, kind: Any) -> pl.Expr:
    """A value as JSON has it, as one of a column's type."""
    if isinstance(value, str) and isinstance(kind, pl.Datetime):
        moment = pl.lit(value).str.to_datetime(time_unit=kind.time_unit)
        return moment.dt.convert_time_zone(kind.time_zone) if kind.time_zone else moment
    return pl.lit(value).cast(kind)


def open_delta(uri: str) -> deltalake.DeltaTable:
    """The Delta table at a path or in object storage.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return deltalake.DeltaTable(uri)
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise InvalidInput(
            f"The Delta table {uri} cannot be read: {str(error).splitlines()[0]}.",
            field="source",
            expected="a Delta table",
            todo="Correct the path, or mend the table.",
        ) from error
