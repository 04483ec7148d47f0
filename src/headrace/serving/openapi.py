"""The OpenAPI document of what answers now: every path of the server, with each model's real fields."""

from __future__ import annotations

from typing import Any

from headrace.kernel.release import VERSION
from headrace.serving.describing import OTHERS, answers, asks, components, described
from headrace.serving.endpoints import Facts, State
from headrace.serving.paths import Path

_ERROR = {
    "type": "object",
    "required": ["error", "kind", "todo"],
    "properties": {
        "error": {"type": "string"},
        "kind": {"type": "string"},
        "row": {"type": "integer"},
        "field": {"type": "string"},
        "expected": {"type": "string"},
        "todo": {"type": "string"},
    },
}
_REFUSALS = ("400", "401", "403", "404", "408", "413", "415", "422", "429", "503")
_NUMBER = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


def openapi(state: State, paths: list[Path]) -> dict[str, Any]:
    """OpenAPI 3.1 of every path; those with a model are written out for each model that answers."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    written: dict[str, Any] = {}
    known = described(state)
    for model, facts in known.items():
        schemas |= components(model, facts)
    for path in paths:
        for template, model in _places(path, known):
            facts = known.get(model) if model else next(iter(known.values()), None) if len(known) == 1 else None
            if path.dialect is not None and facts is None:
                continue
            name = model or next(iter(known), "")
            written.setdefault(template, {})[path.method.lower()] = _operation(path, template, name, facts)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace scoring",
            "version": VERSION,
            "description": f"Generation {state.generation} of the routes.",
        },
        "paths": written,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _places(path: Path, known: dict[str, Facts]) -> list[tuple[str, str | None]]:
    if "{model}" not in path.template:
        return [(path.template, None)]
    return [(path.template.replace("{model}", model), model) for model in known]


def _operation(path: Path, template: str, model: str, facts: Facts | None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{path.method.lower()}-{template.strip('/').replace('/', '-') or 'root'}",
        "summary": path.summary or f"{path.method} {template}",
        "responses": {},
    }
    if "{version}" in template:
        operation["parameters"] = [_NUMBER]
    if path.scope is not None:
        operation["security"] = [{}, {"key": []}]
    refused = {
        "description": "Refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if path.dialect is not None and facts is not None:
        name = path.dialect.name
        operation["tags"] = [name]
        operation["requestBody"] = {"required": True, "content": asks(name, model, facts)}
        operation["responses"] = {
            "200": {
                "description": "One answer for each row" + OTHERS.get(name, ""),
                "content": answers(name, model, facts),
            },
            **dict.fromkeys(_REFUSALS, refused),
        }
    else:
        good = {path.kind: {"schema": {"type": "object", "additionalProperties": True}}}
        if path.kind != "application/json":
            good = {path.kind: {"schema": {"type": "string"}}}
        operation["responses"] = {
            "200": {"description": "What was asked for", "content": good},
            "404": refused,
            "503": refused,
        }
    return operation
