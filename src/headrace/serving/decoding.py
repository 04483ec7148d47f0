"""Rows of JSON as columns, typed by the schema: a struct is generated once and msgspec decodes into it."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from headrace.kernel.errors import InvalidInput, SchemaViolation
from headrace.kernel.ports import Columns
from headrace.kernel.schema import Column, Scalar, Schema, describe_type
from headrace.serving.counting import MOST_VALUES, refuse_many, too_many, values_in

_TYPES: dict[str, Any] = {"boolean": bool, "integer": int | float, "number": float, "string": str, "datetime": datetime}
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?\Z", re.DOTALL)
_ROW = re.compile(r"\$(?:\.rows)?\[(\d+)\]")
_BEGINS = re.compile(rb'\s*\{\s*"rows"\s*:\s*(\[)?')
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
SMALL = 1 << 14
EXACTLY = 1 << 20
"""The largest body that is looked through for texts; in larger ones colons within texts are estimated."""


class Rows(msgspec.Struct, frozen=True):
    """Decoded rows: the features as columns, and key and time columns as they were sent (or None)."""

    count: int
    columns: Columns
    context: dict[str, list[Scalar]]
    unknown: int
    bulk: bool = False
    """Whether the columns are arrays, which are scored at one go."""


class RowDecoder:
    """Decodes the native request of one schema: ``{"rows": [{…}, …]}``, or one bare row object."""

    def __init__(self, schema: Schema, most_rows: int = 10_000) -> None:
        self._schema = schema
        self._asked = schema.asked
        self._fields = {f"c{i}": column for i, column in enumerate(self._asked)}
        strict, lenient = (_row_type(self._asked, forbid) for forbid in (True, False))
        exact = _row_type(self._asked, True, whole=True)
        self._exact = msgspec.json.Decoder(exact)
        self._exact_many = msgspec.json.Decoder(_request_type(exact))
        self._strict = msgspec.json.Decoder(_request_type(strict))
        self._lenient = msgspec.json.Decoder(_request_type(lenient))
        self._bare_strict = msgspec.json.Decoder(strict)
        self._bare_lenient = msgspec.json.Decoder(lenient)
        self._row = lenient
        self.most_rows = most_rows
        self._width = len(self._asked)
        self._names = {column.name for column in self._asked}
        self._order = [column.name for column in self._asked]
        self._features = [column.name for column in schema.features]
        self._held = [column for column in self._asked if _needs_more(column, schema.enforce)]
        self._plain = not self._held and self._order == self._features
        self._numbers = [column for column in self._asked if column.type == "number"]

    def decode(self, body: bytes) -> Rows:
        """The rows in a request's body.

        Raises:
            SchemaViolation: a value that breaks the schema, with its row and field.
            InvalidInput: not JSON, no rows, or too many.
        """
        if len(body) <= SMALL and (simple := self._simple(body)) is not None:
            return simple
        unknown = 0
        refuse_many(body, self.most_rows)
        try:
            try:
                rows = self._rows(body, self._strict, self._bare_strict)
                self._refuse_twice(rows, body)
            except msgspec.ValidationError as error:
                if "unknown field" not in str(error):
                    raise
                unknown = self._count_unknown(body)
                rows = self._rows(body, self._lenient, self._bare_lenient)
        except msgspec.ValidationError as error:
            raise self._explained(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"The body is not JSON: {error}.",
                expected='{"rows": [{…}, …]} or one row object',
                todo="Send a JSON object; NaN and Infinity are not JSON, use null.",
            ) from error
        except RecursionError as error:
            raise _too_deep() from error
        return self._gathered(rows, unknown)

    def _simple(self, body: bytes) -> Rows | None:
        """The row of a body that holds one row with every field, each once, and nothing else; None for anything else.

        Every name is followed by a colon: where there are as many colons as names, no name is there twice.
        """
        colons = body.count(b":")
        try:
            if colons == self._width:
                row = self._exact.decode(body)
            elif colons == self._width + 1:
                (row,) = self._exact_many.decode(body).rows
            else:
                return None
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return None
        if not self._plain:
            return self._gathered([row], 0)
        return Rows(1, {name: [value] for name, value in zip(self._order, astuple(row))}, {}, 0)  # noqa: B905

    def _refuse_twice(self, rows: list[Any], body: bytes) -> None:
        """Refuse a field that is there twice: which of the two counts would be chance.

        Every name is followed by a colon, so as many colons as there are fields, outside of texts, are right.

        Raises:
            InvalidInput: there are more.
        """
        colons = body.count(b":")
        if len(rows) == 1 and colons == len(self._order) and UNSET not in astuple(rows[0]):
            return
        values = [value for row in rows for value in astuple(row) if value is not UNSET]
        fields = len(values) + self._is_wrapped(body)
        if colons > fields and len(body) <= EXACTLY:
            colons = _TEXTS.sub(b"", body).count(b":")
        elif colons > fields:
            colons -= len(rows) * sum(name.count(":") for name in self._order)
            colons -= sum(
                value.count(":") if isinstance(value, str) else 3 * isinstance(value, datetime) for value in values
            )
        if colons > fields:
            raise InvalidInput("A field is there twice.", expected="each field once", todo="Leave one of them out.")

    def convert(self, rows: list[dict[str, Any]]) -> Rows:
        """The same for row objects that are already Python values.

        Raises:
            SchemaViolation: a value that breaks the schema, with its row and field.
        """
        self.count(len(rows))
        named = {field: column.name for field, column in self._fields.items()}
        plain = [{name: _native(row[name]) for name in named.values() if name in row} for row in rows]
        try:
            typed = msgspec.convert(plain, list[self._row])  # type: ignore[name-defined]
        except msgspec.ValidationError as error:
            raise self._explained(error) from error
        for column in self._numbers:
            _refuse_infinite(column, typed, self._order.index(column.name))
        return self._gathered(typed, sum(len(row.keys() - self._names) for row in rows))

    def _gathered(self, rows: list[Any], unknown: int) -> Rows:
        """Typed rows as columns, held against what the types alone do not say."""
        count = len(rows)
        if count == 1:
            values = astuple(rows[0])
            if UNSET in values:
                values = tuple(None if value is UNSET else value for value in values)
            columns = {name: [value] for name, value in zip(self._order, values, strict=True)}
        else:
            self.count(count)
            columns = {
                name: [None if value is UNSET else value for value in values]
                for name, values in zip(self._order, zip(*map(astuple, rows), strict=True), strict=True)
            }
        for column in self._held:
            self._finish(column, columns)
        features = {name: columns.pop(name) for name in self._features}
        return Rows(count, features, columns, unknown)

    def refuse_lines(self, content: bytes) -> None:
        """Refuse a body of lines with more of them than rows are allowed, a header among them.

        Raises:
            TooLarge: it has.
        """
        lines = content.count(b"\n")
        if lines > 2 * self.most_rows + 2:
            self.count(lines)

    def count(self, rows: int) -> None:
        """Refuse a request of this many rows.

        Raises:
            InvalidInput: there are none.
            TooLarge: there are more than are allowed.
        """
        if rows == 0:
            raise InvalidInput(
                "The request holds no rows.", expected=f"1 to {self.most_rows} rows", todo="Send at least one."
            )
        if rows > self.most_rows:
            raise too_many(rows, self.most_rows)

    def _rows(self, body: bytes, many: Any, bare: Any) -> list[Any]:
        if b'"rows"' not in body and b"\\" not in body:
            return [bare.decode(body)]
        return many.decode(body).rows if self._is_wrapped(body) else [bare.decode(body)]

    def _is_wrapped(self, body: bytes) -> bool:
        """Whether a body that holds the text "rows" has rows of that name, and is not a bare row with such a column."""
        found = _BEGINS.match(body)
        if found and (found[1] or "rows" not in self._names):
            return True
        try:
            rows = msgspec.json.decode(body, type=_Wrapped).rows
        except msgspec.DecodeError:
            return False
        return bytes(rows).lstrip().startswith(b"[")

    def _count_unknown(self, body: bytes) -> int:
        """The number of unknown fields; in a body too large to count them in, that there are some."""
        if values_in(body) > MOST_VALUES:
            return 1
        try:
            document = json.loads(body, object_pairs_hook=each_once)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The body is not JSON: {error}.", expected="a JSON object", todo="Send one.") from error
        rows = document.get("rows") if self._is_wrapped(body) else [document]
        return sum(len(row.keys() - self._names) for row in rows if isinstance(row, dict))

    def _finish(self, column: Column, columns: dict[str, list[Any]]) -> None:
        values = columns[column.name]
        if column.type == "datetime":
            columns[column.name] = [None if v is None else _moment(row, column, v) for row, v in enumerate(values)]
        if column.role == "key" and any(isinstance(v, int) and abs(v) >= 1 << 63 for v in values):
            row = next(i for i, v in enumerate(values) if isinstance(v, int) and abs(v) >= 1 << 63)
            raise _violation(row, column, f"{values[row]} does not fit into 64 bits")
        if column.type == "integer" and column.role == "feature":
            columns[column.name] = [_whole(row, column, value) for row, value in enumerate(values)]
        if self._schema.enforce and column.role == "feature":
            _enforce(column, values)

    def _explained(self, error: msgspec.ValidationError) -> InvalidInput:
        found = _PLACE.match(str(error))
        what, path = (found["what"], found["path"] or "$") if found else (str(error), "$")
        place = _ROW.match(path)
        row = int(place[1]) if place else 0
        name = max((n for n in self._names if path.endswith(f".{n}")), key=len, default="")
        missing = re.search(r"required field `([^`]*)`", what)
        name = missing[1] if missing else name
        column = self._schema.column(name)
        if column is None:
            return InvalidInput(
                f"The request does not have the form that it must have: {what} at {path}.",
                expected='{"rows": [{…}, …]} or one row object',
                todo="See the model's OpenAPI document for an example.",
            )
        return _violation(row, column, "the field is missing" if missing else _lower(what))


def _needs_more(column: Column, enforce: bool) -> bool:
    """Whether a column's type does not say all that its values are held against."""
    return column.type in ("datetime", "integer") or column.role == "key" or (enforce and column.role == "feature")


