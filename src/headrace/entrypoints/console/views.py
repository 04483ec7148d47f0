"""What the pages show, worked out from the verbs' answers; no HTTP here."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from headrace.compiler.golden import class_name
from headrace.entrypoints.console.charts import Line, Mark, line_chart, parallel_chart
from headrace.kernel.records import Run, Window
from headrace.workspace import Workspace

SHOWN_WINDOWS = 400


def loop_view(ws: Workspace, model: str) -> dict[str, Any]:
    """One model's loop: status and its two charts."""
    status = ws.status(model, drift=False)  # it is looked at every few seconds
    windows = ws.windows.list(model, limit=2 * SHOWN_WINDOWS)
    traffic = (status["last_window"] or {}).get("findings", {}).get("traffic", {})
    latency = [f"{1000 * traffic[q]:.1f}" for q in ("p50", "p99")] if traffic.get("p99") else None
    live = status["live"]
    metric = next((f"{name} {m['value']:.4f}" for name, m in (live or {}).get("metrics", {}).items()), "")
    return {
        **status,
        "harm": any(alarm["kind"] == "harm" for alarm in status["alarms"]),
        "latency": latency,
        "metric": metric,
        "calls": [consumer_row(consumer) for consumer in status["consumers"]],
        "loss_chart": loss_chart(windows, status["alarms"]),
        "evidence_chart": evidence_chart(windows),
    }


def consumer_row(it: dict[str, Any]) -> dict[str, str]:
    """A consumer's traffic as texts; `mark` says whether its objective is kept."""

    def milliseconds(seconds: float | None) -> str:
        return "" if seconds is None else f"{1000 * seconds:g} ms"

    objective, within = milliseconds(it["objective"]), it["within"]
    if within is not None:
        objective += f", {100 * within:.2f} % within it"
    return {
        "name": it["consumer"] or "without a key",
        "requests": f"{it['requests']:,}",
        "rows": f"{it['rows']:,}",
        "failed": f"{it['failed']:,}",
        "p50": milliseconds(it["p50"]),
        "p99": milliseconds(it["p99"]),
        "objective": objective,
        "mark": "" if within is None else "good" if within >= 0.99 else "bad",
    }


def loss_chart(windows: list[Window], alarms: list[dict[str, Any]]) -> str:
    """The loss of each version by window (a mean of seven), its limit, and the alarms of harm."""
    starts = sorted({window.start for window in windows})
    lines = []
    for colour, number in enumerate(sorted({window.number for window in windows})):
        losses, limits = (_series(windows, starts, number, what) for what in ("loss", "limit"))
        lines.append(Line(f"version {number}", smooth(losses), colour=colour))
        lines.append(Line(f"limit of version {number}", limits, dashed=True, colour=colour))
    kinds = [kind for window in windows if (kind := window.findings["harm"].get("kind"))]
    at = {start: i for i, start in enumerate(starts)}
    marks = [Mark(at[a["window"]], "harm alarm") for a in alarms if a["kind"] == "harm" and a["window"] in at]
    title = f"{str(kinds[0] if kinds else 'loss').replace('_', ' ')} by window, mean of 7"
    return line_chart([start[:10] for start in starts], lines, marks, title)


def evidence_chart(windows: list[Window]) -> str:
    """The logarithm of the harm detector, the thing that alarms, by window, and its threshold."""
    starts = sorted({window.start for window in windows})
    lines = []
    for number in sorted({window.number for window in windows}):
        values = _series(windows, starts, number, "statistic")
        lines.append(Line(f"version {number}", [None if v is None else math.log10(max(v, 1e-3)) for v in values]))
    thresholds = [t for window in windows if (t := window.findings["harm"].get("threshold"))]
    if thresholds:
        lines.append(Line("threshold", [math.log10(thresholds[-1])] * len(starts), dashed=True))
    return line_chart([s[:10] for s in starts], lines, title="evidence of harm: log10 of the e-detector")


def _series(windows: list[Window], starts: list[str], number: int, what: str) -> list[float | None]:
    """One finding of harm of one version, by window; None where there is none."""
    found = {w.start: w.findings["harm"].get(what) for w in windows if w.number == number}
    return [found.get(start) for start in starts]


def smooth(values: list[float | None], over: int = 7) -> list[float | None]:
    """The mean of the last `over` values that are there; None where the value itself is not."""
    smoothed: list[float | None] = []
    for i, value in enumerate(values):
        recent = [v for v in values[max(0, i - over + 1) : i + 1] if v is not None]
        smoothed.append(sum(recent) / len(recent) if value is not None else None)
    return smoothed


