"""The contract of a table's columns: the only place that knows a column's type.

It validates datasets, decodes requests, becomes JSON Schema and OpenAPI, draws the form in the console
and gives the monitor its bins.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Type = Literal["boolean", "integer", "number", "string", "datetime"]
Role = Literal["feature", "key", "time", "target"]
FrameKind = Literal["pandas", "polars", "numpy"]
Scalar = bool | int | float | str | None

_JSON_TYPES: dict[str, dict[str, object]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
}


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column. `dtype` and `sentinel` are those of the frame that the model was fitted with.

    `minimum` and `maximum` are the range seen (numbers); `categories` the values seen, sorted (strings
    with few of them). Both inform and count; they refuse only where the schema says `enforce`.
    """

    name: str
    type: Type
    dtype: str
    role: Role = "feature"
    nullable: bool = False
    sentinel: Literal["nan", "none"] = "nan"
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    example: Scalar = None
    unit: str = ""
    description: str = ""


class Schema(msgspec.Struct, frozen=True, omit_defaults=True):
    """The columns in the order in which the model was fitted, and the kind of frame it was fitted with."""

    frame: FrameKind
    columns: tuple[Column, ...]
    enforce: bool = False

    def column(self, name: str) -> Column | None:
        """The column called `name`, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    def having(self, *roles: Role) -> tuple[Column, ...]:
        """The columns of these roles, in order."""
        return tuple(column for column in self.columns if column.role in roles)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model is given, in its order."""
        return self.having("feature")

    @property
    def asked(self) -> tuple[Column, ...]:
        """The columns of a request: features, then keys and time, which are captured but not given to the model."""
        return self.features + self.having("key", "time")

    def for_model(self, features: tuple[str, ...] | None = None) -> Schema:
        """The contract of requests: this schema without the target, its features narrowed to `features`."""
        named = {column.name: column for column in self.columns}
        chosen = tuple(named[name] for name in features) if features is not None else self.features
        return msgspec.structs.replace(self, columns=chosen + self.having("key", "time"))


def describe_type(column: Column) -> str:
    """What a value of the column must be, in words for an error."""
    words = {
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "string": "a text",
        "datetime": "a date and time such as 2013-01-31T09:30:00Z",
    }[column.type]
    return f"{words} or null" if column.nullable else words


def row_schema(schema: Schema) -> dict[str, object]:
    """JSON Schema (2020-12) of one row of a request."""
    return {
        "type": "object",
        "properties": {column.name: _property(column, schema.enforce) for column in schema.asked},
        "required": [column.name for column in schema.features if not column.nullable],
        "examples": [example_row(schema)],
    }


def example_row(schema: Schema) -> dict[str, Scalar]:
    """A row that was really seen, as far as one was kept."""
    return {column.name: column.example for column in schema.asked if column.example is not None}


def _property(column: Column, enforce: bool) -> dict[str, object]:
    base = dict(_JSON_TYPES[column.type])
    if column.nullable or column.role != "feature":
        base["type"] = [base["type"], "null"]
    notes = [column.description, f"unit: {column.unit}" if column.unit else "", _seen(column)]
    described: dict[str, object] = {**base, "description": "; ".join(note for note in notes if note)}
    if column.example is not None:
        described["examples"] = [column.example]
    if enforce:
        described |= _limits(column)
    return described


def _limits(column: Column) -> dict[str, object]:
    limits = {"minimum": column.minimum, "maximum": column.maximum}
    known: dict[str, object] = {name: value for name, value in limits.items() if value is not None}
    if column.categories is not None and column.type == "string":
        known["enum"] = [*column.categories, None] if column.nullable else list(column.categories)
    return known


def _seen(column: Column) -> str:
    if column.categories is not None:
        shown = ", ".join(column.categories[:8])
        return f"seen: {shown}" + (", …" if len(column.categories) > 8 else "")
    if column.minimum is not None:
        return f"seen: {column.minimum:g} to {column.maximum:g}"
    return ""
