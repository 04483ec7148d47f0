"""What a source is, by how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from headrace.batch.databases import Select, is_database, open_database, split_table
from headrace.batch.job import Options
from headrace.batch.origins.delta import find_delta, is_delta, newest_of_delta
from headrace.batch.origins.files import local_files
from headrace.batch.origins.found import Found
from headrace.batch.origins.objects import find_objects
from headrace.batch.origins.queries import find_rows
from headrace.batch.storage import is_remote
from headrace.kernel.errors import InvalidInput


def find(source: str, options: Options, without: Iterable[Path], variables: Mapping[str, str]) -> list[Found]:
    """The files of a source, or what will be one once it is fetched.

    Args:
        source: a path, a folder or a glob, here or in object storage; ``delta:PATH``; a database.
        without: files that are no part of a folder, because the job itself writes them.
        variables: the environment, which addresses of databases may be in.

    Raises:
        InvalidInput: there is nothing.
        StorageUnavailable: it cannot be reached.
    """
    found = _all(source, options, without, variables)
    if not options.only:
        return found
    wanted = {one.origin[0]: one for one in found if one.origin[0] in options.only}
    gone = next((path for path in options.only if path not in wanted), None)
    if gone is not None:
        raise InvalidInput(f"The source {gone} is gone.", field="source", todo="Put it back and retry the job.")
    return list(wanted.values())


def _all(source: str, options: Options, without: Iterable[Path], variables: Mapping[str, str]) -> list[Found]:
    if is_delta(source):
        return find_delta(source, options.after)
    if is_remote(source):
        return find_objects(source)
    if is_database(source):
        return find_rows(source, options.sql, variables, options.after)
    if options.sql:
        raise InvalidInput(f"{source} is no database.", field="sql", todo="Leave the query out, or name a database.")
    return local_files(source, without)


def newest(source: str, column: str, options: Options, variables: Mapping[str, str]) -> Any:
    """The largest value of a column of a table or query, as JSON has it; None where there are no rows.

    Raises:
        InvalidInput: the source is no table.
    """
    if is_delta(source):
        return plain(newest_of_delta(source, column))
    if is_database(source):
        address, table = split_table(source)
        return plain(open_database(address, variables).newest(Select(table, options.sql), column))
    raise InvalidInput(
        f"{source} has no column that grows.", field="new", expected="a table or a database", todo="Say new = true."
    )


def plain(value: Any) -> Any:
    """A value of a database as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def is_file(place: str) -> bool:
    """Whether a source or destination is a path of this machine."""
    return not (place.startswith("delta:") or is_remote(place) or is_database(place))
