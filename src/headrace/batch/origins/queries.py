"""Rows of a database: a table, or what a query gives; taken once, when the job is planned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from headrace.batch.databases import Select, need_no_password, open_database, split_table
from headrace.batch.origins.found import Found
from headrace.kernel.errors import InvalidInput


def find_rows(
    source: str, sql: str, variables: Mapping[str, str], after: tuple[str, object, object] | None
) -> list[Found]:
    """The rows of a table or of a query.

    Raises:
        InvalidInput: neither is named, or both.
    """
    address, table = split_table(source)
    if bool(table) == bool(sql.strip()):
        raise InvalidInput(
            f"Which rows of {address} are to be scored is said {'twice' if table else 'nowhere'}.",
            field="source",
            expected="a table (DATABASE#TABLE), or --sql QUERY",
            todo="Say one of them.",
        )
    need_no_password(source)
    database = open_database(address, variables)
    name = f"{table or 'query'}.parquet"
    rows = Select(table, sql, after)
    # Nobody can tell whether a database changed: each look finds another source.
    origin = (f"{source} {' '.join(sql.split())}".strip(), 0, time.time_ns())
    return [Found(name, Path(name), origin, lambda place: database.read(rows, place))]
