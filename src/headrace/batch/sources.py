"""A file of a source, opened as what its name says.

A file that cannot be read from any place in it (compressed, or a text in another encoding than UTF-8) is first written
down as one that can.
"""

from __future__ import annotations

import gzip
import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from headrace.batch.dialect import SAMPLE, Dialect, Wanted, decoded, find_dialect
from headrace.batch.excel import to_parquet
from headrace.batch.job import Format
from headrace.batch.lines import marks, record_ends
from headrace.kernel.errors import InvalidInput, MissingExtra, StorageUnavailable

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".xlsx": "excel",
}
COMPRESSED = (".gz", ".zst")
PIECE = 1 << 20
MOST_PACKED = 200
"""By how much more than this, and more than a GiB, nothing that people pack becomes larger when it is unpacked."""
TEXTS: tuple[Format, ...] = ("csv", "jsonl")


class Opened(NamedTuple):
    """A file of a source that can be read from any place in it.

    `path` is where to read it, which is not where it lies if it had to be written down; `start` is where the first
    record begins, and `line` the number of its line.
    """

    name: str
    path: Path
    format: Format
    dialect: Dialect
    start: int
    line: int
    columns: tuple[str, ...]
    kinds: dict[str, str] = {}
    types: dict[str, str] = {}


def ending(path: Path) -> tuple[str, str]:
    """What a name ends in, and what it is compressed by: (".csv", ".gz")."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1] if suffixes and suffixes[-1] in COMPRESSED else ""
    rest = suffixes[:-1] if packed else suffixes
    return (rest[-1] if rest else ""), packed


def format_of(path: Path) -> Format:
    """The format of a file by its name.

    Raises:
        InvalidInput: it is unknown.
    """
    suffix, packed = ending(path)
    if suffix in FORMATS and packed and FORMATS[suffix] not in TEXTS:
        raise InvalidInput(
            f"{path.name} is packed, and {FORMATS[suffix]} is packed in itself.",
            field="source",
            todo="Unpack it first.",
        )
    if suffix not in FORMATS:
        raise InvalidInput(
            f"{path.name} cannot be scored: its ending {suffix!r} is unknown.",
            field="source",
            expected=f"a file that ends in {', '.join(FORMATS)}, perhaps with {' or '.join(COMPRESSED)} after it",
            todo="Name the file by its format, or save it in one of these.",
        )
    return FORMATS[suffix]


def open_file(path: Path, name: str, wanted: Wanted, folder: Path) -> Opened:
    """A file of a source, ready to be read from any place in it.

    Args:
        folder: where it is written down if it cannot be read as it lies.

    Raises:
        InvalidInput: it is empty, or not what its name says.
        StorageUnavailable: it cannot be read, or there is no room to write it down.
    """
    kind, packed = format_of(path), ending(path)[1]
    wanted = _of_name(path, wanted)
    if kind == "excel":
        plain = _from_excel(path, folder, name)
        types = _types_of_table(plain, "parquet", name)
        return Opened(name, plain, "parquet", Dialect(), 0, 1, tuple(types), types=types)
    if kind not in TEXTS:
        types = _types_of_table(path, kind, name)
        return Opened(name, path, kind, Dialect(), 0, 0, tuple(types), types=types)
    with _stream(path, packed, name) as stream:
        begins = _read(stream, SAMPLE, name)
    dialect, mark = find_dialect(begins, wanted, name)
    if dialect.encoding != "utf-8":
        path_read, mark = _transcoded(path, packed, dialect, mark, folder, name), 0
    else:
        path_read = _unpacked(path, packed, folder, name) if packed else path
    if kind == "jsonl":
        kinds = kinds_of_lines(_begins(path_read)[mark:])
        return Opened(name, path_read, kind, dialect, mark, 1, tuple(kinds), kinds)
    columns, start, line = _header(_begins(path_read)[mark:], dialect, mark, name)
    return Opened(name, path_read, kind, dialect, start, line, columns)


def _from_excel(path: Path, folder: Path, name: str) -> Path:
    """The first sheet of a workbook, written down as a table."""
    need("fastexcel", "An Excel file")
    folder.mkdir(parents=True, exist_ok=True)
    place = _place(folder, name)
    draft = place.with_suffix(".draft")
    to_parquet(path, draft, name)
    draft.rename(place)
    return place


def need(module: str, what: str, extra: str = "batch") -> Any:
    """A library that `what` needs, which comes with an extra.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs {module}, which is not installed.", todo=f"Install it: pip install 'headrace[{extra}]'."
        ) from error


