"""Lines of text: CSV, with a header or in the order of the features, and JSON Lines."""

from __future__ import annotations

import csv
import io
from typing import Any

from headrace.kernel.errors import InvalidInput
from headrace.kernel.schema import Column, Scalar
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import refuse_twice, row_objects
from headrace.serving.dialects.loose_json import loose_json
from headrace.serving.endpoints import Loaded
from headrace.serving.replies import encode_json

_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_csv(content: bytes, loaded: Loaded) -> Rows:
    """Rows of CSV. A first line whose cells are mostly names of the model's columns, or which names every feature
    without a null, is a header; else columns are in order.

    An empty cell is null.

    Raises:
        InvalidInput: it is not UTF-8 or not CSV, names a column twice, or a line has too many or too few cells.
        SchemaViolation: a value breaks the schema.
    """
    loaded.decoder.refuse_lines(content)
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"The body is not CSV in UTF-8: {error}.", todo="Correct it.") from error
    names = lines.pop(0) if lines and _is_header(lines[0], loaded) else loaded.features
    refuse_twice(names)
    columns = [loaded.schema.column(name) for name in names]
    rows = []
    for place, line in enumerate(lines):
        if len(line) != len(names):
            raise InvalidInput(
                f"Row {place} of the CSV has {len(line)} cells.",
                row=place,
                expected=f"{len(names)}: {', '.join(names[:20])}",
                todo="Correct the line; quote cells that hold a comma.",
            )
        rows.append({name: _value(column, cell) for name, column, cell in zip(names, columns, line, strict=True)})
    return loaded.decoder.convert(rows)


def _is_header(cells: list[str], loaded: Loaded) -> bool:
    known = {column.name for column in loaded.schema.asked}
    needed = {column.name for column in loaded.schema.features if not column.nullable}
    return 2 * sum(cell in known for cell in cells) >= len(cells) or (bool(needed) and needed <= set(cells))


def read_lines(content: bytes, loaded: Loaded) -> Rows:
    """Rows of JSON Lines: an object, or a list in the order of the features, on each line; SageMaker's
    ``{"features": […]}`` too.

    Raises:
        InvalidInput: a line is not JSON, or cannot be a row.
        SchemaViolation: a value breaks the schema.
    """
    loaded.decoder.refuse_lines(content)
    rows = [_line(place, line) for place, line in enumerate(filter(bytes.strip, content.splitlines()))]
    named = "features" in loaded.features
    return row_objects(loaded, [row["features"] if not named and _only_features(row) else row for row in rows])


def _line(place: int, line: bytes) -> Any:
    try:
        return loose_json(line)
    except InvalidInput as error:
        raise InvalidInput(f"Line {place} of the body: {error.text}", row=place, todo=error.todo) from error


def _only_features(row: Any) -> bool:
    return isinstance(row, dict) and list(row) == ["features"]


def csv_text(values: list[Any]) -> bytes:
    """One line for each value; the cells of a list are separated by commas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(
        [_spelled(cell) for cell in value] if isinstance(value, list) else [_spelled(value)] for value in values
    )
    return text.getvalue().encode()


def json_lines(values: list[Any]) -> bytes:
    """One object for each value."""
    return b"".join(encode_json({"prediction": value}) + b"\n" for value in values)


def _spelled(value: Scalar) -> Scalar:
    return str(value).lower() if isinstance(value, bool) else value


def _value(column: Column | None, cell: str) -> Scalar:
    """A cell as its column reads it; what cannot be read stays a text, for the schema to refuse."""
    if cell == "":
        return None
    if column is None or column.type in ("string", "datetime"):
        return cell
    if column.type == "boolean":
        return _TRUTH.get(cell.strip().lower(), cell)
    if "_" in cell:
        return cell
    try:
        return int(cell) if column.type == "integer" else float(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell
