"""Which target a destination is, by how it is written."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.batch.databases import is_database
from headrace.batch.job import Options
from headrace.batch.origins.delta import SCHEME
from headrace.batch.storage import is_remote
from headrace.batch.targets.files import FileTarget
from headrace.batch.targets.objects import ObjectTarget
from headrace.batch.targets.tables import DatabaseTarget, DeltaTarget
from headrace.batch.targets.target import Target
from headrace.kernel.errors import InvalidInput
from headrace.kernel.places import Places


def target_of(places: Places, destination: str, options: Options, variables: Mapping[str, str]) -> Target:
    """The target at a destination.

    Raises:
        InvalidInput: there can be none.
    """
    how = {"append": options.append, "overwrite": options.overwrite}
    if options.append and options.overwrite:
        raise InvalidInput("Rows can be added or written over.", field="append", todo="Say one of them.")
    if destination.startswith(SCHEME):
        return DeltaTarget(places, destination, **how)
    if is_remote(destination):
        _need_no_append(destination, options)
        return ObjectTarget(places, destination, options.overwrite)
    if is_database(destination):
        return DatabaseTarget(places, destination, variables, **how)
    _need_no_append(destination, options)
    return FileTarget(places, destination, options.overwrite)


def _need_no_append(destination: str, options: Options) -> None:
    if options.append:
        raise InvalidInput(
            f"Rows cannot be added to the file {destination!r}.",
            field="append",
            expected="a table: delta:PATH, or DATABASE#TABLE",
            todo="Name a table, or a file that is not there yet.",
        )
