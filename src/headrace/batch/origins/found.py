"""One thing of a source that was found, and is not opened yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

Origin = tuple[str, int, int]
"""Where something lies, and two numbers of which one changes when it does, such as its size and when it was changed."""
DEFAULT_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class Found(NamedTuple):
    """A file of a source.

    Args:
        name: how rejects call it.
        path: where it lies here; where it is to be fetched first, its name there.
        origin: what it is known by; None where nobody can tell whether it changes.
        fetch: writes it to a path, where it does not lie here; it is whole when that returns.
        partition: the values of columns that the names of its folders say, as texts (``year=2026``).
    """

    name: str
    path: Path
    origin: Origin
    fetch: Callable[[Path], None] | None = None
    partition: dict[str, str | None] = {}


def partition_of(name: str) -> dict[str, str | None]:
    """The columns that the folders of a path name, as Hive writes them: ``year=2026/month=11/rows.parquet``."""
    pairs = [part.partition("=") for part in PurePosixPath(name).parts[:-1] if "=" in part]
    return {column: None if value == DEFAULT_PARTITION else value for column, _, value in pairs if column}
