"""The native dialect: ``{"rows": [{…}, …]}`` or one bare row; Arrow and Parquet for whole tables."""

from __future__ import annotations

from typing import Any

from headrace.serving.bodies import Body
from headrace.serving.dialects.dialect import Answered, Asked, Codecs
from headrace.serving.endpoints import Loaded
from headrace.serving.replies import JSON, Reply, encode_json


class Native:
    """See DESIGN's native request and reply."""

    name = "native"

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs

    def decode(self, body: Body, loaded: Loaded) -> Asked:
        """The rows; the note is the codec of the reply, or None for JSON."""
        codec = self._codecs.get(body.kind) if self._codecs else None
        said = body.headers.get(b"accept")
        if codec is None and said is None:
            return Asked(loaded.decoder.decode(body.content))
        wanted = self._codecs.get(body.accepted) or (None if body.accepted == JSON else codec)
        rows = codec.decode(body.content, loaded) if codec else loaded.decoder.decode(body.content)
        return Asked(rows, wanted)

    def encode(self, answered: Answered) -> Reply:
        """The answers, with the version and the request's id."""
        if answered.note is not None:
            chosen = answered.loaded
            told = (
                (b"headrace-model", chosen.model.encode()),
                (b"headrace-version", str(chosen.version).encode()),
                (b"headrace-id", answered.id.encode()),
            )
            return Reply(200, answered.note.encode(answered), told, answered.note.kind)
        return Reply(200, encode_json(_document(answered)))

    def failed(self, document: dict[str, Any]) -> dict[str, Any]:
        """Errors as they are."""
        return document


def _document(answered: Answered) -> dict[str, Any]:
    chosen, answers = answered.loaded, answered.lists()
    if answers.probabilities is None:
        predictions: list[dict[str, Any]] = [{"prediction": value} for value in answers.predictions]
    else:
        names = chosen.class_names
        predictions = [
            {"prediction": value, "probabilities": dict(zip(names, row))}  # noqa: B905 - a row is as long as the classes
            for value, row in zip(answers.predictions, answers.probabilities)  # noqa: B905
        ]
    return {"model": chosen.model, "version": chosen.version, "id": answered.id, "predictions": predictions}
