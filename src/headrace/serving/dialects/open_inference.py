"""The Open Inference Protocol, version 2, by REST, with the extension for binary tensors (KServe, Triton, MLServer)."""

from __future__ import annotations

from typing import Any, NamedTuple

from headrace.kernel.errors import InvalidInput
from headrace.kernel.release import VERSION
from headrace.serving.bodies import Body
from headrace.serving.dialects.dialect import Answered, Asked
from headrace.serving.dialects.loose_json import loose_json
from headrace.serving.dialects.tensors import (
    DATATYPES,
    Tensor,
    answers_as_tensors,
    from_bytes,
    output_types,
    rows_of,
    tensor,
    to_bytes,
)
from headrace.serving.endpoints import Loaded
from headrace.serving.replies import Reply, document, encode_json

LENGTH = b"inference-header-content-length"


class _Wanted(NamedTuple):
    id: str | None
    outputs: tuple[str, ...]
    binary: frozenset[str]


class OpenInference:
    """``POST /v2/models/m/infer``."""

    name = "open-inference"

    def decode(self, body: Body, loaded: Loaded) -> Asked:
        """The rows; the note is what the reply must hold, and in which form."""
        head, tail = _parted(body)
        asked = loose_json(head)
        inputs = asked.get("inputs") if isinstance(asked, dict) else None
        if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
            raise InvalidInput(
                "The body has no inputs.",
                expected='{"inputs": [{"name", "shape", "datatype", "data"}, …]}',
                todo="Send one tensor for each column.",
            )
        tensors = []
        for one in inputs:
            found, tail = _tensor(one, tail)
            tensors.append(found)
        if tail:
            raise InvalidInput(f"{len(tail)} bytes follow the last tensor.", todo="Correct the sizes.")
        return Asked(rows_of(tensors, loaded), _wanted(asked, loaded))

    def encode(self, answered: Answered) -> Reply:
        """The tensors that were asked for, in JSON or in binary."""
        wanted: _Wanted = answered.note
        outputs, binary = [], []
        for one in answers_as_tensors(answered):
            if wanted.outputs and one.name not in wanted.outputs:
                continue
            told: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
            if one.name == "probability":
                told["parameters"] = {"classes": ",".join(answered.loaded.class_names)}
            if one.name in wanted.binary:
                binary.append(to_bytes(one))
                told["parameters"] = {**told.get("parameters", {}), "binary_data_size": len(binary[-1])}
            else:
                told["data"] = one.values
            outputs.append(told)
        chosen = answered.loaded
        reply = {
            "model_name": chosen.model,
            "model_version": str(chosen.version),
            "id": wanted.id or answered.id,
            "outputs": outputs,
        }
        head = encode_json(reply)
        if not binary:
            return Reply(200, head)
        headers = ((LENGTH, str(len(head)).encode()), (b"headrace-id", answered.id.encode()))
        return Reply(200, head + b"".join(binary), headers, b"application/octet-stream")

    def failed(self, document: dict[str, Any]) -> dict[str, Any]:
        """Clients look for ``error``, which is where it is."""
        return document


def server_metadata() -> Reply:
    """``GET /v2``."""
    return document({"name": "headrace", "version": VERSION, "extensions": ["binary_tensor_data"]})


def model_metadata(loaded: Loaded, versions: list[int]) -> Reply:
    """``GET /v2/models/m``."""
    return document(
        {
            "name": loaded.model,
            "versions": [str(number) for number in versions],
            "platform": f"headrace_{loaded.scorer.runtime}",
            "inputs": [{"name": n, "datatype": t, "shape": s} for n, t, s in input_types(loaded)],
            "outputs": [{"name": n, "datatype": t, "shape": s} for n, t, s in output_types(loaded)],
        }
    )


def input_types(loaded: Loaded) -> list[tuple[str, str, list[int]]]:
    """Name, datatype and shape of what the model asks for."""
    return [(column.name, DATATYPES[column.type], [-1]) for column in loaded.schema.features]


def _parted(body: Body) -> tuple[bytes, bytes]:
    """The JSON and the binary part of a body."""
    said = body.headers.get(LENGTH)
    if said is None:
        return body.content, b""
    if not said.isdigit() or len(said) > 20 or int(said) > len(body.content):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {said[:50].decode('latin-1')!r}; "
            f"the body has {len(body.content)} bytes.",
            expected="the length of its JSON part",
            todo="Correct it.",
        )
    return body.content[: int(said)], body.content[int(said) :]


def _tensor(told: dict[str, Any], tail: bytes) -> tuple[Tensor, bytes]:
    name, datatype, shape = told.get("name"), told.get("datatype"), told.get("shape")
    parameters = told.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        data = told.get("data")
        return tensor(name, datatype, shape, _flat(data) if isinstance(data, list) else [data]), tail
    if type(size) is not int or not 0 <= size <= len(tail) or "data" in told:
        raise InvalidInput(
            f"The input {name!r} has binary_data_size {size!r}, and {len(tail)} bytes are left.",
            expected="the number of its bytes, and no data beside them",
            todo="Correct it.",
        )
    values = from_bytes(str(name), str(datatype), tail[:size])
    return tensor(name, datatype, shape, values), tail[size:]


def _flat(values: list[Any]) -> list[Any]:
    while values and all(isinstance(value, list) for value in values):
        values = [inner for value in values for inner in value]
    return values


def refuse_outputs(names: list[Any], loaded: Loaded) -> set[str]:
    """The names of what the model answers with.

    Raises:
        InvalidInput: another one is asked for.
    """
    known = {name for name, _, _ in output_types(loaded)}
    if any(not isinstance(name, str) or name not in known for name in names):
        raise InvalidInput(
            f"The outputs asked for are {names[:20]}.",
            expected=f"some of {', '.join(sorted(known))}",
            todo="Correct them.",
        )
    return known


def _wanted(asked: dict[str, Any], loaded: Loaded) -> _Wanted:
    given = asked.get("id")
    outputs = asked.get("outputs") or []
    names = (
        [one.get("name") if isinstance(one, dict) else None for one in outputs] if isinstance(outputs, list) else [None]
    )
    known = refuse_outputs(names, loaded)
    every = _flag(asked, "binary_data_output")
    binary = {one["name"] for one in outputs if _flag(one, "binary_data", every)} if outputs else known if every else ()
    return _Wanted(str(given) if isinstance(given, str | int) else None, tuple(names), frozenset(binary))


def _flag(told: dict[str, Any], name: str, otherwise: bool = False) -> bool:
    parameters = told.get("parameters")
    return bool(parameters.get(name, otherwise)) if isinstance(parameters, dict) else otherwise
