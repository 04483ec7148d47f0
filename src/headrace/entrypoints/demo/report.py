"""The demo's report: one HTML file with its pictures inside."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from headrace.entrypoints.console import views
from headrace.entrypoints.demo.replay import MODEL
from headrace.entrypoints.demo.story import Told
from headrace.kernel.records import Rollout
from headrace.workspace import Workspace

STYLE = Path(views.__file__).with_name("static") / "style.css"


def summary_rows(told: Told) -> list[tuple[str, str]]:
    """What ran, in a short table."""
    harm = [alarm for alarm in told.alarms if alarm.kind == "harm"]
    rows = [
        ("what ran", f"{told.days} days of flights, {told.rows:,} predictions in {told.seconds:.0f} s"),
        ("versions", f"{told.first.reference} → {told.last.reference}"),
        (
            "requests served",
            f"{told.requests:,}, p50 {1000 * told.p50:.1f} ms, p99 {1000 * told.p99:.1f} ms, at the client",
        ),
        ("alarms", ", ".join(f"{sum(a.kind == k for a in told.alarms)} of {k}" for k in ("data", "drift", "harm"))),
        ("harm fired", ", ".join(alarm.window[:10] for alarm in harm) or "never"),
        ("audit chain", f"{'verified' if told.audit.intact else 'BROKEN'}, {told.audit.entries} entries"),
    ]
    if told.after:
        flights = f"on the same {told.before['flights']:,.0f} later flights"
        rows.insert(2, ("AUC by day, mean", f"{told.before['daily']:.3f} → {told.after['daily']:.3f} {flights}"))
        rows.insert(3, ("AUC, pooled", f"{told.before['auc']:.3f} → {told.after['auc']:.3f} {flights}"))
    return rows


def write_report(ws: Workspace, told: Told, path: Path) -> None:
    """Write the report."""
    windows = ws.windows.list(MODEL, limit=1000)
    alarms = [{"window": a.window, "kind": a.kind} for a in told.alarms]
    rollouts = ws.rollouts.list(MODEL, 3)
    parts = [
        "<h1>Headrace: the loop on real flights</h1>",
        "<p>Every flight that left New York in 2013 and 2023, replayed in its own time. The model was trained on "
        "January to March 2013. Nothing was scripted to fire: the same policy on quiet data stays quiet.</p>",
        _card("What ran", _table(("", ""), summary_rows(told))),
        _card("", views.loss_chart(windows, alarms)),
        _card("", views.evidence_chart(windows)),
        _card("Alarms", _table(("window", "kind", "evidence"), ((a.window[:10], a.kind, a.text) for a in told.alarms))),
        *(_rollout(rollout) for rollout in rollouts),
        _card(
            "Audit",
            _table(("when", "who", "what", "to"), ((e.time[:19], e.who, e.action, e.subject) for e in ws.audit(30))),
        ),
    ]
    style = STYLE.read_text()
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Headrace demo</title><style>{style}</style></head><body><main>{''.join(parts)}</main></body></html>"
    )


def _rollout(rollout: Rollout) -> str:
    rows = ((str(note.get("window", ""))[:10], f"{note['share']:g} %", note["why"]) for note in rollout.history)
    return _card(
        f"Rollout to {MODEL}@{rollout.candidate}: {rollout.status}", _table(("window", "traffic", "why"), rows)
    )


def _card(title: str, body: str) -> str:
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return f'<div class="card">{heading}{body}</div>'


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
