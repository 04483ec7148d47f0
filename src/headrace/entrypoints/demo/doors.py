"""One row through every door of a scoring server, as the clients of other systems would send it."""

from __future__ import annotations

import http.client
import io
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import polars as pl

from headrace.kernel.errors import FellShort
from headrace.kernel.schema import Scalar, Schema
from headrace.serving.dialects.tensors import DATATYPES

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


class Door(NamedTuple):
    """A way in: who uses it, its path, the body, its content type, and where the answer stands in the reply."""

    client: str
    path: str
    body: bytes
    kind: str
    answer: Callable[[bytes], Any]


class Passed(NamedTuple):
    """What came back through a door, and the best time of several, in seconds."""

    client: str
    answer: Any
    seconds: float


def doors(model: str, schema: Schema, row: dict[str, Scalar]) -> list[Door]:
    """Every door, with one row before it. The row needs a value for every feature but may lack keys and time."""
    features = [column.name for column in schema.features]
    line = {name: row.get(name) for name in features}
    tensors = [
        {"name": c.name, "shape": [1], "datatype": DATATYPES[c.type], "data": [row.get(c.name)]}
        for c in schema.features
    ]
    table = io.BytesIO()
    pl.DataFrame([line]).write_ipc_stream(table)

    def first(*path: Any) -> Callable[[bytes], Any]:
        def found(content: bytes) -> Any:
            value = json.loads(content)
            for step in path:
                value = value[step]
            return value

        return found

    def encoded(document: Any) -> bytes:
        return json.dumps(document).encode()

    native, invoke = f"/models/{model}/predict", f"/models/{model}/invocations"
    records = encoded({"dataframe_records": [line]})
    return [
        Door("native", native, encoded(line), JSON, first("predictions", 0, "prediction")),
        Door("MLflow", invoke, records, JSON, first("predictions", 0)),
        Door("Vertex AI", invoke, encoded({"instances": [line]}), JSON, first("predictions", 0)),
        Door("SageMaker, JSON Lines", invoke, encoded(line), "application/jsonlines", first("predictions", 0)),
        Door(
            "KServe, Triton",
            f"/v2/models/{model}/infer",
            encoded({"inputs": tensors}),
            JSON,
            first("outputs", 0, "data", 0),
        ),
        Door(
            "TensorFlow Serving",
            f"/v1/models/{model}:predict",
            encoded({"instances": [line]}),
            JSON,
            first("predictions", 0),
        ),
        Door("Arrow", native, table.getvalue(), ARROW, lambda content: pl.read_ipc_stream(content)["prediction"][0]),
    ]


def pass_through(url: str, door: Door, times: int = 5) -> Passed:
    """Go through a door several times, over one connection.

    Raises:
        FellShort: the door does not answer.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    best, content = float("inf"), b""
    for _ in range(times):
        started = time.perf_counter()
        connection.request("POST", door.path, door.body, {"content-type": door.kind})
        response = connection.getresponse()
        content = response.read()
        best = min(best, time.perf_counter() - started)
        if response.status != 200:
            raise FellShort(
                f"{door.client}: {response.status} {content[:300].decode(errors='replace')}.",
                todo="See logs/serve.log.",
            )
    connection.close()
    return Passed(door.client, door.answer(content), best)
