"""The columns that a step is given, before it is known whether they are texts, codes or doubles.

A column is one of three things: a column of the request, untouched (`Raw`); one that depends on a single request
column with few values, and so is a table of its values (`Known`); or a column of a tensor in the graph (`Slot`).
A transformer of texts and truth values is never written anew: it is asked for its answer to each value that is
known to it, to null, and to a value that is not, and the answers become the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.compiler.graph import Graph
from headrace.compiler.origin import Origin
from headrace.compiler.tensor import Tensor, concat
from headrace.compiler.uncompiled import NotCompiled
from headrace.kernel.schema import Column, Scalar, Schema
from headrace.runtimes.frames import typed_categories
from headrace.runtimes.plan import Encoder, Lookup, Number, Words

UNSEEN = "\u00ab unseen \u00bb"


@dataclass(frozen=True)
class Raw:
    """A column of the request, as the model would be given it."""

    column: Column


@dataclass(frozen=True)
class Known:
    """A column that is a function of the request column `raw`; `values` gives it for each code, once all are known."""

    raw: str
    values: Callable[[], np.ndarray]
    finite: bool = False
    dtype: Any = np.float64


@dataclass(frozen=True)
class Slot:
    """Column `place` of a tensor."""

    tensor: Tensor
    place: int


Cell = Raw | Known | Slot


@dataclass
class Source:
    """The request: which of its columns the graph reads, and which values of them are known.

    `asked` are the questions to transformers that are put when all values are known (see `tabulating`).
    """

    schema: Schema
    graph: Graph = field(default_factory=Graph)
    encoders: list[Encoder] = field(default_factory=list)
    width: int = 0
    asked: list[Callable[[], object]] = field(default_factory=list)
    _vocabularies: dict[str, dict[Scalar, None]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _lookups: dict[tuple[str, tuple[int, ...]], range] = field(default_factory=dict)
    _known: dict[int, list[Known]] = field(default_factory=dict)
    _refused: dict[str, dict[int, str]] = field(default_factory=dict)

    def know(self, raw: str, values: Sequence[Any]) -> None:
        """Add values of a request column that a step knows."""
        known = self._vocabularies.setdefault(raw, {})
        column = self.schema.column(raw)
        if column is not None and column.type == "boolean":
            values = [False, True]
        elif column is not None and column.dtype.startswith(("category", "Enum")):
            values = typed_categories(column)
        for value in (one.item() if isinstance(one, np.generic) else one for one in values):
            if isinstance(value, str | bool) or (isinstance(value, int | float) and column and column.type != "string"):
                known.setdefault(value)

    def codes(self, raw: str) -> list[Scalar]:
        """The value for each code of a request column: those known, null, and one that is not known."""
        return [*self._vocabularies.get(raw, {}), None, UNSEEN]

    def refuse(self, raw: str, code: int, reason: str) -> None:
        """Let the encoding reject a value."""
        self._refused.setdefault(raw, {})[code] = reason

    def number_place(self, column: Column) -> int:
        """The input column that holds a number of the request."""
        if column.name not in self._places:
            self._places[column.name] = self.width
            self.encoders.append(_number(self.schema, column))
            self.width += 1
        return self._places[column.name]

    def lookup_places(self, raw: str, cells: Sequence[Known]) -> range:
        """The input columns that hold what is known of a request column's values."""
        key = (raw, tuple(map(id, cells)))
        if key not in self._lookups:
            self._lookups[key] = range(self.width, self.width + len(cells))
            self._known[len(self.encoders)] = list(cells)
            self.encoders.append(Lookup(raw, (), (), len(cells)))
            self.width += len(cells)
        return self._lookups[key]

    def words_places(self, words: Words) -> range:
        """The input columns that hold the counts of a text's terms."""
        start = self.width
        self.encoders.append(words)
        self.width += len(words.vocabulary)
        return range(start, self.width)

    def read(self, places: Sequence[int]) -> Tensor:
        """Columns of the graph's input; all of them, in order, are the input itself."""
        index = self.graph.pending(lambda: np.asarray(places, dtype=np.int64))
        name = self.graph.node("Gather", "rows", index, axis=1)
        return Tensor(self.graph, name, len(places), origins=[Origin(place) for place in places])

    def finished(self) -> tuple[Encoder, ...]:
        """The encoders with all that was learnt of their columns; what is refused is, though no step reads it later."""
        for ask in self.asked:
            ask()
        looked_up = {encoder.column for encoder in self.encoders if isinstance(encoder, Lookup)}
        self.encoders += [Lookup(raw, (), (), 0) for raw in self._refused if raw not in looked_up]
        self._known |= {p: [] for p, e in enumerate(self.encoders) if isinstance(e, Lookup) and not e.width}
        tables = {
            place: np.column_stack([doubles_of(c.values()) for c in cells])
            if cells
            else np.empty((len(self.codes(self.encoders[place].column)), 0))
            for place, cells in self._known.items()
        }
        return tuple(self._complete(encoder, tables.get(place)) for place, encoder in enumerate(self.encoders))

    def _complete(self, encoder: Encoder, table: np.ndarray | None) -> Encoder:
        if not isinstance(encoder, Lookup) or table is None:
            return encoder
        rows = tuple(tuple(None if cell != cell else cell for cell in row) for row in table.tolist())
        values = tuple(self.codes(encoder.column)[:-2])
        return Lookup(encoder.column, values, rows, encoder.width, self._refused.get(encoder.column, {}))


