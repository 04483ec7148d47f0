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
import msgspec
import polars as pl
import sqlalchemy as sa
import yaml

from headrace.data.frames import READERS, read_file
from headrace.kernel.database import shown
from headrace.kernel.errors import InvalidInput, NotTrusted, StorageUnavailable

FROM_ENVIRONMENT = "env:"
DVC = ".dvc"


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
    seen: set[Path] = set()
    for pattern in patterns:
        if "://" in pattern:
            yield from _read_prefix(pattern.rstrip("/"))
            continue
        found = _paths(pattern, root)
        if not found:
            raise InvalidInput(
                f"There is nothing at {pattern!r} in {root}.",
                field="source",
                expected="files, a glob that finds some, or a Delta table",
                todo="Correct source in headrace.toml.",
            )
        for path in found:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield _read_delta(str(path), pattern) if _is_delta(path) else _read_local(path, root)


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
    url = _database_url(database, variables)
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


def _database_url(database: str, variables: Mapping[str, str]) -> sa.URL:
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


def _paths(pattern: str, root: Path) -> list[Path]:
    """The tables and files of a pattern, by name; a folder stands for the files in it, a pointer of DVC its file."""
    literal = root / pattern
    named = [literal] if literal.exists() else [Path(root, one) for one in glob.glob(pattern, root_dir=root)]  # noqa: PTH207
    if not literal.exists():
        named += [Path(root, one) for one in glob.glob(pattern + DVC, root_dir=root)]  # noqa: PTH207
    return sorted({_tracked(path) for one in named for path in _inside(one)})


def _inside(path: Path) -> Iterator[Path]:
    if _is_delta(path) or path.is_file():
        yield path
        return
    for one in sorted(path.iterdir()) if path.is_dir() else ():
        if one.name.startswith((".", "_")):
            continue
        if one.is_dir():
            yield from _inside(one)
        elif one.suffix.lower() in READERS or one.suffix == DVC:
            yield one


def _tracked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == DVC else path


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


def _read_local(path: Path, root: Path) -> Taken:
    name = os.path.relpath(path, root)
    tracked = path.with_name(path.name + DVC)
    if tracked.exists():
        return _read_tracked(tracked, root)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Taken(read_file(path), (f"{name}: sha256 {digest}",))


class _Output(msgspec.Struct):
    md5: str
    path: str


class _Pointer(msgspec.Struct):
    outs: tuple[_Output, ...]


def _read_tracked(pointer: Path, root: Path) -> Taken:
    """A file that DVC tracks, from its place or from DVC's cache, once it has the hash in `pointer`."""
    try:
        (out,) = msgspec.convert(yaml.safe_load(pointer.read_text()), _Pointer).outs
    except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise InvalidInput(
            f"{pointer} is no file of DVC's with one output: {str(error).splitlines()[0]}.",
            expected="what 'dvc add FILE' writes",
            todo="Track the file again.",
        ) from error
    path = pointer.parent / out.path
    name = os.path.relpath(path, root)
    place = path if path.exists() else _cached(pointer.parent, out.md5)
    if place is None or place.is_dir():
        raise InvalidInput(
            f"{name} is {'a folder' if place else 'not here'}, and DVC tracks it.",
            expected="a file, here or in DVC's cache",
            todo="Name the files one by one." if place else "Get it: dvc pull.",
        )
    content = place.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != out.md5:
        raise NotTrusted(
            f"{name} is not the file that DVC tracks (md5 {out.md5}).",
            expected="the file as it was when it was added",
            todo="Get it again ('dvc checkout'), or track what is there ('dvc add').",
        )
    return Taken(read_bytes(content, path.name), (f"{name}: DVC md5 {out.md5}",))


def _cached(folder: Path, md5: str) -> Path | None:
    for root in (folder, *folder.parents):
        cache = root / ".dvc" / "cache"
        for place in (cache / "files" / "md5" / md5[:2] / md5[2:], cache / md5[:2] / md5[2:]):
            if place.exists():
                return place
    return None


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
