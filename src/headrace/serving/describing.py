"""What each dialect asks and answers, as JSON Schema with a working example; for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from headrace.kernel.schema import Scalar, example_row, row_schema
from headrace.serving.dialects.tensors import DATATYPES
from headrace.serving.endpoints import Facts

_CLASS_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
_LISTS: dict[str, Any] = {"type": "array", "items": {"type": "array"}, "minItems": 1}


def example(facts: Facts) -> dict[str, Scalar]:
    """A row that was really seen; every feature is there."""
    row = example_row(facts.schema)
    return {column.name: row.get(column.name) for column in facts.schema.features}


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
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        }
    if dialect == "invocations":
        split = {"columns": {"type": "array", "items": {"type": "string"}}, "data": _LISTS}
        forms = {
            "dataframe_records": rows,
            "dataframe_split": {"type": "object", "required": list(split), "properties": split},
            "instances": {"anyOf": [rows, _LISTS]},
            "inputs": {"anyOf": [_columns(facts), _LISTS]},
        }
        said = [{"type": "object", "required": [f], "properties": {f: s}} for f, s in forms.items()]
        return {
            **_json({"oneOf": said}, {"dataframe_split": {"columns": list(one), "data": [values]}}),
            "text/csv": {"schema": {"type": "string"}},
            "application/jsonlines": {"schema": {"type": "string"}},
        }
    if dialect == "tensorflow":
        forms = {"instances": {"anyOf": [rows, _LISTS]}, "inputs": _columns(facts)}
        said = [{"type": "object", "required": [f], "properties": {f: s}} for f, s in forms.items()]
        return _json({"oneOf": said}, {"instances": [one]})
    return _json({"type": "object", "required": ["inputs"], "properties": {"inputs": _TENSORS}}, _tensors(facts))


def answers(dialect: str, model: str, facts: Facts) -> dict[str, Any]:
    """The schema of a reply."""
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


def _columns(facts: Facts) -> dict[str, Any]:
    features = facts.schema.features
    return {
        "type": "object",
        "properties": {column.name: {"type": "array", "items": {}} for column in features},
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
    if facts.task == "multioutput":
        return {"type": "array", "items": {"type": ["boolean", "number", "string"]}}
    types = sorted({_CLASS_TYPES[type(value)] for value in facts.classes}) or ["number"]
    return {"type": types[0] if len(types) == 1 else types}


def _json(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": value}}
