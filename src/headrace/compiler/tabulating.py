"""Asking a fitted transformer for its answer to every value that is known, instead of writing it anew."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from headrace.compiler.table import UNSEEN, Cell, Known, Raw, Slot, Source, Table, doubles_of
from headrace.compiler.tensor import Tensor
from headrace.compiler.uncompiled import NotCompiled
from headrace.kernel.schema import Scalar
from headrace.runtimes.frames import build_frame


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
    table.source.asked.append(lambda: asked.output(0, 0))
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
    x = table.pick([owner]).tensor().require_exact()
    graph = table.source.graph
    known = np.array(asked.probes[owner][:-2], dtype=np.float64)
    count = float(len(known))
    none = x.equals(x).doubles() * 0.0
    numbered = x.equals(known).doubles() @ np.arange(1.0, count + 1)[:, None] if len(known) else none
    code = x.isnan().where(count, numbered.equals(0.0).where(count + 1.0, numbered - 1.0))
    flat = graph.node("Reshape", graph.cast(code.name, "int64"), graph.constant([-1], np.int64))
    answers = graph.pending(lambda: np.column_stack([doubles_of(asked.output(owner, place)) for place in places]))
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


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)
