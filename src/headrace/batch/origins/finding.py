"""What a source is, by how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from headrace.batch.databases import is_database
from headrace.batch.job import Options
from headrace.batch.origins.delta import find_delta, is_delta
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
    if is_delta(source):
        return find_delta(source, options.after)
    if is_remote(source):
        return find_objects(source)
    if is_database(source):
        return find_rows(source, options.sql, variables, options.after)
    if options.sql:
        raise InvalidInput(f"{source} is no database.", field="sql", todo="Leave the query out, or name a database.")
    return local_files(source, without)


def is_file(place: str) -> bool:
    """Whether a source or destination is a path of this machine."""
    return not (place.startswith("delta:") or is_remote(place) or is_database(place))