def _stream(path: Path, packed: str, name: str) -> IO[bytes]:
    try:
        if packed == ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if packed == ".zst":
            return need("zstandard", "A file packed by Zstandard").open(path, "rb")
        return path.open("rb")
    except OSError as error:
        raise StorageUnavailable(f"{name} cannot be read: {error}.", todo="See that it may be read.") from error


def _read(stream: IO[bytes], size: int, name: str) -> bytes:
    try:
        content = stream.read(size)
    except Exception as error:  # zlib's and zstandard's errors have no root but this
        raise InvalidInput(
            f"{name} is damaged: {error}.", field="source", todo="Take it again from its source."
        ) from error
    return content


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SAMPLE)


def _pieces(path: Path, packed: str, name: str) -> Iterator[bytes]:
    with _stream(path, packed, name) as stream:
        while piece := _read(stream, PIECE, name):
            yield piece


def _place(folder: Path, name: str) -> Path:
    return folder / f"{len(list(folder.glob('*.taken'))):04d}-{Path(name).name}.taken"


def write_pieces(pieces: Iterator[bytes], place: Path, name: str, most: int | None) -> None:
    """Write a file of these pieces, of `most` bytes at most; it is there whole or not at all.

    Raises:
        InvalidInput: it is larger.
        StorageUnavailable: there is no room.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{place.name}.draft")
    try:
        with draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                if most is not None and file.tell() > most:
                    raise InvalidInput(
                        f"{name} unpacks to more than {most >> 20:,} MiB, {MOST_PACKED} times its size.",
                        field="source",
                        todo="See what the file is; unpack it yourself if it is right.",
                    )
            file.flush()
            os.fsync(file.fileno())
        draft.rename(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageUnavailable(
            f"{name} could not be written to {place.parent}: {error.strerror or error}.",
            todo="See that the disk has room for the whole file, unpacked.",
        ) from error


def _written(pieces: Iterator[bytes], folder: Path, name: str, most: int | None = None) -> Path:
    place = _place(folder, name)
    write_pieces(pieces, place, name, most)
    return place


def _unpacked(path: Path, packed: str, folder: Path, name: str) -> Path:
    return _written(_pieces(path, packed, name), folder, name, max(MOST_PACKED * path.stat().st_size, 1 << 30))


def _transcoded(path: Path, packed: str, dialect: Dialect, mark: int, folder: Path, name: str) -> Path:
    def texts() -> Iterator[bytes]:
        pieces = _pieces(path, packed, name)
        first = next(pieces, b"")
        whole = (piece for group in ([first[mark:]], pieces) for piece in group)
        return (text.encode() for text in decoded(whole, dialect.encoding, name))

    return _written(texts(), folder, name)


def columns_of_file(path: Path, name: str, wanted: Wanted) -> tuple[str, ...]:
    """The columns of a file, of which no more is read than its beginning.

    Raises:
        InvalidInput: it is empty, or not what its name says.
    """
    kind, packed = format_of(path), ending(path)[1]
    if kind not in TEXTS:
        with tempfile.TemporaryDirectory() as folder:
            return open_file(path, name, wanted, Path(folder)).columns
    with _stream(path, packed, name) as stream:
        begins = _read(stream, SAMPLE, name)
    dialect, mark = find_dialect(begins, _of_name(path, wanted), name)
    text = "".join(decoded(iter([begins[mark:]]), dialect.encoding, name, whole=False)).encode()
    return tuple(kinds_of_lines(text)) if kind == "jsonl" else _header(text, dialect, 0, name)[0]


def _of_name(path: Path, wanted: Wanted) -> Wanted:
    """What is wanted, with the delimiter that the name says."""
    tabs = ending(path)[0] == ".tsv" and wanted.delimiter is None
    return msgspec.structs.replace(wanted, delimiter="\t") if tabs else wanted


def _header(begins: bytes, dialect: Dialect, start: int, name: str) -> tuple[tuple[str, ...], int, int]:
    """The columns of a CSV that begins so at `start`, where its first record begins, and the number of its line."""
    blank = len(begins) - len(begins.lstrip(b"\r\n"))
    before, begins = begins[:blank], begins[blank:]
    if b"\r" in begins and b"\n" not in begins and begins.count(b"\r") > 1:
        raise InvalidInput(
            f"The lines of {name} end with a carriage return alone.",
            field="source",
            expected="lines that end with a line feed, or both",
            todo="Save it again with the line ends of today's systems.",
        )
    ends = record_ends(np.frombuffer(begins, dtype=np.uint8), marks(dialect.quote, dialect.delimiter))
    first = begins[: int(ends[0]) + 1] if len(ends) else begins
    if len(first) == SAMPLE:
        raise InvalidInput(
            f"The first line of {name} does not end within {SAMPLE} bytes.",
            field="source",
            expected="a header with the names of the columns",
            todo="See whether a quotation mark stands open; --quote none takes them as they are.",
        )
    if not first.strip():
        raise InvalidInput(
            f"{name} is empty.", field="source", expected="a header and rows", todo="Give a file with rows."
        )
    columns = _fields(first, dialect, name)
    start, line = start + blank, 1 + before.count(b"\n")
    if not dialect.header:
        return tuple(f"column{i + 1}" for i in range(len(columns))), start, line
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise InvalidInput(
            f"{name} has more than one column {min(twice)!r}.",
            field=min(twice),
            expected="each column once",
            todo="Rename one of them.",
        )
    return columns, start + len(first), line + first.count(b"\n")


def _fields(record: bytes, dialect: Dialect, name: str) -> tuple[str, ...]:
    try:
        frame = pl.read_csv(
            record,
            has_header=False,
            separator=dialect.delimiter,
            quote_char=dialect.quote or None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"The header of {name} cannot be read: {str(error).splitlines()[0]}.",
            field="source",
            expected="the names of the columns",
            todo="Mend its first line.",
        ) from error
    return tuple(value or "" for value in frame.row(0))


def kinds_of_lines(begins: bytes) -> dict[str, str]:
    """The columns in the first lines of JSON, and the type of each: ``json`` where they are of several, or nested."""
    seen: dict[str, set[str]] = {}
    for line in begins.splitlines():
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        for name, value in row.items() if isinstance(row, dict) else ():
            seen.setdefault(name, set()).update([_JSON_KINDS.get(type(value), "json")] if value is not None else [])
    found = {}
    for name, kinds in seen.items():
        kinds = {"number"} if kinds == {"integer", "number"} else kinds
        found[name] = kinds.pop() if len(kinds) == 1 else "json"
    return found


_JSON_KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _types_of_table(path: Path, kind: Format, name: str) -> dict[str, str]:
    try:
        return {column: str(dtype) for column, dtype in scan(path, kind).collect_schema().items()}
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            f"{name} could not be read as {kind}: {str(error).splitlines()[0]}.",
            field="source",
            expected=f"a whole {kind} file",
            todo="Save it again from its source.",
        ) from error


def scan(path: Path, kind: Format) -> pl.LazyFrame:
    """A table, to be read lazily."""
    return pl.scan_parquet(path, glob=False) if kind == "parquet" else pl.scan_ipc(path, glob=False)
