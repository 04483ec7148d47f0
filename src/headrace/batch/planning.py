"""Dividing a source into blocks and chunks, and finding the digest of what it holds.

Bounds of blocks depend on the source alone: a block of a text begins with the first record after a multiple of
`BLOCK` bytes, one of a table at a multiple of `TABLE_BLOCK` rows. The digest is the SHA-256 of those of pieces of
`PIECE` bytes, so that several threads can work at it.
"""

from __future__ import annotations

import hashlib
import os
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from headrace.batch.job import Asked, Chunk, Input, Plan
from headrace.batch.lines import NEWLINE, Marks, counted, marks, record_ends
from headrace.batch.origins.files import lies_within
from headrace.batch.origins.found import Found
from headrace.batch.sources import TEXTS, Opened, open_file, scan
from headrace.batch.stamps import changed, stamp
from headrace.kernel.digests import canonical
from headrace.kernel.errors import InvalidInput, Refused, StorageUnavailable
from headrace.kernel.schema import Schema

BLOCK = 4 << 20
TABLE_BLOCK = 1 << 16
PIECE = 8 << 20
LARGEST_RECORD = 64 << 20
OWN_MEMORY = 320 << 20
"""What the process takes before it has a row, a compiled version of ordinary size with it."""
COPIES = 6
"""Bytes of memory for each byte of a chunk: text, columns, answers, and what they are written as."""
MOST_CHUNK = 64 << 20
ROW_BYTES = 64
"""About as many bytes of a text as a row of a table is worth, where chunks are measured in bytes."""
KINDS = {"datetime": "string"}
"""How JSON has the types that it does not know."""
Progress = Callable[[str, float], None]


def make_plan(asked: Asked, found: list[Found], schema: Schema, folder: Path, progress: Progress) -> Plan:
    """The plan of a job; every byte of its source is read once.

    Args:
        found: the files of the source.
        schema: of the version's requests.
        folder: for what must be fetched or unpacked: ``jobs/ID/taken`` of a workspace.
        progress: is told what is done, and which share of it.

    Raises:
        InvalidInput: the source cannot be scored.
    """
    paths = [_here(one, place, folder, len(found), progress) for place, one in enumerate(found)]
    sizes = [path.stat().st_size for path in paths]
    total, done = sum(sizes) or 1, 0
    inputs: list[Input] = []
    opens: list[Opened] = []
    base = 0
    for one, path, size in zip(found, paths, sizes, strict=True):
        opened = renamed(open_file(path, one.name, asked.options.text, folder), asked.options.rename)

        def told_here(share: float, done: int = done, size: int = size) -> None:
            progress("reading", (done + share * size) / total)

        its, rows = _input(opened, one, base, folder.parents[2], told_here)
        inputs.append(its)
        opens.append(opened)
        base += rows
        done += size
    kinds, keep = _columns(asked, inputs, opens, schema)
    return Plan(
        id=_id(asked, inputs),
        inputs=tuple(inputs),
        keep=keep,
        kinds=kinds,
        rename=asked.options.rename,
        rows=base,
        size=done,
    )


def _here(one: Found, place: int, folder: Path, count: int, progress: Progress) -> Path:
    """Where a file lies on this machine; one that lies elsewhere is fetched, unless it was before a crash."""
    if one.fetch is None:
        return one.path
    path = folder / f"{place:04d}-{zlib.crc32(repr(one.origin[1:]).encode()):08x}-{one.path.name}"
    if not path.exists():
        progress("fetching", place / count)
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.fetching")
        one.fetch(draft)
        draft.rename(path)
    return path


