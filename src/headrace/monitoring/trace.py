"""From one prediction back to everything behind it: input, version, run, snapshot, code, and who promoted it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.kernel.errors import NotFound
from headrace.kernel.records import Promotion, Run
from headrace.monitoring.predictions import Tables
from headrace.registry.promotion import Promotions
from headrace.registry.versions import Versions


def trace(
    prediction: str, predictions: Tables, versions: Versions, promotions: Promotions, run_of: Callable[[str], Run]
) -> dict[str, Any]:
    """What is known of one prediction; a request's id means its first row.

    Raises:
        NotFound: no such prediction was captured.
    """
    wanted = prediction if "." in prediction else f"{prediction}.0"
    rows, outcomes = predictions.find(wanted)
    if not rows.height:
        raise NotFound(
            f"There is no prediction {prediction!r}.",
            expected="the id of a reply, and a row: ID.ROW",
            todo="Take the id from a reply; captures reach the workspace within a second.",
        )
    answered = [_answer(row) for row in rows.iter_rows(named=True)]
    answer = next((a for a in answered if a["route"] != "shadow"), answered[0])
    version = versions.get(f"{answer['model']}@{answer['version']}")
    history = [p for p in promotions.history(version.name) if p.number == version.number]
    return {
        **answer,
        "shadow": [a for a in answered if a is not answer],
        "outcomes": [
            {"outcome": msgspec.json.decode(o["outcome"]), "time": o["time"]} for o in outcomes.iter_rows(named=True)
        ],
        "bundle": version.digest,
        "lineage": msgspec.to_builtins(version.lineage),
        "gate": msgspec.to_builtins(version.gate),
        "certified": version.certificate is not None and version.certificate.passed,
        "run": _run(version.lineage.run, run_of),
        "promotions": [_promotion(p) for p in history],
    }


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    kept = {
        name: row[name]
        for name in ("id", "model", "version", "route", "generation", "time", "moment", "latency", "score", "consumer")
    }
    return {
        **kept,
        "key": msgspec.json.decode(row["key"]),
        "input": msgspec.json.decode(row["features"]),
        "prediction": msgspec.json.decode(row["prediction"]),
        "error": row["error"],
    }


def _run(run: str, run_of: Callable[[str], Run]) -> dict[str, Any] | None:
    try:
        found = run_of(run)
    except NotFound:
        return None
    return {
        "id": found.id,
        "params": found.params,
        "reason": found.reason,
        "created_by": found.created_by,
        "created": found.created,
        "snapshot": found.snapshot,
        "code": found.code,
    }


def _promotion(promotion: Promotion) -> dict[str, Any]:
    return {name: getattr(promotion, name) for name in ("alias", "previous", "who", "why", "time", "evidence")}
