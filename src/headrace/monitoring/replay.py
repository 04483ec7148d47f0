"""A past prediction computed once more, from its version and the input that was captured."""

from __future__ import annotations

import struct
from typing import Any, Literal

from headrace.kernel.errors import HeadraceError
from headrace.kernel.ports import Answers
from headrace.kernel.records import Record, Version
from headrace.monitoring.predictions import score_of
from headrace.registry.versions import Versions
from headrace.serving.decoding import RowDecoder
from headrace.serving.protecting import is_hash


class Replay(Record, frozen=True, kw_only=True):
    """What the version says now: `verdict` is ``same`` to the bit, ``other``, or ``unknown`` where the input is not
    known whole, with the reason in `why`."""

    verdict: Literal["same", "other", "unknown"]
    version: str
    prediction: Any = None
    score: float | None = None
    error: str = ""
    why: str = ""


def replay(traced: dict[str, Any], versions: Versions) -> Replay:
    """Compute a traced prediction anew; its bundle is verified before.

    Raises:
        NotTrusted: the bundle is not the one that was registered.
    """
    version = versions.get(f"{traced['model']}@{traced['version']}")
    row: dict[str, Any] = traced["input"]
    hidden = [c.name for c in version.schema.features if c.name not in row or is_hash(row[c.name])]
    if hidden:
        why = f"the columns {', '.join(hidden)} are masked or hashed where the input was captured"
        return Replay(verdict="unknown", version=version.reference, why=why)
    return _held(traced, version, versions, row)


def _held(traced: dict[str, Any], version: Version, versions: Versions, row: dict[str, Any]) -> Replay:
    scorer = versions.open(version)
    try:
        answers: Answers = scorer.answer(RowDecoder(scorer.schema).convert([row]).columns, 1)
    except Exception as error:  # a model may raise anything; that it raises is its answer
        said = error.text if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        verdict: Literal["same", "other"] = "same" if traced["error"] else "other"
        return Replay(verdict=verdict, version=version.reference, error=said)
    prediction = answers.predictions[0]
    score = score_of(prediction, answers.probabilities[0] if answers.probabilities else None)
    same = (
        not traced["error"]
        and _bits(prediction) == _bits(traced["prediction"])
        and _bits(score) == _bits(traced["score"])
    )
    why = "" if same else f"{traced['prediction']!r} with {traced['score']!r} was answered"
    return Replay(
        verdict="same" if same else "other", version=version.reference, prediction=prediction, score=score, why=why
    )


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value