def form_fields(ws: Workspace, model: str) -> list[dict[str, Any]]:
    """A field for each feature of the live version's schema."""
    fields = []
    for column in ws.version(model).schema.features:
        numeric = column.type in ("integer", "number") and column.minimum is not None
        spread = (column.maximum or 0) - (column.minimum or 0)
        fields.append(
            {
                "name": column.name,
                "type": column.type,
                "unit": column.unit,
                "nullable": column.nullable,
                "choices": list(column.categories or ()),
                "slider": numeric and spread > 0,
                "minimum": column.minimum,
                "maximum": column.maximum,
                "value": _short(column.example),
                "step": 1 if column.type == "integer" else f"{spread / 200:.3g}",
            }
        )
    return fields


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def row_of_form(ws: Workspace, model: str, form: dict[str, str]) -> dict[str, Any]:
    """The row that a filled form means; what cannot be a number stays a text, for the schema to refuse."""
    row: dict[str, Any] = {}
    for column in ws.version(model).schema.features:
        text = form.get(column.name, "").strip()
        if text == "" and column.type != "string":
            row[column.name] = None
        elif column.type in ("integer", "number"):
            row[column.name] = _number(text)
        elif column.type == "boolean":
            row[column.name] = text == "true"
        else:
            row[column.name] = text or None
    return row


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def answer_view(ws: Workspace, model: str, row: dict[str, Any], before: str) -> dict[str, Any]:
    """The live version's answer to a row, and how it moved since the row before."""
    version = ws.version(model)
    answer = ws.predict(version.reference, [row]).row(0, named=True)
    shares = {name.removeprefix("probability."): value for name, value in answer.items() if name != "prediction"}
    past: dict[str, Any] = msgspec.json.decode(before) if before else {}
    changed = [f"{k} {past['row'].get(k)} → {v}" for k, v in row.items() if past and past["row"].get(k) != v]
    prediction = answer["prediction"]
    numeric = isinstance(prediction, float) and not shares
    change = prediction - past["prediction"] if numeric and isinstance(past.get("prediction"), float) else None
    state = {"row": row, "shares": shares, "prediction": prediction}
    return {
        "version": version.reference,
        "prediction": f"{prediction:.6g}" if numeric else class_name(prediction),
        "probabilities": list(shares.items()),
        "before": past.get("shares", {}),
        "changed": ", ".join(changed),
        "change": change,
        "state": msgspec.json.encode(state, enc_hook=str).decode(),
        "error": None,
    }


def runs_view(runs: list[Run], sort: str, down: bool) -> dict[str, Any]:
    """Runs as a sortable table, and their parameters beside the first metric as a parallel plot."""
    params = sorted({name for run in runs for name in run.params})
    metrics = sorted({name for run in runs if run.evaluation for name in run.evaluation.metrics})
    columns = ["id", "model", "kind", "status", *params, *metrics, "seconds", "version", "why"]
    rows = [_run_row(run, params, metrics) for run in runs]
    if sort in columns:
        rows.sort(
            key=lambda row: (row[sort] is None, row[sort] if isinstance(row[sort], int | float) else str(row[sort])),
            reverse=down,
        )
    numeric = [p for p in params if sum(isinstance(row[p], int | float) for row in rows) > 1]
    axes = [*numeric, *[m for m in ("log_loss", "roc_auc", "rmse", "accuracy") if m in metrics][-2:]]
    lines = [[row[a] if isinstance(row[a], int | float) else None for a in axes] for row in rows]
    chart = parallel_chart(axes, lines, "parameters and metrics, a line for each run")
    return {"columns": columns, "rows": rows, "sort": sort, "down": down, "chart": chart}


def _run_row(run: Run, params: list[str], metrics: list[str]) -> dict[str, Any]:
    found = run.evaluation.metrics if run.evaluation else {}
    return {
        "id": run.id[-12:],
        "model": run.model,
        "kind": run.kind,
        "status": run.status,
        **{name: run.params.get(name) for name in params},
        **{name: round(found[name].value, 4) if name in found else None for name in metrics},
        "seconds": round((run.ended - run.started).total_seconds(), 1) if run.ended and run.started else None,
        "version": run.version,
        "why": run.reason[:80],
    }
