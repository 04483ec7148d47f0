"""Categories as the boosting libraries see them: columns of a categorical type become codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.compiler.table import Cell, Known, Raw, Table
from headrace.compiler.tensor import Tensor


def coded(table: Table, lists: Sequence[Sequence[Any]] | None) -> tuple[Table, list[int]]:
    """The table with its categorical columns as codes, NaN for null and for what is not known; and their places.

    Args:
        lists: the categories of each such column, in order, as the model stored them; else the schema's own.
    """
    cells: list[Cell] = []
    places: list[int] = []
    for place, cell in enumerate(table.cells):
        if not _is_categorical(cell):
            cells.append(cell)
            continue
        column = cell.column  # type: ignore[union-attr]
        own = list(column.categories or ()) if lists is None else list(lists[len(places)])
        places.append(place)
        table.source.know(column.name, column.categories or ())
        cells.append(Known(column.name, _codes(table, column.name, own)))
    return Table(table.source, cells), places


def _is_categorical(cell: Cell) -> bool:
    return isinstance(cell, Raw) and cell.column.dtype.startswith(("category", "Categorical", "Enum"))


def _codes(table: Table, name: str, known: list[Any]) -> Any:
    def values() -> np.ndarray:
        code = {str(value): float(place) for place, value in enumerate(known)}
        return np.array([np.nan if v is None else code.get(str(v), np.nan) for v in table.source.codes(name)])

    return values


def only_in(x: Tensor, places: Sequence[int], changed: Tensor) -> Tensor:
    """`changed` in some columns, x in the others."""
    if not places:
        return x
    chosen = np.zeros((1, x.width), dtype=bool)
    chosen[0, list(places)] = True
    mask = Tensor(x.graph, x.graph.constant(chosen, np.bool_), x.width, mask=True)
    return mask.where(changed, x)


def whole(x: Tensor, places: Sequence[int], outside: float) -> Tensor:
    """Cut to whole numbers in some columns; `outside` where that is no int32, as NaN is none."""
    cut = (x < 0.0).where(x.derive("Ceil"), x.derive("Floor"))
    return only_in(x, places, (cut.absolute() < 2.0**31).where(cut, outside))