def _columns(
    asked: Asked, inputs: list[Input], opens: list[Opened], schema: Schema
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The types that columns have in lines of JSON, and the names of those that are kept.

    Raises:
        InvalidInput: the files do not fit together, or there is no column of a name.
    """
    kinds: dict[str, str] = {}
    for opened in opens:
        kinds = {**opened.kinds, **{n: k if opened.kinds.get(n, k) == k else "json" for n, k in kinds.items()}}
    known = {column.name: KINDS.get(column.type, column.type) for column in schema.asked}
    partition = {name: "string" for one in inputs for name in one.partition}
    if kinds:
        kinds = {**kinds, **partition}
    kinds = {name: known.get(name, "number" if kind == "integer" else kind) for name, kind in kinds.items()}
    _need_alike(inputs, [{n: k for n, k in opened.types.items() if n not in known} for opened in opens])
    columns = (*next((one.columns for one in inputs if one.columns), ()), *partition)
    keys = tuple(column.name for column in schema.having("key"))
    return kinds, tuple(dict.fromkeys(_kept(asked.options.keep, tuple(kinds) or columns, keys)))


def need_within(found: list[Found], within: tuple[str, ...] | None) -> None:
    """See that every file lies where the caller may read.

    Raises:
        Refused: one lies elsewhere.
    """
    for one in found if within is not None else ():
        if one.fetch is None and not lies_within(one.path, map(Path, within or ())):
            raise Refused(f"{one.path} leads out of the folders of jobs.", todo="Take the link away.")


def renamed(opened: Opened, names: dict[str, str]) -> Opened:
    """The file with some columns under other names.

    Raises:
        InvalidInput: it has no such column, or then has one twice.
    """
    columns = tuple(names.get(name, name) for name in opened.columns)
    unknown = next((name for name in names if name not in opened.columns), None)
    if unknown is not None or len(set(columns)) < len(columns):
        raise InvalidInput(
            f"{opened.name} has no column {unknown!r}." if unknown else f"{opened.name} would have a column twice.",
            field="rename",
            expected=f"some of {', '.join(opened.columns)}, each under a name that is free",
            todo="Correct the names.",
        )
    return opened._replace(columns=columns, kinds={names.get(n, n): kind for n, kind in opened.kinds.items()})


def localised(plan: Plan, locate: Callable[[str], Path]) -> Plan:
    """The plan with the workspace's own files where they lie on this machine."""
    found = [msgspec.structs.replace(o, path=str(locate(o.path))) if o.inside else o for o in plan.inputs]
    return msgspec.structs.replace(plan, inputs=tuple(found))


def chunks_of(plan: Plan, size: int) -> list[Chunk]:
    """The chunks of a plan: as many blocks each as have about `size` bytes, at least one."""
    found: list[Chunk] = []
    for place, one in enumerate(plan.inputs):
        step = max(1, size // (BLOCK if one.format in TEXTS else TABLE_BLOCK * ROW_BYTES))
        for first in range(0, len(one.blocks), step):
            last = min(first + step, len(one.blocks))
            found.append(Chunk(number=len(found), input=place, first=first, last=last))
    return found


def _kept(keep: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the result that come from the source."""
    if keep == "all":
        return columns
    if keep == "keys":
        return tuple(name for name in keys if name in columns) or columns
    names = tuple(name.strip() for name in keep.split(","))
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InvalidInput(
            f"The source has no column {unknown[0]!r} to keep.",
            field="keep",
            expected=f"all, keys, or some of {', '.join(columns)}",
            todo="Correct the name.",
        )
    return names


def _need_alike(inputs: list[Input], types: list[dict[str, str]]) -> None:
    """See that the files of a source are of one format, with the same columns, of the same types where they have any.

    Raises:
        InvalidInput: they are not.
    """
    first = inputs[0]
    for one, its in zip(inputs[1:], types[1:], strict=True):
        names, others = {*one.columns, *one.partition}, {*first.columns, *first.partition}
        other = names ^ others if one.format != "jsonl" else set()
        typed = next((name for name, kind in its.items() if types[0].get(name, kind) != kind), "")
        what = (
            f"{one.name} is {one.format} and {first.name} is {first.format}"
            if one.format != first.format
            else f"the column {min(other)!r} stands in one of {first.name} and {one.name} alone"
            if other
            else f"the column {typed!r} is {types[0].get(typed)} in {first.name} and {its[typed]} in {one.name}"
            if typed
            else ""
        )
        if what:
            raise InvalidInput(
                f"The files of the source are not alike: {what}.",
                field="source",
                expected="files of one format with the same columns",
                todo="Score them one by one, or mend them.",
            )


def _id(asked: Asked, inputs: list[Input]) -> str:
    """A UUID (version 8, RFC 9562, of a SHA-256) that the same rows, version and way of reading always give."""
    known = hashlib.sha256(b"headrace job 1\n")
    known.update(f"{asked.model}@{asked.version} {asked.bundle}\n".encode())
    known.update(canonical(asked.options.rename))
    for one in inputs:
        known.update(one.digest.encode() + canonical(one.dialect) + b"\n")
        if one.partition:
            known.update(canonical(one.partition))
    bits = bytearray(known.digest()[:16])
    bits[6] = bits[6] & 0x0F | 0x80
    bits[8] = bits[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(bits)))


def _input(opened: Opened, one: Found, base: int, root: Path, progress: Callable[[float], None]) -> tuple[Input, int]:
    """One file, divided, and how many rows it has as far as its lines tell."""
    inside = opened.path.is_relative_to(root)
    digesting = Digesting()
    if opened.format in TEXTS:
        blocks, end, rows = _divide_text(opened, digesting, progress)
    else:
        blocks, end, rows = _divide_table(opened, digesting, progress)
    digest = digesting.result()
    if one.fetch is None and stamp(one.path) != one.origin[1:]:
        raise changed(opened.name)
    divided = Input(
        name=opened.name,
        path=str(opened.path.relative_to(root) if inside else opened.path.resolve()),
        inside=inside,
        origin=one.origin,
        partition={name: value for name, value in one.partition.items() if name not in opened.columns},
        format=opened.format,
        columns=opened.columns,
        dialect=opened.dialect,
        stamp=stamp(opened.path),
        digest=digest,
        base=base - opened.line - (opened.format not in TEXTS),
        blocks=tuple(blocks),
        end=end,
    )
    return divided, rows


class Digesting:
    """The digest of a content that comes in pieces, worked at by other threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._parts: list[Future[bytes]] = []

    def add(self, piece: bytes) -> None:
        """The next piece, of `PIECE` bytes but for the last."""
        self._parts.append(self._pool.submit(_digest, piece))
        if len(self._parts) > 4:
            self._parts[-4].result()  # so that pieces do not pile up

    def result(self) -> str:
        """The digest, in hexadecimal."""
        whole = hashlib.sha256(b"".join(part.result() for part in self._parts)).hexdigest()
        self._pool.shutdown()
        return whole


def _digest(piece: bytes) -> bytes:
    return hashlib.sha256(piece).digest()


def _pieces(path: Path, name: str, digesting: Digesting, progress: Callable[[float], None]) -> Iterator[bytes]:
    size, done = max(path.stat().st_size, 1), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digesting.add(piece)
                yield piece
                done += len(piece)
                progress(done / size)
    except OSError as error:
        todo = "See that it may be read."
        raise StorageUnavailable(f"{name} cannot be read: {error.strerror}.", todo=todo) from error


def _divide_text(
    opened: Opened, digesting: Digesting, progress: Callable[[float], None]
) -> tuple[list[tuple[int, int]], int, int]:
    """The blocks of a text, where it ends, and its number of lines after the header."""
    begins: list[int] = []
    due = end = opened.start
    unfinished = 0
    with _Lines() as lines:
        for place, content, starts in _records(opened, digesting, progress):
            text, done = np.frombuffer(content, dtype=np.uint8), 0
            while (begin := _first_start(content, starts, due - place)) is not None:
                lines.add(text[done:begin])
                lines.part()
                begins.append(place + begin)
                done, due = begin, (place + begin) // BLOCK * BLOCK + BLOCK
            lines.add(text[done:])
            end, unfinished = place + len(content), not content.endswith(b"\n")
    before = list(accumulate(lines.counts))
    blocks = [(begin, opened.line + count) for begin, count in zip(begins, before, strict=False)]
    return blocks, end, before[-1] + unfinished


class _Lines:
    """Counts the lines of a text that comes in parts, in another thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[int]]] = deque()
        self.counts = [0]
        """Of each part, once it is left."""

    def add(self, text: np.ndarray) -> None:
        """More of the part."""
        self._waiting.append((len(self.counts) - 1, self._pool.submit(counted, text, NEWLINE)))
        if len(self._waiting) > 8:
            self._take()  # so that texts do not pile up

    def part(self) -> None:
        """Here another part begins."""
        self.counts.append(0)

    def _take(self) -> None:
        place, count = self._waiting.popleft()
        self.counts[place] += count.result()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        while self._waiting:
            self._take()
        self._pool.shutdown()


def _first_start(content: bytes, starts: np.ndarray | None, least: int) -> int | None:
    """Where the first record begins that does so at `least` or after it."""
    if starts is not None:
        i = int(np.searchsorted(starts, least))
        return int(starts[i]) if i < len(starts) else None
    begin = content.find(b"\n", least - 1) + 1 if least > 0 else 0
    return begin if begin < len(content) and (begin or least <= 0) else None


def _records(
    opened: Opened, digesting: Digesting, progress: Callable[[float], None]
) -> Iterator[tuple[int, bytes, np.ndarray | None]]:
    """Whole records, many at a time: where they lie, their bytes, and where each begins among them; None where each
    line is one."""
    it = marks("" if opened.format == "jsonl" else opened.dialect.quote, opened.dialect.delimiter)
    place, rest = opened.start, b""
    skip = opened.start
    for piece in _pieces(opened.path, opened.name, digesting, progress):
        content = rest + piece[skip:]
        skip = 0
        whole, starts = _whole_records(content, it)
        if whole:
            yield place, content[:whole], starts
        place, rest = place + whole, content[whole:]
        if len(rest) > LARGEST_RECORD:
            raise InvalidInput(
                f"A line of {opened.name} has more than {LARGEST_RECORD >> 20} MiB.",
                field="source",
                expected="a text of rows",
                todo="See what the file is.",
            )
    if rest:
        yield place, rest, np.zeros(1, dtype=np.int64)


def _whole_records(content: bytes, it: Marks) -> tuple[int, np.ndarray | None]:
    """How many bytes are whole records, and where each of them begins; None where each line is one."""
    if it.quote < 0 or it.quote not in content:
        return content.rfind(b"\n") + 1, None
    text = np.frombuffer(content, dtype=np.uint8)
    ends = record_ends(text, it, whole=False)
    if not len(ends) and len(text) > PIECE:
        ends = np.flatnonzero(text == NEWLINE)  # an opened quotation mark that nothing closes
    return (int(ends[-1]) + 1, np.append(0, ends[:-1] + 1)) if len(ends) else (0, None)


def _divide_table(
    opened: Opened, digesting: Digesting, progress: Callable[[float], None]
) -> tuple[list[tuple[int, int]], int, int]:
    for _ in _pieces(opened.path, opened.name, digesting, progress):
        pass
    try:
        rows = int(scan(opened.path, opened.format).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"{opened.name} could not be read: {str(error).splitlines()[0]}.",
            field="source",
            todo="Save it again from its source.",
        ) from error
    return [(start, start + opened.line) for start in range(0, rows, TABLE_BLOCK)], rows, rows


def read_plan(path: Path) -> Plan | None:
    """A plan that was kept, if there is one."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Plan) if path.exists() else None


def write_plan(plan: Plan) -> bytes:
    """A plan, to be kept."""
    return msgspec.msgpack.encode(plan)


def threads_of(wanted: int, spare: int = 0) -> int:
    """How many threads work, where 0 means one for each core but for `spare` ones; where none is spared, one more while
    others wait for the disk."""
    return wanted or (max(1, cores() - spare) if spare else cores() + 1)


def within_memory(memory: int, wanted: int = 0) -> tuple[int, int]:
    """The size of a chunk, and the threads, with which a job of ordinary rows stays within so many bytes.

    Raises:
        InvalidInput: not even one thread does.
    """
    threads = min(threads_of(wanted), max(1, (memory - OWN_MEMORY) // (BLOCK * COPIES)))
    chunk = (memory - OWN_MEMORY) // (threads * COPIES) // BLOCK * BLOCK
    if chunk < BLOCK:
        least = OWN_MEMORY + BLOCK * COPIES
        raise InvalidInput(
            f"A job cannot be done in {memory >> 20} MiB.",
            field="memory",
            expected=f"at least {-(-least >> 20)} MiB",
            todo="Give it more.",
        )
    return min(chunk, MOST_CHUNK), threads


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
