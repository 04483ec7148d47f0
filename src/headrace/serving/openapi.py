"""The OpenAPI document of what answers now, with each model's real fields."""

from __future__ import annotations

from typing import Any

from headrace.kernel.schema import example_row, row_schema
from headrace.serving.endpoints import Loaded, State

_ERROR = {
    "type": "object",
    "required": ["error", "kind"],
    "properties": {
        "error": {"type": "string"},
        "kind": {"type": "string"},
        "row": {"type": "integer"},
        "field": {"type": "string"},
        "expected": {"type": "string"},
        "todo": {"type": "string"},
    },
}


def openapi(state: State) -> dict[str, Any]:
    """OpenAPI 3.1 of every endpoint."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": _ERROR}
    for model, active in state.active.items():
        schemas[f"{model}.row"] = row_schema(active.live.scorer.schema)
        schemas[f"{model}.reply"] = _reply(active.live)
        paths[f"/models/{model}/predict"] = {"post": _operation(model, active.live)}
        paths[f"/models/{model}/schema"] = {
            "get": {
                "operationId": f"{model}-schema",
                "summary": f"The JSON Schema of a row of {model}",
                "responses": {"200": _json("The schema", {"type": "object"})},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headrace scoring", "version": str(state.generation)},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(model: str, live: Loaded) -> dict[str, Any]:
    row = {"$ref": f"#/components/schemas/{model}.row"}
    rows = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "items": row, "minItems": 1, "maxItems": 10_000}},
    }
    example = {"rows": [example_row(live.scorer.schema)]}
    refused = _json("The rows or the request are not as they must be", {"$ref": "#/components/schemas/Error"})
    return {
        "operationId": f"{model}-predict",
        "summary": f"Answers of {model}, now version {live.version}",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [rows, row]}, "example": example}},
        },
        "responses": {
            "200": _json("One prediction for each row", {"$ref": f"#/components/schemas/{model}.reply"}),
            **dict.fromkeys(("400", "404", "413", "422", "503"), refused),
        },
    }


def _reply(live: Loaded) -> dict[str, Any]:
    probabilities = {
        "type": "object",
        "properties": {name: {"type": "number"} for name in live.class_names},
    }
    prediction: dict[str, Any] = {"type": "object", "required": ["prediction"], "properties": {"prediction": {}}}
    if live.class_names:
        prediction["properties"]["probabilities"] = probabilities
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


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