def _number(schema: Schema, column: Column) -> Number:
    """The encoder of a number: rounded to float32 or float16, or held to the limits of a short integer, like frames."""
    match = re.match(r"[uU]?[iI]nt(\d+)", column.dtype)
    if column.type == "integer" and match:
        limits = np.iinfo(column.dtype.lower())
        return (
            Number(column.name, least=float(limits.min), most=float(limits.max))
            if int(match[1]) < 64
            else (Number(column.name, least=0.0) if column.dtype.lower().startswith("u") else Number(column.name))
        )
    kind = column.dtype.lower()
    return Number(column.name, round=kind if kind in ("float32", "float16") else "")


class Table:
    """Columns side by side, as one step hands them to the next."""

    def __init__(self, source: Source, cells: Sequence[Cell], *, sparse: bool = False) -> None:
        self.source = source
        self.cells = list(cells)
        self.sparse = sparse

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.cells)

    def pick(self, places: Sequence[int]) -> Table:
        """Some of the columns."""
        return Table(self.source, [self.cells[place] for place in places], sparse=self.sparse)

    def dtypes(self) -> list[np.dtype[Any]]:
        """The type in which the Python model is given each column."""
        return [_dtype(self.source.schema, cell) for cell in self.cells]

    def tensor(self) -> Tensor:
        """All columns as doubles.

        Raises:
            NotCompiled: a column holds texts or dates.
        """
        if not self.cells:
            raise NotCompiled("no column is left")
        parts: list[Tensor] = []
        start = 0
        while start < len(self.cells):
            end = start + 1
            while end < len(self.cells) and _together(self.cells[start], self.cells[end]):
                end += 1
            parts.append(self._part(self.cells[start:end]))
            start = end
        whole = concat(parts)
        whole.dtype = np.result_type(*self.dtypes())
        return whole

    def _part(self, cells: Sequence[Any]) -> Tensor:
        if isinstance(cells[0], Slot):
            return cells[0].tensor.pick([cell.place for cell in cells])
        places: list[int] = []
        finite = bounded = True
        start = 0
        while start < len(cells):
            cell = cells[start]
            if isinstance(cell, Raw):
                places.append(self._number(cell.column))
                wide = _dtype(self.source.schema, cell).itemsize == 8 or cell.column.type != "number"
                finite, bounded = finite and wide and not cell.column.nullable, bounded and wide
                start += 1
                continue
            end = start
            while end < len(cells) and isinstance(cells[end], Known) and cells[end].raw == cell.raw:
                end += 1
            places += self.source.lookup_places(cell.raw, cells[start:end])
            finite = finite and all(one.finite for one in cells[start:end])
            bounded = bounded and all(one.finite for one in cells[start:end])
            start = end
        tensor = self.source.read(places)
        tensor.finite, tensor.bounded = finite, bounded or finite
        tensor.dtype = np.result_type(*(_dtype(self.source.schema, cell) for cell in cells))
        return tensor

    def _number(self, column: Column) -> int:
        if column.type in ("string", "datetime"):
            raise NotCompiled(f"the column {column.name!r} ({column.type}) is used as a number")
        if column.dtype == "object" and column.nullable and column.type != "boolean":
            raise NotCompiled(f"the column {column.name!r} holds numbers as Python objects, with nulls among them")
        if column.dtype.startswith("category"):
            raise NotCompiled(f"the column {column.name!r} is of the type category and is used as a number")
        return self.source.number_place(column)


def whole_table(schema: Schema) -> Table:
    """The request itself: every feature, untouched."""
    return Table(Source(schema), [Raw(column) for column in schema.features])


def slots(source: Source, tensor: Tensor) -> Table:
    """A tensor as columns."""
    return Table(source, [Slot(tensor, place) for place in range(tensor.width)])


def side_by_side(tables: Sequence[Table]) -> Table:
    """The columns of several tables."""
    return Table(tables[0].source, [cell for table in tables for cell in table.cells])


def is_known(cell: Cell) -> bool:
    """Whether a column takes few values, which a transformer can be asked for one by one."""
    if isinstance(cell, Raw):
        return cell.column.type in ("string", "boolean") or cell.column.dtype.startswith("category")
    return isinstance(cell, Known)


def _together(first: Cell, other: Cell) -> bool:
    """Whether two neighbours are read at once: of one tensor, or of the input."""
    if isinstance(first, Slot) or isinstance(other, Slot):
        return isinstance(first, Slot) and isinstance(other, Slot) and other.tensor is first.tensor
    return True


def _dtype(schema: Schema, cell: Cell) -> np.dtype[Any]:
    if isinstance(cell, Slot):
        return cell.tensor.dtype
    if isinstance(cell, Known):
        return np.dtype(cell.dtype)
    if cell.column.type in ("string", "datetime"):
        return np.dtype(np.float64)
    return held_as(schema, cell.column)


def held_as(schema: Schema, column: Column) -> np.dtype[Any]:
    """The numpy type in which scikit-learn sees a column of numbers; nullable and object columns become doubles."""
    name = column.dtype
    extension = schema.frame == "pandas" and not name.islower()
    if extension or name in ("object", "category") or name.startswith("Decimal"):
        return np.dtype(np.float64)
    if column.nullable and column.type in ("integer", "boolean"):
        return np.dtype(np.float64)
    return np.dtype({"Boolean": "bool"}.get(name, name.lower()))


def doubles_of(values: np.ndarray) -> np.ndarray:
    """Answers as doubles, None as NaN.

    Raises:
        NotCompiled: a text is among them.
    """
    try:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotCompiled("a text stands where a number is needed") from error
