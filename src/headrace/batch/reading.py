"""The rows of one block, typed by the schema, and those that cannot be scored, each with its line, field and reason.

A text is parsed at one go where it is well formed. Only where it is not are its records looked at one by one; what is
well formed gives the same values either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from headrace.batch.dialect import Dialect
from headrace.batch.isolating import isolated
from headrace.batch.job import Chunk, Input, Plan
from headrace.batch.lines import NEWLINE, Marks, counted, delimiters, marks, record_ends
from headrace.batch.sources import scan
from headrace.batch.stamps import changed, stamp
from headrace.data.frames import columns_of, storable
from headrace.data.validation import Broken, check, infinite
from headrace.kernel.errors import HeadraceError, InvalidInput, SchemaViolation
from headrace.kernel.ports import Columns
from headrace.kernel.schema import Schema
from headrace.serving.decoding import RowDecoder

MOST_SHOWN = 2_000
"""Characters of a rejected record that are kept."""
TYPED = {"integer": pl.Int64, "number": pl.Float64}
KEPT_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
}
SEEN: dict[str, Any] = {**TYPED, "boolean": pl.Boolean, "string": pl.String, "datetime": pl.String}
JSON_TYPES = {"integer": int, "number": float}
KEPT_DTYPES: dict[str, Any] = {**TYPED, "boolean": pl.Boolean, "string": pl.String}


class Reject(NamedTuple):
    """A row that cannot be scored. `line` counts from 1, of the file; `record` is what stands there."""

    file: str
    line: int
    field: str
    reason: str
    record: str


class Rows(NamedTuple):
    """The rows of a block that keep the schema: features, kept columns, and the number of each within its file.

    `seen` gives all that the schema asks for, typed.
    """

    columns: Columns
    kept: pl.DataFrame
    numbers: np.ndarray
    records: Callable[[int], str]
    rejects: list[Reject]
    seen: Callable[[], pl.DataFrame]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.numbers)


class Reader:
    """Reads the blocks of a plan for one schema.

    Args:
        typed: whether kept columns that the schema knows have its types; else they are as they stand in the source.
    """

    def __init__(self, plan: Plan, schema: Schema, typed: bool) -> None:
        self._plan = plan
        self._schema = schema
        self._typed = typed
        self._decoder = RowDecoder(schema, most_rows=1 << 40)
        self._numeric = {c.name: TYPED[c.type] for c in schema.features if c.type in TYPED}

    def read(self, chunk: Chunk) -> Iterator[Rows]:
        """The rows of each block of a chunk.

        Raises:
            Conflict: the file changed since it was planned, or is gone.
        """
        it = self._plan.inputs[chunk.input]
        if it.format in ("parquet", "arrow"):
            yield from self._table(it, chunk)
            return
        for block in range(chunk.first, chunk.last):
            start, line = it.blocks[block]
            text = bytes_between(it, start, _place(it, block + 1))
            yield (
                self._json_lines(it, text, line)
                if it.format == "jsonl"
                else self._checked(it, *self._text(it, text, line))
            )

    def _table(self, it: Input, chunk: Chunk) -> Iterator[Rows]:
        """The rows of a table, taken at one go: what a file keeps together is not unpacked again for each block."""
        start = _place(it, chunk.first)
        whole = storable(rows_between(it, start, _place(it, chunk.last))).rename(self._plan.rename)
        for block in range(chunk.first, chunk.last):
            first, number = it.blocks[block]
            rows = _place(it, block + 1) - first
            frame = whole.slice(first - start, rows)
            record = partial(_json, frame)
            yield self._checked(it, frame, np.arange(number + 1, number + 1 + rows), record, [])

    def _text(self, it: Input, text: bytes, line: int) -> tuple[pl.DataFrame, np.ndarray, Any, list[Reject]]:
        """The records of a block of CSV as a frame, the line of each, and those that are no records."""
        its = marks(it.dialect.quote, it.dialect.delimiter)
        kinds = {name: self._numeric.get(name, pl.String) for name in it.columns}
        for name in self._plan.keep if not self._typed else ():
            kinds[name] = pl.String
        found = _Records(text, line, its)
        if found.well_formed(len(it.columns)):
            frame = _parsed(text, it.dialect, kinds)
            if frame is None:
                frame = _parsed(text, it.dialect, dict.fromkeys(kinds, pl.String))
            if frame is not None and frame.height == found.count:
                return frame, found.lines, found.text, []
        good, rejects = found.sound(it.name, it.columns)
        frame, bad = _parsed_each(found, good, it.dialect, it.columns)
        refused = [found.reject(it.name, i, "", found.malformed(i)) for i in bad]
        left = np.setdiff1d(good, np.array(bad, dtype=np.int64))

        def record(row: int) -> str:
            return found.text(int(left[row]))

        return frame, found.lines[left], record, rejects + refused

    def _checked(self, it: Input, frame: pl.DataFrame, lines: np.ndarray, record: Any, rejects: list[Reject]) -> Rows:
        """The rows of a frame that keep the schema."""
        frame = frame.with_columns([pl.lit(value, pl.String).alias(name) for name, value in it.partition.items()])
        typed, broken = check(frame, self._schema)
        broken = [*broken, *infinite(typed, self._schema)]
        source = typed.columns if self._typed else ()
        kept = pl.DataFrame([typed[name] if name in source else frame[name] for name in self._plan.keep])
        good = np.ones(frame.height, dtype=bool)
        for one in broken:
            rejects += [_reject(it, one, row, lines, record) for row in np.flatnonzero(one.rows.to_numpy() & good)]
            good &= ~one.rows.to_numpy()
        if not good.all():
            typed, kept, lines = typed.filter(good), kept.filter(good), lines[good]
            places = np.flatnonzero(good)
            whole, record = record, lambda row: whole(int(places[row]))
        return Rows(columns_of(typed, self._schema), kept, lines, record, rejects, lambda: typed)

    def _json_lines(self, it: Input, text: bytes, line: int) -> Rows:
        """The rows of a block of JSON Lines, typed as a request of that JSON would be."""
        rejects: list[Reject] = []
        rows: list[tuple[int, bytes, dict[str, Any]]] = []
        rename, partition = self._plan.rename, self._partition(it)
        for number, record in enumerate(text.split(b"\n"), line):
            if not record.strip():
                continue
            try:
                row = msgspec.json.decode(record)
                if not isinstance(row, dict):
                    raise msgspec.DecodeError(f"it is {_kind(row)}")
                row = {rename.get(n, n): value for n, value in row.items()} if rename else row
                rows.append((number, record, {**partition, **row} if partition else row))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                rejects.append(Reject(it.name, number, "", f"the line is no JSON object: {error}", _shown(record)))
        good, bad = isolated(len(rows), lambda part: self._typed_rows([row for *_, row in rows[part]]))
        for row, error in bad:
            number, record, _ = rows[row]
            field, reason = explained(error)
            rejects.append(Reject(it.name, number, field, reason, _shown(record)))
        left = [rows[row] for part, _ in good for row in range(part.start, part.stop)]
        kept = pl.concat([frame for _, (_, frame) in good]) if good else self._kept([])
        asked = {
            column.name: [value for _, (found, _) in good for value in found[column.name]]
            for column in self._schema.asked
            if all(column.name in found for _, (found, _) in good)
        }
        columns = {column.name: asked[column.name] for column in self._schema.features}
        numbers = np.array([number for number, *_ in left], dtype=np.int64)
        return Rows(columns, kept, numbers, lambda row: _shown(left[row][1]), rejects, lambda: self._frame(asked))

    def _frame(self, asked: dict[str, list[Any]]) -> pl.DataFrame:
        """Columns of lines of JSON as a frame; moments are texts in ISO 8601 there."""
        typed = {c.name: pl.Series(c.name, asked[c.name], SEEN[c.type]) for c in self._schema.asked if c.name in asked}
        times = [c.name for c in self._schema.having("time") if c.name in typed]
        moments = {name: typed[name].str.to_datetime(time_unit="us", strict=False) for name in times}
        return pl.DataFrame([*{**typed, **moments}.values()])

    def _partition(self, it: Input) -> dict[str, Any]:
        """The columns that stand in the names of folders, typed as JSON has them.

        Raises:
            InvalidInput: a folder's name is not of its column's type.
        """
        texts = {name: value for name, value in it.partition.items() if value is not None}
        kinds: dict[str, Any] = {c.name: JSON_TYPES[c.type] for c in self._schema.asked if c.type in JSON_TYPES}
        try:
            return {name: kinds.get(name, str)(value) for name, value in texts.items()}
        except ValueError as error:
            raise InvalidInput(f"{it.name}: {error}.", field="source", todo="Correct the folder's name.") from error

    def _typed_rows(self, rows: list[dict[str, Any]]) -> tuple[Columns, pl.DataFrame]:
        found = self._decoder.convert(rows)
        return {**found.columns, **found.context}, self._kept(rows)

    def _kept(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        """The kept columns of lines of JSON, each of the type that it has in the first of them."""
        return pl.DataFrame([_kept_column(n, self._plan.kinds[n], [r.get(n) for r in rows]) for n in self._plan.keep])


class _Records:
    """The records of a text: where each begins, and on which line. Empty lines are none."""

    def __init__(self, text: bytes, line: int, its: Marks) -> None:
        self._text = text
        self._line = line
        self._its = its
        self._quoted = its.quote >= 0 and its.quote in text
        self._bytes = np.frombuffer(text, dtype=np.uint8)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each record ends."""
        ends = record_ends(self._bytes, self._its) if self._quoted else np.flatnonzero(self._bytes == NEWLINE)
        whole = len(ends) and ends[-1] == len(self._text) - 1
        return ends if whole else np.append(ends, len(self._text))

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each record begins."""
        return np.append(0, self.ends[:-1] + 1)

    @cached_property
    def lines(self) -> np.ndarray:
        """The line of each record."""
        if not self._quoted:
            return np.arange(self._line, self._line + self.count)
        return self._line + np.searchsorted(np.flatnonzero(self._bytes == NEWLINE), self.starts)

    @cached_property
    def count(self) -> int:
        """How many there are; where nothing is quoted they are not looked for, which takes ten times as long."""
        if self._quoted:
            return len(self.ends)
        return counted(self._bytes, NEWLINE) + (not self._text.endswith(b"\n"))

    def well_formed(self, width: int) -> bool:
        """Whether there are as many delimiters as so many records of `width` fields have."""
        if width == 1:
            return False
        found = len(self._delimiters()) if self._quoted else counted(self._bytes, self._its.delimiter)
        return found == self.count * (width - 1)

    def _delimiters(self) -> np.ndarray:
        if self._quoted:
            return delimiters(self._bytes, self._its)
        return np.flatnonzero(self._bytes == self._its.delimiter)

    def sound(self, name: str, columns: tuple[str, ...]) -> tuple[np.ndarray, list[Reject]]:
        """The records with the right number of fields, and the others but empty lines as rejects."""
        found = self._delimiters()
        fields = np.searchsorted(found, self.ends) - np.searchsorted(found, self.starts) + 1
        lengths = self.ends - self.starts
        if len(columns) == 1:
            return np.flatnonzero(fields == 1), self._wrong(name, fields, np.flatnonzero(fields != 1), 1)
        empty = (lengths == 0) | ((lengths == 1) & (self._bytes[np.minimum(self.starts, len(self._bytes) - 1)] == 13))
        wrong = np.flatnonzero((fields != len(columns)) & ~empty)
        good = np.flatnonzero((fields == len(columns)) & ~empty)
        return good, self._wrong(name, fields, wrong, len(columns))

    def _wrong(self, name: str, fields: np.ndarray, records: np.ndarray, width: int) -> list[Reject]:
        return [self.reject(name, int(i), "", f"it has {fields[i]} fields instead of {width}") for i in records]

    def reject(self, name: str, record: int, field: str, reason: str) -> Reject:
        """A record that cannot be scored."""
        return Reject(name, int(self.lines[record]), field, reason, self.text(record))

    def malformed(self, record: int) -> str:
        """Why a record cannot be parsed."""
        try:
            self._text[self.starts[record] : self.ends[record]].decode()
        except UnicodeDecodeError:
            return "it is no text in UTF-8: name its encoding"
        return "the record is malformed: see its quotation marks"

    def text(self, record: int) -> str:
        """What stands in a record."""
        return _shown(self._text[self.starts[record] : self.ends[record]])

    def joined(self, records: np.ndarray) -> bytes:
        """Some records as a text."""
        pairs = zip(self.starts[records].tolist(), self.ends[records].tolist(), strict=True)
        return b"\n".join(self._text[start:end] for start, end in pairs) + b"\n"


def _parsed(text: bytes, dialect: Dialect, kinds: dict[str, Any]) -> pl.DataFrame | None:
    """The frame of a text that is well formed; None of one that is not, or that holds what is not of its type."""
    try:
        return pl.read_csv(
            text, has_header=False, schema=kinds, separator=dialect.delimiter, quote_char=dialect.quote or None
        )
    except pl.exceptions.PolarsError:
        return None


def _parsed_each(
    found: _Records, records: np.ndarray, dialect: Dialect, columns: tuple[str, ...]
) -> tuple[pl.DataFrame, list[int]]:
    """The frame of those records that can be parsed, as texts, and the places of those that cannot."""
    kinds = dict.fromkeys(columns, pl.String)

    def parse(part: slice) -> pl.DataFrame:
        frame = _parsed(found.joined(records[part]), dialect, kinds)
        if frame is None or frame.height != part.stop - part.start:
            raise InvalidInput("The records are malformed.", todo="See their quotation marks.")
        return frame

    good, bad = isolated(len(records), parse)
    frames = [frame for _, frame in good]
    return pl.concat(frames) if frames else pl.DataFrame(schema=kinds), [int(records[row]) for row, _ in bad]


def explained(error: Exception) -> tuple[str, str]:
    """The field and the reason for which a row cannot be scored."""
    if isinstance(error, SchemaViolation):
        text = error.text.partition(": ")[2] or error.text
        return error.field or "", text.rstrip(".")
    return "", error.text if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"


def _reject(it: Input, one: Broken, row: int, lines: np.ndarray, record: Any) -> Reject:
    return Reject(it.name, int(lines[row]), one.column.name, one.what(int(row)), record(int(row)))


def _json(frame: pl.DataFrame, row: int) -> str:
    return msgspec.json.encode(frame.row(row, named=True), enc_hook=str).decode()


def _place(it: Input, block: int) -> int:
    """Where a block of a file begins, or where the last one ends."""
    return it.blocks[block][0] if block < len(it.blocks) else it.end


def rows_between(it: Input, start: int, end: int) -> pl.DataFrame:
    """The rows `start` up to `end` of a table, as they stand there.

    Raises:
        Conflict: the file changed since it was planned, or is gone.
        InvalidInput: it cannot be read.
    """
    _need_unchanged(it)
    try:
        frame = scan(Path(it.path), it.format).slice(start, end - start).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        _need_unchanged(it)
        raise InvalidInput(
            f"{it.name} cannot be read: {str(error).splitlines()[0]}.",
            field="source",
            todo="Save it again from its source, and score it anew.",
        ) from error
    _need_unchanged(it)
    return frame


def bytes_between(it: Input, start: int, end: int) -> bytes:
    """The bytes `start` up to `end` of a text.

    Raises:
        Conflict: the file changed since it was planned, or is gone.
    """
    _need_unchanged(it)
    with Path(it.path).open("rb") as file:
        file.seek(start)
        content = file.read(end - start)
    _need_unchanged(it)
    if len(content) != end - start:
        raise changed(it.name)
    return content


def _need_unchanged(it: Input) -> None:
    found = stamp(Path(it.path))
    if found != it.stamp and not (it.inside and found[0] == it.stamp[0]):
        raise changed(it.name)


def _kept_column(name: str, kind: str, values: list[Any]) -> pl.Series:
    """A kept column of lines of JSON.

    Raises:
        SchemaViolation: a value is of another type.
    """
    if kind == "json":
        encoded = [None if value is None else msgspec.json.encode(value).decode() for value in values]
        return pl.Series(name, encoded, dtype=pl.String)
    types = KEPT_TYPES[kind]
    wrong = next((row for row, value in enumerate(values) if value is not None and type(value) not in types), None)
    if wrong is not None:
        raise SchemaViolation(
            f"Row {wrong}, field {name!r}: {values[wrong]!r} is not {kind} as in the first rows.",
            row=wrong,
            field=name,
            todo="Correct it, or keep other columns.",
        )
    numbers = [None if value is None else float(value) for value in values] if kind == "number" else values
    return pl.Series(name, numbers, dtype=KEPT_DTYPES[kind])


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _shown(record: bytes) -> str:
    return record.rstrip(b"\r\n").decode("utf-8", "replace")[:MOST_SHOWN]
