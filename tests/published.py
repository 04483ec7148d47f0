"""Holds generated files against what their readers have published. It runs in the environment of other people's clients:
``python tests/published.py KIND FILE`` prints what is wrong, as JSON; nothing where nothing is.

Kinds are those of `CHECKS`. What a schema does not say (that a selector meets its labels) is not found here.
"""

from __future__ import annotations

import ast
import importlib.resources
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "1.33"


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def kubernetes(path: Path) -> Iterator[str]:
    """Objects of Kubernetes itself, strictly (kubernetes-validate)."""
    import kubernetes_validate

    for document in yaml.safe_load_all(path.read_text()):
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{document['kind']}: {error.message} at {list(error.path)}"


def custom(path: Path) -> Iterator[str]:
    """An object of a custom resource, by the definition in the file named after it: ``OBJECT:DEFINITION``."""
    import jsonschema

    place, _, definition = str(path).partition(":")
    document, known = (yaml.safe_load(Path(one).read_text()) for one in (place, definition))
    version = next(v for v in known["spec"]["versions"] if v["name"] == document["apiVersion"].partition("/")[2])
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        yield f"{error.message} at {list(error.path)}"


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: {key: _strict(one) for key, one in part.items()} if name == "properties" else _strict(part)
        for name, part in schema.items()
    }
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def kserve(path: Path) -> Iterator[str]:
    """An InferenceService, by the models of KServe's own client; what it leaves to Kubernetes, by that."""
    import kubernetes_validate

    known, left = _kserve_models(), []

    def walk(kind: str, value: Any, place: str) -> Iterator[str]:
        listed = re.fullmatch(r"list\[(.*)\]", kind)
        if listed:
            for i, one in enumerate(value):
                yield from walk(listed[1], one, f"{place}[{i}]")
        elif kind in known:
            yield from (f"{place}.{name}: unknown" for name in value.keys() - known[kind].keys())
            for name in value.keys() & known[kind].keys():
                yield from walk(known[kind][name], value[name], f"{place}.{name}")
        elif kind in ("str", "int", "bool", "float") and type(value).__name__ != kind:
            yield f"{place}: {value!r} is no {kind}"
        elif kind == "V1Container":
            left.append(value)

    yield from walk("V1beta1InferenceService", yaml.safe_load(path.read_text()), "$")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": left}}
    try:
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"container: {error.message} at {list(error.path)}"


def _kserve_models() -> dict[str, dict[str, str]]:
    """The kind of each field of each model, as their sources say."""
    known = {}
    for file in (_folder("kserve") / "models").glob("*.py"):
        for node in (one for one in ast.parse(file.read_text()).body if isinstance(one, ast.ClassDef)):
            tables = [part for part in node.body if isinstance(part, ast.Assign)]
            said: dict[str, Any] = {}
            for part in tables:
                name = part.targets[0]
                if isinstance(name, ast.Name) and name.id in ("openapi_types", "attribute_map"):
                    said[name.id] = ast.literal_eval(part.value)
            if said:
                known[node.name] = {said["attribute_map"][name]: kind for name, kind in said["openapi_types"].items()}
    return known