def _refuse_infinite(column: Column, rows: list[Any], place: int) -> None:
    """JSON has no infinite number, but Python has: refuse it."""
    for row, typed in enumerate(rows):
        value = astuple(typed)[place]
        if value is not None and value is not UNSET and not math.isfinite(value):
            raise _violation(row, column, f"{value} is not finite")


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these fields, for `json.loads`.

    Raises:
        InvalidInput: a field is there twice; which of the two counts would be chance.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"The field {twice!r} is there twice.", expected="each field once", todo="Leave one out.")
    return found


def _row_type(asked: tuple[Column, ...], forbid: bool, whole: bool = False) -> type[Any]:
    """The struct of a row.

    Args:
        forbid: whether fields that are not asked for are refused.
        whole: whether every field must be there.
    """
    fields: list[Any] = []
    for i, column in enumerate(asked):
        optional = column.nullable or column.role != "feature"
        kind = _TYPES[column.type] if column.role == "feature" else _context_type(column)
        if optional and not whole:
            fields.append((f"c{i}", kind | None | UnsetType, UNSET))
        else:
            fields.append((f"c{i}", kind | None if optional else kind))
    names = {f"c{i}": column.name for i, column in enumerate(asked)}
    return msgspec.defstruct("Row", fields, rename=names, kw_only=True, forbid_unknown_fields=forbid, gc=False)


