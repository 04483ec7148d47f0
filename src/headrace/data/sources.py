"""Where the rows of a dataset come from: files and folders, prefixes of object storage, Delta tables, SQL queries.

Each gives a frame and its origin: what was read, by digest or version, to be kept with the snapshot. A file that DVC
tracks is taken with DVC's own hash, and refused where it is another one.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import deltalake
import polars as pl
import sqlalchemy as sa

from headrace.data.dvc import SUFFIX, Tracker
from headrace.data.frames import READERS, read_file
from headrace.kernel.database import shown
from headrace.kernel.errors import InvalidInput, StorageUnavailable

FROM_ENVIRONMENT = "env:"


class Taken(NamedTuple):
    """Rows, and a line for each thing that they were read from."""

    frame: pl.DataFrame
    origin: tuple[str, ...]


def read_source(patterns: Sequence[str], root: Path) -> Taken:
    """The rows of files, stacked in the order of their names.

    Args:
        patterns: paths and globs, relative to `root`; folders; Delta tables; ``s3://`` (``gs:``, ``az:``) prefixes.

    Raises:
        InvalidInput: nothing is there, or a file cannot be read.
        NotTrusted: a file is not the one that DVC tracks.
        StorageUnavailable: storage cannot be reached.
    """
    parts = list(_each(patterns, root))
    _need_alike(parts)
    try:
        frame = pl.concat([part.frame for part in parts], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"The files of {', '.join(patterns)} do not fit together: {str(error).splitlines()[0]}.",
            expected="the same type of a column in each of them",
            todo="Mend the files, or load them by a function.",
        ) from error
    return Taken(frame, tuple(line for part in parts for line in part.origin))


def _each(patterns: Sequence[str], root: Path) -> Iterator[Taken]:
    """What the patterns find, each file once."""
    seen: set[str] = set()
    tracker = Tracker(root)
    for pattern in patterns:
        if "://" in pattern:
            yield from _read_prefix(pattern.rstrip("/"))
            continue
        found = _paths(pattern, root, tracker)
        if not found:
            raise InvalidInput(
                f"There is nothing at {pattern!r} in {root}.",
                field="source",
                expected="files, a glob that finds some, or a Delta table",
                todo="Correct source in headrace.toml.",
            )
        for path in found:
            place = os.path.abspath(path)  # noqa: PTH100 - of DVC's links two may lead to one file of its cache
            if place not in seen:
                seen.add(place)
                yield _read_delta(str(path), pattern) if _is_delta(path) else _read_local(path, root, tracker)


def _need_alike(parts: Sequence[Taken]) -> None:
    """See that no column is texts in one file and something else in another: nobody meant that.

    Raises:
        InvalidInput: one is.
    """
    kinds: dict[str, tuple[bool, str]] = {}
    for part in parts:
        for name, kind in part.frame.schema.items():
            text = kind in (pl.String, pl.Categorical, pl.Enum)
            before = kinds.setdefault(name, (text, part.origin[0]))
            if before[0] != text and kind != pl.Null:
                raise InvalidInput(
                    f"The column {name!r} is {'text' if text else kind} in {part.origin[0].partition(':')[0]}, and "
                    f"{'text' if before[0] else 'no text'} in {before[1].partition(':')[0]}.",
                    field=name,
                    expected="one type in all files",
                    todo="Mend the files, or load them by a function.",
                )


def read_query(database: str, query: str, variables: Mapping[str, str]) -> Taken:
    """The rows that a database gives to a query. Without an ORDER BY they may come in another order each time.

    Args:
        database: an address that SQLAlchemy knows, or ``env:NAME`` where the environment (`variables`) has it.

    Raises:
        InvalidInput: the query is wrong, or the address is.
        StorageUnavailable: the database cannot be reached.
    """
    url = database_url(database, variables)
    try:
        engine = sa.create_engine(url)
    except ImportError as error:
        raise InvalidInput(
            f"The driver of {shown(url)} is not installed: {error}.", field="database", todo="Install it with pip."
        ) from error
    try:
        with engine.connect() as connection:
            frame = pl.read_database(query, connection, infer_schema_length=None)
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        if getattr(error, "statement", None) is None:
            raise StorageUnavailable(
                f"The database {shown(url)} cannot be reached: {error.orig}.",
                todo="See that it runs and that the address is right.",
            ) from error
        raise _refused(query, error) from error
    except (sa.exc.SQLAlchemyError, pl.exceptions.PolarsError) as error:
        raise _refused(query, error) from error
    finally:
        engine.dispose()
    return Taken(frame, (f"{shown(url)}: {' '.join(query.split())}",))


def _refused(query: str, error: Exception) -> InvalidInput:
    said = str(getattr(error, "orig", error)).splitlines()[0]
    return InvalidInput(
        f"The query {' '.join(query.split())!r} gave no rows: {said}.",
        field="sql",
        expected="a query that gives rows",
        todo="Correct sql in headrace.toml.",
    )


def database_url(database: str, variables: Mapping[str, str]) -> sa.URL:
    """An address of a database, with the driver that we have for it.

    Args:
        database: an address that SQLAlchemy knows, or ``env:NAME`` where the environment (`variables`) has it.

    Raises:
        InvalidInput: it is none, or its driver is not installed.
    """
    named = database.removeprefix(FROM_ENVIRONMENT)
    address = variables.get(named, "") if database.startswith(FROM_ENVIRONMENT) else database
    try:
        url = sa.make_url(address)
        url.get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        what = f"The environment's {named} is" if address != database else "The database is"
        raise InvalidInput(
            f"{what} {'not set' if not address else 'no address that can be used'}.",
            field="database",
            expected="an address such as postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE",
            todo="Set it, or install the database's driver.",
        ) from error
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def _paths(pattern: str, root: Path, tracker: Tracker) -> list[Path]:
    """The tables and files of a pattern, by name; a folder stands for the files in it, those of DVC among them."""
    pattern = pattern.rstrip("/").removesuffix(SUFFIX) or "/"
    literal = root / pattern
    named = [literal] if literal.exists() else [Path(root, one) for one in glob.glob(pattern, root_dir=root)]  # noqa: PTH207
    here = {path for one in named for path in _inside(one)}
    tracked = [path for path in tracker.named(pattern) if path.suffix.lower() in READERS]
    return sorted({*here, *tracked})


def _inside(path: Path) -> Iterator[Path]:
    if _is_delta(path) or path.is_file():
        if path.suffix != SUFFIX:
            yield path
        return
    for one in sorted(path.iterdir()) if path.is_dir() else ():
        if one.name.startswith((".", "_")):
            continue
        if one.is_dir():
            yield from _inside(one)
        elif one.suffix.lower() in READERS:
            yield one


def _is_delta(path: Path) -> bool:
    return (path / "_delta_log").is_dir()


def _read_delta(uri: str, name: str) -> Taken:
    try:
        table = deltalake.DeltaTable(uri)
        return Taken(pl.read_delta(table), (f"{name}: Delta version {table.version()}",))
    except (deltalake.exceptions.DeltaError, pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            f"The Delta table {name} cannot be read: {str(error).splitlines()[0]}.",
            expected="a whole Delta table",
            todo="Correct the path, or mend the table.",
        ) from error


def _read_local(path: Path, root: Path, tracker: Tracker) -> Taken:
    name = os.path.relpath(path, root)
    tracked = tracker.of(path)
    if tracked is not None:
        frame = read_bytes(tracker.content(tracked), path.name)
        return Taken(frame, (f"{name}: DVC md5 {tracked.md5}" + (f" of {tracked.folder}" if tracked.folder else ""),))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Taken(read_file(path), (f"{name}: sha256 {digest}",))


def read_bytes(content: bytes, name: str) -> pl.DataFrame:
    """A file that is not on the disk, as a frame; the ending of `name` says how to read it.

    Raises:
        InvalidInput: an unknown ending, or a file that does not hold what its ending says.
    """
    reader = READERS.get(PurePosixPath(name).suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"{name} cannot be read: its ending is unknown.",
            expected=f"a file that ends in {', '.join(READERS)}",
            todo="Save the table in one of these formats.",
        )
    try:
        return reader(io.BytesIO(content), False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            f"{name} could not be read: {str(error).splitlines()[0]}.",
            expected=f"a well-formed {PurePosixPath(name).suffix[1:]} file",
            todo="Mend the file, or save it again from its source.",
        ) from error


def _read_prefix(url: str) -> Iterator[Taken]:
    """The files under a prefix of object storage, or the Delta table that lies there."""
    from obstore.store import from_url

    try:
        store: Any = from_url(url)
        found = sorted((str(meta["path"]), meta) for batch in store.list() for meta in batch)
        if any(path.startswith("_delta_log/") for path, _ in found):
            yield _read_delta(url, url)
            return
        wanted = [(path, meta) for path, meta in found if PurePosixPath(path).suffix.lower() in READERS]
        contents = ((path, meta, bytes(store.get(path).bytes())) for path, meta in wanted)
        if not wanted and not found and PurePosixPath(url).suffix.lower() in READERS:
            parent, _, name = url.rpartition("/")
            single: Any = from_url(parent)
            wanted, contents = [(name, None)], iter([(name, single.head(name), bytes(single.get(name).bytes()))])
        for path, meta, content in contents:
            yield Taken(read_bytes(content, path), (f"{url}/{path}: etag {meta['e_tag']}",))
    except InvalidInput:
        raise
    except Exception as error:  # obstore's errors have no root but this
        raise StorageUnavailable(
            f"{url} cannot be read: {str(error).splitlines()[0]}.",
            todo="See that it is reachable, and that credentials are set and allow it.",
        ) from error
    if not wanted:
        raise InvalidInput(
            f"There is no file under {url} that can be read.",
            field="source",
            expected=f"files that end in {', '.join(READERS)}",
            todo="Correct source in headrace.toml.",
        )