def sagemaker(path: Path) -> Iterator[str]:
    """A request to SageMaker, by the service's model: shapes, enumerations and patterns. ``FILE:OPERATION``."""
    import botocore.loaders
    import botocore.model
    import botocore.validate

    place, _, operation = str(path).partition(":")
    service = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("sagemaker", "service-2"))
    shape, document = service.operation_model(operation).input_shape, json.loads(Path(place).read_text())
    report = botocore.validate.ParamValidator().validate(document, shape).generate_report()
    if report:
        yield report

    def walk(shape: Any, value: Any, place: str) -> Iterator[str]:
        if shape.type_name == "structure":
            for name, one in value.items():
                yield from walk(shape.members[name], one, f"{place}.{name}")
        elif shape.type_name == "list":
            for i, one in enumerate(value):
                yield from walk(shape.member, one, f"{place}[{i}]")
        elif shape.type_name == "string":
            pattern = shape.metadata.get("pattern")
            if shape.enum and value not in shape.enum:
                yield f"{place}: {value!r} is none of the known"
            if pattern and not re.fullmatch(pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s"), value):
                yield f"{place}: {value!r} does not match {pattern}"

    yield from walk(shape, document, operation)


def vertex(path: Path) -> Iterator[str]:
    """A request to Vertex AI, by Google's discovery document. ``FILE:SCHEMA``."""
    place, _, schema = str(path).partition(":")
    discovery = _folder("googleapiclient") / "discovery_cache/documents/aiplatform.v1.json"
    known = json.loads(discovery.read_text())["schemas"]

    def walk(shape: dict[str, Any], value: Any, place: str) -> Iterator[str]:
        shape = known[shape["$ref"]] if "$ref" in shape else shape
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
        if not isinstance(value, kinds[shape["type"]]) and shape.get("format") not in ("int64", "uint64"):
            yield f"{place}: {value!r} is no {shape['type']}"
        elif shape["type"] == "object":
            for name, one in value.items():
                part = shape.get("properties", {}).get(name) or shape.get("additionalProperties")
                if part is None:
                    yield f"{place}.{name}: unknown"
                elif part.get("readOnly"):
                    yield f"{place}.{name}: set by the service alone"
                else:
                    yield from walk(part, one, f"{place}.{name}")
        elif shape["type"] == "array":
            for i, one in enumerate(value):
                yield from walk(shape["items"], one, f"{place}[{i}]")
        elif "enum" in shape and value not in shape["enum"]:
            yield f"{place}: {value!r} is none of the known"

    yield from walk({"$ref": schema}, json.loads(Path(place).read_text()), schema)


def azureml(path: Path) -> Iterator[str]:
    """An endpoint or a deployment of Azure ML, as its own client loads it."""
    from azure.ai.ml import load_online_deployment, load_online_endpoint

    load = load_online_deployment if "endpoint_name" in path.read_text() else load_online_endpoint
    try:
        load(path)
    except Exception as error:
        yield f"{type(error).__name__}: {error}"


def grafana(path: Path) -> Iterator[str]:
    """A dashboard: what Grafana's own types drop when they read and write it is unknown to them."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    document = json.loads(path.read_text())

    def lost(before: Any, after: Any, place: str) -> Iterator[str]:
        if isinstance(before, dict) and isinstance(after, dict):
            for name, one in before.items():
                if name not in after:
                    yield f"{place}.{name}: unknown"
                else:
                    yield from lost(one, after[name], f"{place}.{name}")
        elif isinstance(before, list) and isinstance(after, list):
            for i, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from lost(one, other, f"{place}[{i}]")
        elif before != after:
            yield f"{place}: {before!r} was read as {after!r}"

    yield from lost(document, json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder)), "$")


def published(path: Path) -> Iterator[str]:
    """A file of one of the systems whose schemas check-jsonschema has: ``FILE:NAME``."""
    import jsonschema
    import ruamel.yaml

    place, _, name = str(path).partition(":")
    vendored = importlib.resources.files("check_jsonschema.builtin_schemas.vendor") / f"{name}.json"
    schema = json.loads(vendored.read_text())
    document = ruamel.yaml.YAML(typ="safe", pure=True).load(Path(place).read_text())  # YAML 1.2: `on` is a text
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft7Validator)
    for error in validator(schema).iter_errors(document):
        yield f"{error.message} at {list(error.path)}"


CHECKS = {
    check.__name__: check for check in (kubernetes, custom, kserve, sagemaker, vertex, azureml, grafana, published)
}

if __name__ == "__main__":
    print(json.dumps([said for one in sys.argv[2:] for said in CHECKS[sys.argv[1]](Path(one))]))
