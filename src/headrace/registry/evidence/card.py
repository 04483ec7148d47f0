"""The model card of a version, as Hugging Face writes them (huggingface/hub-docs, `modelcard.md`): YAML, then text."""

from __future__ import annotations

from typing import Any

import yaml

from headrace.kernel.records import Metric, Version
from headrace.runtimes.bundle import Manifest

PIPELINES = {
    "binary": "tabular-classification",
    "multiclass": "tabular-classification",
    "regression": "tabular-regression",
}


def model_card(version: Version, manifest: Manifest, purpose: str = "", owners: str = "") -> str:
    """The card as Markdown.

    Args:
        purpose: what the model is for, as the project says.
        owners: whom to ask.
    """
    head = yaml.safe_dump(_front(version), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{_text(version, manifest, purpose, owners)}"


def _front(version: Version) -> dict[str, Any]:
    pipeline = PIPELINES.get(version.task, "tabular-regression")
    dataset = {"name": version.lineage.dataset or "not recorded", "type": version.lineage.dataset or "unknown"}
    if version.lineage.snapshot:
        dataset["revision"] = version.lineage.snapshot
    metrics = [{"type": n, "name": n, "value": float(f"{m.value:.6g}")} for n, m in version.metrics.items()]
    result = {"task": {"type": pipeline}, "dataset": dataset, "metrics": metrics}
    return {
        "library_name": "headrace",
        "pipeline_tag": pipeline,
        "tags": ["tabular", version.task, version.runtime],
        "model-index": [{"name": version.name, "results": [result] if metrics else []}],
    }


def _text(version: Version, manifest: Manifest, purpose: str, owners: str) -> str:
    lineage = version.lineage
    rows = [
        ("version", f"{version.reference}, {version.digest}"),
        ("made", f"{version.created:%Y-%m-%d %H:%M:%S} UTC by {version.created_by}"),
        ("run", lineage.run),
        ("data", f"{lineage.dataset} {lineage.snapshot}" if lineage.snapshot else "not recorded"),
        ("code", f"{lineage.code} {lineage.commit}".strip() or "not recorded"),
        ("parameters", ", ".join(f"{k} {v}" for k, v in manifest.params.items()) or "none recorded"),
        ("served as", "compiled graph" if version.runtime == "graph" else f"Python object: {version.uncompiled}"),
        ("owners", owners or "not named"),
    ]
    parts = [
        f"# {version.reference}",
        purpose or "What it is for is not written down: `purpose` in `[model.NAME]` of headrace.toml.",
        "## Where it comes from",
        _table(("what", ""), rows),
        "## What it is worth",
        _metrics("", version.metrics),
        _beside(version),
        *(f"### Where {part.column} is {part.value}\n\n{_metrics('', part.metrics)}" for part in version.slices),
        "## What it takes",
        _table(("column", "type", "null", "seen"), [_column(c) for c in version.schema.features]),
        _gains(version),
        "## Checks",
        _checks(version),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metrics(title: str, metrics: dict[str, Metric]) -> str:
    if not metrics:
        return "No held-out rows were given, so nothing was measured."
    rows = [(n, f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}", m.rows) for n, m in metrics.items()]
    return title + _table(("metric", "value", "95 % interval", "rows"), rows)


def _beside(version: Version) -> str:
    if not version.baselines:
        return f"Simpler models were not trained beside it: {version.unweighed}" if version.unweighed else ""
    rows = [(name, f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}") for name, m in version.baselines.items()]
    first = {"regression": "rmse"}.get(version.task, "")
    metric = first if first in version.metrics else next(iter(version.metrics), "")
    ours = [("this version", f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}") for m in [version.metrics[metric]]]
    return "### Beside simpler models\n\n" + _table(("model", metric, "95 % interval"), ours + rows)


def _gains(version: Version) -> str:
    if not version.gains:
        return ""
    rows = [(g.column, f"{g.value:.4g}", f"{g.low:.4g} to {g.high:.4g}") for g in version.gains]
    head = "### What its columns bring\n\nHow much a row's loss grows where the column is shuffled.\n\n"
    return head + _table(("column", "gain", "95 % interval"), rows)


def _column(column: Any) -> tuple[Any, ...]:
    seen = f"{column.minimum:g} to {column.maximum:g}" if column.minimum is not None else ""
    seen = ", ".join(column.categories[:8]) if column.categories else seen
    return (column.name, column.type, "yes" if column.nullable else "", seen)


def _checks(version: Version) -> str:
    rows = [
        (c.name, "passed" if c.passed else "NOT passed", c.asked, c.found)
        for c in (version.gate.checks if version.gate else ())
    ]
    certificate = version.certificate
    if certificate is not None:
        forms = ", ".join(sorted({f"{one.form} {one.level}" for one in certificate.forms}))
        rows.append(
            ("certificate", "passed" if certificate.passed else "NOT passed", f"{certificate.rows} golden rows", forms)
        )
    return _table(("check", "", "asked", "found"), rows) if rows else "None."


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def line(cells: tuple[Any, ...]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), line(("---",) * len(head)), *map(line, rows)])
