"""TensorFlow Serving's REST: rows as ``instances`` → ``predictions``, columns as ``inputs`` → ``outputs``.

Source: tensorflow/serving, ``g3doc/api_rest.md``.
"""

from __future__ import annotations

from typing import Any

from headrace.kernel.errors import InvalidInput
from headrace.serving.bodies import Body
from headrace.serving.dialects.dialect import Answered, Asked, column_objects, row_objects
from headrace.serving.dialects.loose_json import loose_json
from headrace.serving.endpoints import Held, Loaded
from headrace.serving.replies import Reply, document, encode_json

_TYPES = {
    "boolean": "DT_BOOL",
    "integer": "DT_INT64",
    "number": "DT_DOUBLE",
    "string": "DT_STRING",
    "datetime": "DT_STRING",
}


class TensorFlow:
    """The form of ``:predict``."""

    name = "tensorflow"

    def decode(self, body: Body, loaded: Loaded) -> Asked:
        """The rows; the note is the name of the reply's field."""
        asked = loose_json(body.content, loaded.decoder.most_rows)
        given = [form for form in ("instances", "inputs") if isinstance(asked, dict) and form in asked]
        if len(given) != 1:
            raise InvalidInput(
                "The body does not say what to predict.",
                expected='{"instances": [rows]} or {"inputs": {name: [values]}}',
                todo="Send one of these.",
            )
        value = asked[given[0]]
        if given[0] == "instances":
            return Asked(row_objects(loaded, value), "predictions")
        rows = column_objects(loaded, value) if isinstance(value, dict) else row_objects(loaded, value)
        return Asked(rows, "outputs")

    def encode(self, answered: Answered) -> Reply:
        """One value or list for each row."""
        return Reply(200, encode_json({answered.note: answered.plain()}))

    def failed(self, document: dict[str, Any]) -> dict[str, Any]:
        """Clients look for ``error``, which is where it is."""
        return document


def status(held: Held) -> Reply:
    """``GET /v1/models/m``: the state of the version that answers."""
    fine = {"error_code": "OK", "error_message": ""}
    return document({"model_version_status": [{"version": str(held.version), "state": "AVAILABLE", "status": fine}]})


def metadata(loaded: Loaded) -> Reply:
    """``GET /v1/models/m/metadata``: names, types and shapes of the inputs and the output."""
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    inputs = {c.name: {"dtype": _TYPES[c.type], "tensor_shape": shape, "name": c.name} for c in loaded.schema.features}
    signature = {
        "inputs": inputs,
        "outputs": {"prediction": {"dtype": "DT_INVALID", "tensor_shape": shape, "name": "prediction"}},
        "method_name": "tensorflow/serving/predict",
    }
    spec = {"name": loaded.model, "signature_name": "", "version": str(loaded.version)}
    return document(
        {"model_spec": spec, "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}
    )
