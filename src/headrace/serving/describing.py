"""What each dialect asks and answers, as JSON Schema with a working example; for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from headrace.kernel.routes import Rule
from headrace.kernel.schema import Scalar, Schema, example_row, row_schema
from headrace.serving.dialects.tensors import DATATYPES
from headrace.serving.endpoints import Facts, State

_CLASS_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
_NEUTRAL: dict[str, Scalar] = {
    "boolean": False,
    "integer": 0,
    "number": 0.0,
    "string": "text",
    "datetime": "2000-01-01T00:00:00",
}
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def example(facts: Facts) -> dict[str, Scalar]:
    """A row that was really seen; every feature is there."""
    row = example_row(facts.schema)
    return {column.name: row.get(column.name) for column in facts.schema.features}


OTHERS = {
    "native": " (in JSON; as an Arrow stream or Parquet where Accept asks for it)",
    "invocations": " (in JSON; as CSV, JSON Lines, an Arrow stream or Parquet where Accept asks for it)",
}


def described(state: State) -> dict[str, Facts]:
    """What is known of each model that answers, without anything that was seen in columns that are masked or hashed."""
    known = {model: active.live.facts for model, active in state.active.items()}
    return {
        model: facts._replace(schema=withheld(facts.schema, state.rules.get(model, Rule())))
        for model, facts in known.items()
        if facts is not None
    }


def withheld(schema: Schema, rule: Rule) -> Schema:
    """A schema that tells no value of the columns that are masked or hashed."""
    hidden = {*rule.masked, *rule.hashed}
    columns = (
        replace(column, example=_NEUTRAL[column.type], categories=None, minimum=None, maximum=None)
        if column.name in hidden
        else column
        for column in schema.columns
    )
    return replace(schema, columns=tuple(columns)) if hidden else schema


def components(model: str, facts: Facts) -> dict[str, Any]:
    """The schemas of one model: its row and its native reply."""
    return {f"{model}.row": row_schema(facts.schema), f"{model}.reply": _reply(facts)}


def asks(dialect: str, model: str, facts: Facts) -> dict[str, Any]:
    """The media types of a request, each with schema and example."""
    row = {"$ref": f"#/components/schemas/{model}.row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": 10_000}
    one = example(facts)
    values = list(one.values())
    if dialect == "native":
        wrapped = {"type": "object", "required": ["rows"], "properties": {"rows": rows}}
        return {
            **_json({"anyOf": [wrapped, row]}, {"rows": [example_row(facts.schema)]}),
            "application/vnd.apache.arrow.stream": _BINARY,
            "application/vnd.apache.parquet": _BINARY,
        }
    if dialect == "invocations":
        split = {"columns": {"type": "array", "items": {"type": "string"}}, "data": _list_of(values)}
        forms = {
            "dataframe_records": rows,
            "dataframe_split": {"type": "object", "required": ["data"], "properties": split},
            "instances": {"anyOf": [rows, _list_of(values)]},
            "inputs": {"anyOf": [_columns(facts), _list_of(values)]},
        }
        said = [{"type": "object", "required": [f], "properties": {f: s}} for f, s in forms.items()]
        return {
            **_json({"oneOf": said}, {"dataframe_split": {"columns": list(one), "data": [values]}}),
            "text/csv": _TEXT,
            "application/jsonlines": _TEXT,
            "application/vnd.apache.parquet": _BINARY,
            "application/vnd.apache.arrow.stream": _BINARY,
        }
    if dialect == "tensorflow":
        inputs = {"anyOf": [_columns(facts), _list_of(values)]} if len(values) == 1 else _columns(facts)
        forms = {"instances": {"anyOf": [rows, _list_of(values)]}, "inputs": inputs}
        said = [{"type": "object", "required": [f], "properties": {f: s}} for f, s in forms.items()]
        return _json({"oneOf": said}, {"instances": [one]})
    return _json({"type": "object", "required": ["inputs"], "properties": {"inputs": _TENSORS}}, _tensors(facts))


def answers(dialect: str, model: str, facts: Facts) -> dict[str, Any]:
    """The media type of a reply, with its schema.

    Those that `Accept` may ask for besides (`OTHERS`) are told in words: with several, generated clients do not know
    which one they get.
    """
    return {"application/json": {"schema": _answer(dialect, model, facts)}}


def _answer(dialect: str, model: str, facts: Facts) -> dict[str, Any]:
    if dialect == "native":
        return {"$ref": f"#/components/schemas/{model}.reply"}
    if dialect == "invocations":
        return {
            "type": "object",
            "required": ["predictions"],
            "properties": {"predictions": {"type": "array", "items": {}}},
        }
    if dialect == "tensorflow":
        return {"type": "object", "properties": {"predictions": {"type": "array"}, "outputs": {"type": "array"}}}
    named = {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"}}
    return {"type": "object", "required": [*named, "outputs"], "properties": {**named, "outputs": _TENSORS}}


_TENSORS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "parameters": {"type": "object", "additionalProperties": True},
            "data": {"type": "array", "items": {}},
        },
    },
}


def _tensors(facts: Facts) -> dict[str, Any]:
    row = example(facts)
    return {
        "inputs": [
            {"name": c.name, "shape": [1], "datatype": DATATYPES[c.type], "data": [row[c.name]]}
            for c in facts.schema.features
        ]
    }


def _list_of(row: list[Scalar]) -> dict[str, Any]:
    """Rows as lists of values; of a single column, as plain values too."""
    items: dict[str, Any] = {"type": "array"} if len(row) != 1 else {}
    return {"type": "array", "items": items, "minItems": 1}


def _columns(facts: Facts) -> dict[str, Any]:
    features = facts.schema.features
    return {
        "type": "object",
        "properties": {column.name: {} for column in features},
        "required": [column.name for column in features if not column.nullable],
    }


def _reply(facts: Facts) -> dict[str, Any]:
    answer = {"prediction": _prediction(facts)}
    if facts.class_names:
        shares = {name: {"type": "number"} for name in facts.class_names}
        answer["probabilities"] = {"type": "object", "required": list(shares), "properties": shares}
    prediction = {"type": "object", "required": ["prediction"], "properties": answer}
    return {
        "type": "object",
        "required": ["model", "version", "id", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "id": {"type": "string", "format": "uuid"},
            "predictions": {"type": "array", "items": prediction},
        },
    }


def _prediction(facts: Facts) -> dict[str, Any]:
    """The type of one answer: that of the classes, a list where there are several answers, else a number."""
    if facts.task == "multioutput" or isinstance(facts.sample, list):
        return {"type": "array", "items": {"type": ["boolean", "number", "string"]}}
    types = sorted({_CLASS_TYPES[type(value)] for value in facts.classes}) or ["number"]
    return {"type": types[0] if len(types) == 1 else types}


def _json(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": value}}
