"""``/invocations``, as MLflow's scoring server and SageMaker's containers speak it, and Vertex AI's ``instances``.

Sources: mlflow's ``pyfunc/scoring_server`` (JSON in four forms, CSV, Parquet), AWS' contract of inference containers
(CSV, JSON Lines; the reply as ``Accept`` asks), Google's of prediction containers.
"""

from __future__ import annotations

from typing import Any

from headrace.kernel.errors import InvalidInput, UnknownFormat
from headrace.serving.bodies import Body
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import Answered, Asked, Codecs, column_objects, refuse_twice, row_objects
from headrace.serving.dialects.lines import csv_text, json_lines, read_csv, read_lines
from headrace.serving.dialects.loose_json import loose_json
from headrace.serving.endpoints import Loaded
from headrace.serving.replies import JSON, Reply, encode_json

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CSV = b"text/csv"
_LINES = (b"application/jsonlines", b"application/x-jsonlines", b"application/jsonl", b"application/x-ndjson")
_JSON = (b"", JSON, b"application/x-www-form-urlencoded", b"text/json")


class Invocations:
    """MLflow's, SageMaker's and Vertex AI's form of a request."""

    name = "invocations"

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs

    def decode(self, body: Body, loaded: Loaded) -> Asked:
        """The rows; the note is the content type of the reply."""
        kind = body.kind
        if kind in self._codecs:
            rows = self._codecs[kind].decode(body.content, loaded)
        elif kind == _CSV:
            rows = read_csv(body.content, loaded)
        elif kind in _LINES:
            rows = read_lines(body.content, loaded)
        elif kind in _JSON:
            rows = _from_json(loose_json(body.content, loaded.decoder.most_rows), loaded)
        else:
            known = ", ".join(k.decode() for k in (JSON, _CSV, _LINES[0], *self._codecs))
            raise UnknownFormat(
                f"The content type is {kind.decode('latin-1')!r}.",
                expected=f"one of {known}",
                todo="Send one of these.",
            )
        return Asked(rows, body.accepted)

    def encode(self, answered: Answered) -> Reply:
        """``{"predictions": […]}``, or lines of CSV or JSON where the caller accepts those."""
        if answered.note == _CSV:
            return Reply(200, csv_text(answered.plain()), kind=_CSV + b"; charset=utf-8")
        if answered.note in _LINES:
            return Reply(200, json_lines(answered.plain()), kind=_LINES[0])
        if answered.note in self._codecs:
            codec = self._codecs[answered.note]
            return Reply(200, codec.encode(answered), kind=codec.kind)
        return Reply(200, encode_json({"predictions": answered.plain()}))

    def failed(self, document: dict[str, Any]) -> dict[str, Any]:
        """MLflow's clients look for ``error_code`` and ``message``."""
        code = "INTERNAL_ERROR" if document["kind"] == "fault" else "BAD_REQUEST"
        return {"error_code": code, "message": f"{document['error']} {document.get('todo', '')}".strip(), **document}


def _from_json(document: Any, loaded: Loaded) -> Rows:
    given = [form for form in FORMS if isinstance(document, dict) and form in document]
    if len(given) != 1:
        found = f"the fields {', '.join(list(document)[:20])}" if isinstance(document, dict) else "no object"
        raise InvalidInput(
            f"The body holds {found}.", expected=f"an object with exactly one of {', '.join(FORMS)}", todo="Send one."
        )
    value = document[given[0]]
    if given[0] == "dataframe_split":
        return _split(value, loaded)
    if given[0] == "dataframe_records" or not isinstance(value, dict):
        return row_objects(loaded, value)
    return column_objects(loaded, value)


def _split(value: Any, loaded: Loaded) -> Rows:
    columns, data = (value.get("columns"), value.get("data")) if isinstance(value, dict) else (None, None)
    if columns is None and isinstance(data, list):
        return row_objects(loaded, data)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise InvalidInput(
            "dataframe_split is not as it must be.",
            expected='{"columns": [names], "data": [[values], …]}',
            todo="Send it so.",
        )
    names = [str(name) for name in columns]
    refuse_twice(names)
    for place, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidInput(
                f"Row {place} of dataframe_split is not a list of {len(names)} values.",
                row=place,
                expected="one value for each of the columns",
                todo="Correct the row.",
            )
    return loaded.decoder.convert([dict(zip(names, row, strict=True)) for row in data])
