"""The columns that a step is given, before it is known whether they are texts, codes or doubles.

A column is one of three things: a column of the request, untouched (`Raw`); one that depends on a single request
column with few values, and so is a table of its values (`Known`); or a column of a tensor in the graph (`Slot`).
A transformer of texts and truth values is never written anew: it is asked for its answer to each value that is
known to it, to null, and to a value that is not, and the answers become the table.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from headrace.compiler.graph import Graph
from headrace.compiler.origin import Origin
from headrace.compiler.tensor import Tensor, concat
from headrace.kernel.schema import Column, Scalar, Schema
from headrace.runtimes.frames import build_frame, typed_categories
from headrace.runtimes.plan import Encoder, Lookup, Number, Words

UNSEEN = "\u00ab unseen \u00bb"


class NotCompiled(Exception):
    """What stands in the way of compiling: the innermost step that is not covered, and why."""

    def __init__(self, reason: str, step: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}" if self.step else self.reason


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
    """The request: which of its columns the graph reads, and which values of them are known."""

    schema: Schema
    graph: Graph = field(default_factory=Graph)
    encoders: list[Encoder] = field(default_factory=list)
    width: int = 0
    asked: list[_Asked] = field(default_factory=list)
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
        for value in values:
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
        for asked in self.asked:
            asked.output(0, 0)
        looked_up = {encoder.column for encoder in self.encoders if isinstance(encoder, Lookup)}
        self.encoders += [Lookup(raw, (), (), 0) for raw in self._refused if raw not in looked_up]
        self._known |= {p: [] for p, e in enumerate(self.encoders) if isinstance(e, Lookup) and not e.width}
        tables = {
            place: np.column_stack([_doubles(c.values()) for c in cells])
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


def tabulate(
    table: Table,
    transform: Callable[[Any], Any],
    owners: Sequence[int],
    *,
    dtype: Any = np.float64,
    numbers: dict[int, np.ndarray] | None = None,
    strict: bool = False,
    finite: bool = False,
) -> Table:
    """The outputs of a transformer that treats each column by itself, as tables of its own answers.

    Args:
        table: columns that are known (see `is_known`), or numbers of which `numbers` gives the values that count.
        transform: the fitted transformer's own method.
        owners: for each of its outputs, which column it is made of.
        strict: numbers at which it raises are rejected; else they cannot occur.
        finite: whether no output can be NaN or infinite.
        dtype: of its outputs.
    """
    probes = {place: _probe(values) for place, values in (numbers or {}).items()}
    asked = _Asked(table, transform, probes)
    table.source.asked.append(asked)
    cells: list[Cell] = []
    for owner in dict.fromkeys(owners):
        places = [place for place, other in enumerate(owners) if other == owner]
        if owner in probes:
            looked_up = _number_lookup(table, owner, asked, places, strict, finite)
            looked_up.dtype = np.dtype(dtype)
            cells += [Slot(looked_up, i) for i in range(len(places))]
        else:
            raw = _raw_name(table.cells[owner])
            cells += [Known(raw, lambda o=owner, p=place: asked.output(o, p), finite, dtype) for place in places]
    order = [place for owner in dict.fromkeys(owners) for place, other in enumerate(owners) if other == owner]
    return Table(table.source, [cells[order.index(place)] for place in range(len(owners))])


def _probe(values: np.ndarray) -> list[Scalar]:
    """The values, then null, then a number that is not among them."""
    known = [value for value in np.asarray(values).tolist() if value == value]
    if any(abs(value) >= 2**53 for value in known):
        raise NotCompiled("it knows whole numbers that doubles cannot tell apart")
    other = max(known, default=0) + 1
    return [*known, None, other]


def _number_lookup(table: Table, owner: int, asked: _Asked, places: list[int], strict: bool, finite: bool) -> Tensor:
    x = table.pick([owner]).tensor()
    graph = table.source.graph
    known = np.array(asked.probes[owner][:-2], dtype=np.float64)
    count = float(len(known))
    none = x.equals(x).doubles() * 0.0
    numbered = x.equals(known).doubles() @ np.arange(1.0, count + 1)[:, None] if len(known) else none
    code = x.isnan().where(count, numbered.equals(0.0).where(count + 1.0, numbered - 1.0))
    flat = graph.node("Reshape", graph.cast(code.name, "int64"), graph.constant([-1], np.int64))
    answers = graph.pending(lambda: np.column_stack([_doubles(asked.output(owner, place)) for place in places]))
    if strict:
        refused = graph.pending(lambda: asked.refusals(owner))
        graph.checks.append(graph.node("Gather", refused, flat, axis=0))
    return Tensor(graph, graph.node("Gather", answers, flat, axis=0), len(places), finite=finite)


class _Asked:
    """A transformer's answers to every known value, computed once, when all values are known."""

    def __init__(self, table: Table, transform: Callable[[Any], Any], probes: dict[int, list[Scalar]]) -> None:
        self.probes = probes
        self._table = table
        self._transform = transform
        self._answers: np.ndarray | None = None
        self._lengths: list[int] = []
        self._refused: dict[int, set[int]] = {}

    def refusals(self, owner: int) -> np.ndarray:
        """For each code of a number's column: NaN where the transformer raises, else 0."""
        self.output(owner, 0)
        codes = self._refused.get(owner, set())
        return np.array([[np.nan if code in codes else 0.0] for code in range(self._lengths[owner])])

    def output(self, owner: int, place: int) -> np.ndarray:
        """Output `place` for each code of the column `owner`."""
        if self._answers is None:
            self._answers = self._ask()
        return self._answers[: self._lengths[owner], place]

    def _ask(self) -> np.ndarray:
        columns = [
            self.probes.get(place) or _values(self._table.source, cell) for place, cell in enumerate(self._table.cells)
        ]
        self._lengths = [len(column) for column in columns]
        most = max(self._lengths)
        padded = [list(range(n)) + [0] * (most - n) for n in self._lengths]
        try:
            return self._call(columns, padded)
        except Exception:
            return self._one_by_one(columns, most)

    def _one_by_one(self, columns: list[Any], most: int) -> np.ndarray:
        good = [self._good(columns, place) for place in range(len(columns))]
        rows: list[np.ndarray] = []
        base = self._call(columns, [[code] for code in good])[0]
        for code in range(most):
            row = np.array(base, dtype=object)
            picked = [[code if code < n else g] for n, g in zip(self._lengths, good, strict=True)]
            try:
                row = self._call(columns, picked)[0]
            except Exception:
                row = self._column_by_column(columns, good, code, base)
            rows.append(row)
        return np.array(rows, dtype=object)

    def _column_by_column(self, columns: list[Any], good: list[int], code: int, base: np.ndarray) -> np.ndarray:
        row = np.array(base, dtype=object)
        for place, length in enumerate(self._lengths):
            if code >= length:
                continue
            picked = [[code if p == place else g] for p, g in enumerate(good)]
            try:
                answer = self._call(columns, picked)[0]
            except Exception as error:
                self._refuse(place, code, error)
            else:
                changed = np.array([a is not b and not _same(a, b) for a, b in zip(answer, base, strict=True)])
                row[changed] = answer[changed]
        return row

    def _refuse(self, place: int, code: int, error: Exception) -> None:
        if place in self.probes:
            self._refused.setdefault(place, set()).add(code)
        else:
            self._table.source.refuse(_raw_name(self._table.cells[place]), code, str(error).splitlines()[0])

    def _good(self, columns: list[Any], place: int) -> int:
        for code in range(self._lengths[place]):
            try:
                self._call(columns, [[code if p == place else 0] for p in range(len(columns))])
            except Exception:  # noqa: S112 - another value is tried
                continue
            return code
        raise NotCompiled(f"it answers no value of its column {place}")

    def _call(self, columns: list[Any], picked: list[list[int]]) -> np.ndarray:
        frame = self._frame(columns, picked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = self._transform(frame)
        answers = answers.toarray() if hasattr(answers, "toarray") else answers
        answers = answers.to_numpy() if hasattr(answers, "to_numpy") else np.asarray(answers)
        return answers.astype(object)

    def _frame(self, columns: list[Any], picked: list[list[int]]) -> Any:
        cells = self._table.cells
        if all(isinstance(cell, Raw) for cell in cells):
            schema = self._table.source.schema
            wanted = msgspec.structs.replace(schema, columns=tuple(c.column for c in cells if isinstance(c, Raw)))
            named = {
                c.column.name: [v[i] for i in p]
                for c, v, p in zip(cells, columns, picked, strict=True)
                if isinstance(c, Raw)
            }
            return build_frame(wanted, named, len(picked[0]))
        array = np.empty((len(picked[0]), len(cells)), dtype=object)
        for place, (values, codes) in enumerate(zip(columns, picked, strict=True)):
            array[:, place] = [values[code] for code in codes]
        return array


def _values(source: Source, cell: Cell) -> Any:
    if isinstance(cell, Raw):
        values = source.codes(cell.column.name)
        return [None if cell.column.type != "string" and value == UNSEEN else value for value in values]
    if isinstance(cell, Known):
        return cell.values()
    raise NotCompiled("a number stands where a text is needed")


def _raw_name(cell: Cell) -> str:
    if isinstance(cell, Raw):
        return cell.column.name
    if isinstance(cell, Known):
        return cell.raw
    raise NotCompiled("a number stands where a text is needed")


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


def _doubles(values: np.ndarray) -> np.ndarray:
    try:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotCompiled("a text stands where a number is needed") from error


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)