def _context_type(column: Column) -> Any:
    return str | int | float if column.role == "key" and column.type != "string" else _TYPES[column.type]


def _request_type(row: type[Any]) -> type[Any]:
    return msgspec.defstruct("Request", [("rows", list[row])])


class _Wrapped(msgspec.Struct):
    rows: msgspec.Raw = msgspec.Raw()


def _too_deep() -> InvalidInput:
    return InvalidInput(
        "The body is nested too deeply.",
        expected="an object of rows, which hold plain values",
        todo="Send such an object.",
    )


def _native(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _whole(row: int, column: Column, value: Any) -> int | None:
    if value is None or (type(value) is int and -(1 << 63) <= value < 1 << 63):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 63:
        return int(value)
    raise _violation(row, column, f"{value!r} is not a whole number of 64 bits")


def _moment(row: int, column: Column, value: datetime) -> str:
    try:
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError as error:
        raise _violation(row, column, f"{value} lies outside the years 1 to 9999 in UTC") from error
    return naive.isoformat(timespec="microseconds")


def _enforce(column: Column, values: list[Any]) -> None:
    for row, value in enumerate(values):
        if value is None:
            continue
        if column.type == "string" and column.categories is not None and value not in column.categories:
            raise _violation(row, column, f"{value!r} was not seen in training, and the schema is enforced")
        if column.minimum is not None and not column.minimum <= value <= (column.maximum or 0):
            raise _violation(row, column, f"{value!r} is out of range, and the schema is enforced")


def _violation(row: int, column: Column, what: str) -> SchemaViolation:
    return SchemaViolation(
        f"Row {row}, field {column.name!r}: {what}.",
        row=row,
        field=column.name,
        expected=describe_type(column),
        todo="Correct the value and send the request again.",
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
