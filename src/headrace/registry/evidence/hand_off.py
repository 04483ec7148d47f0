"""The hand-off sheet: what somebody needs who is to run, call or answer for a version that others made."""

from __future__ import annotations

import msgspec

from headrace.kernel.records import Version
from headrace.kernel.schema import Column, describe_type, example_row


def hand_off(
    version: Version, purpose: str, owners: dict[str, str], size: int, latency: float, earlier: int | None
) -> str:
    """The sheet as Markdown.

    Args:
        owners: who answers for what.
        size: bytes of the bundle.
        latency: seconds for one row, measured here.
        earlier: the version to which a rollback would lead.
    """
    row = msgspec.json.encode(example_row(version.schema)).decode()
    parts = [
        f"# {version.reference}",
        "## What it is for",
        purpose or "Not written down yet: `purpose` in `[model.NAME]` of headrace.toml.",
        "## Whom to ask",
        _list([f"{what}: {who}" for what, who in owners.items() if who])
        or "Nobody is named yet: `owners = { accuracy = ..., speed = ... }` in `[model.NAME]` of headrace.toml.",
        "## What it takes",
        _list([_column(column) for column in version.schema.asked]),
        "## What it gives",
        _answer(version),
        "## How to call it",
        f"```\ncurl -d '{row}' http://HOST:8000/models/{version.name}/predict\n```",
        "MLflow's, KServe's, TensorFlow Serving's, SageMaker's and Vertex AI's clients work unchanged.",
        "## What it costs",
        _list([f"one row: {latency * 1e6:,.0f} µs, without the network", f"bundle: {size / (1 << 20):.1f} MB"]),
        "## How to take it back",
        f"`headrace rollback {version.name}` makes {version.name}@{earlier} live again, within a second."
        if earlier is not None
        else "There is no earlier live version; promote another one.",
    ]
    return "\n\n".join(parts) + "\n"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _column(column: Column) -> str:
    name, kind = column.name, describe_type(column)
    note = f", in {column.unit}" if column.unit else ""
    example = f", such as {column.example!r}" if column.example is not None else ""
    role = "" if column.role == "feature" else f" ({column.role}, recorded, not given to the model)"
    return f"`{name}`: {kind}{note}{example}{role}"


def _answer(version: Version) -> str:
    metrics = ", ".join(f"{n} {m.value:.4f} ({m.low:.4f} to {m.high:.4f})" for n, m in version.metrics.items())
    worth = f" On rows that it had not seen: {metrics}." if metrics else ""
    if version.task in ("binary", "multiclass"):
        return f"A label, and the probability of each class where the model gives one.{worth}"
    return f"A number for each row.{worth}" if version.task == "regression" else f"Several answers a row.{worth}"
