"""Verbs that watch the loop."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from headrace.data.frames import read_file
from headrace.entrypoints.cli.verb import Call, metric_text, out, table, verb
from headrace.kernel.records import Metric


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@verb
def outcomes(call: Call, file: Path) -> None:
    """Record outcomes from FILE: prediction_id or key columns, outcome, and time."""
    kept = call.workspace.record_outcomes(read_file(file))
    call.answer({"outcomes": kept}, lambda: out.print(f"{kept} outcomes kept."))


@click.command()
@click.argument("model", required=False)
@verb
def status(call: Call, model: str | None) -> None:
    """The loop of each model as it stands: live version, windows, alarms, rollout, runs."""
    ws = call.workspace
    found = [ws.status(name) for name in ([model] if model else ws.models())]

    def show() -> None:
        if not found:
            out.print("No models yet: headrace init, headrace run.")
        for it in found:
            _show_status(it)
        if found:
            _show_scoring(found[0]["scoring"])

    call.answer(found[0] if model else found, show)


def _show_status(it: dict) -> None:
    live = it["live"]
    metrics = {n: msgspec.convert(m, Metric) for n, m in live["metrics"].items()} if live else {}
    out.print(f"[bold]{it['model']}[/]  live: {live['version'] if live else 'none'}  {metric_text(metrics, 1)}")
    out.print(f"  {it['windows']} windows, {it['answers']} answers in them")
    for alarm in it["alarms"][:5]:
        out.print(f"  alarm {alarm['kind']} {alarm['window'][:10]}: {alarm['text']}", markup=False)
    rollout = it["rollout"]
    if rollout:
        last = rollout["history"][-1]
        out.print(f"  rollout to @{rollout['candidate']}: {rollout['status']}, {rollout['share']:g} %; {last['why']}")
    for one in it["deployed"]:
        out.print(f"  {one['model']}@{one['version']} on {one['target']}: {one['text']}", markup=False)
    for one in it["drift"]:
        said = f"{one['before'] or 'not set'} -> {one['after'] or 'not set'}"
        out.print(f"  drift: {one['what']}: {said} (headrace plan)", markup=False, soft_wrap=True)
    for consumer in it["consumers"]:
        out.print(f"  {consumer_line(consumer)}", markup=False)
    for notice in it["untold"][:3]:
        given = "given up" if notice["given_up"] else "did not arrive yet"
        out.print(f"  {notice['kind']} {notice['subject']!r} {given}: {notice['error']}", markup=False)
    for run in it["runs"]:
        out.print(f"  run {run['id']} {run['status']}: {run['reason']}", markup=False)


def _show_scoring(it: dict) -> None:
    dropped = f", {it['dropped_captures']} dropped" if it["dropped_captures"] else ""
    refused = "".join(f", {count} {kind}" for kind, count in it["errors"].items())
    out.print(f"{it['processes']} scoring processes; within a day {it['captured']} answers captured{dropped}{refused}")


def consumer_line(it: dict) -> str:
    """A consumer's traffic and its objective, in words."""
    name = it["consumer"] or "callers without a key"
    if not it["requests"]:
        return f"{name}: no requests within a day"
    latency = f"p50 {_milliseconds(it['p50'])}, p99 {_milliseconds(it['p99'])}"
    failed = f", {it['failed']} failed" if it["failed"] else ""
    text = f"{name}: {it['requests']} requests, {it['rows']} rows{failed}, {latency}"
    if it["within"] is None:
        return text
    kept = "kept" if it["within"] >= 0.99 else "NOT kept"
    return f"{text}; objective {_milliseconds(it['objective'])} {kept} ({100 * it['within']:.2f} % within it)"


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{1000 * seconds:g} ms"


@click.command()
@click.argument("prediction", metavar="ID")
@click.option("--replay", is_flag=True, help="Compute it once more; exit code 1 where it is not the same to the bit.")
@verb
def trace(call: Call, prediction: str, replay: bool) -> int:
    """Everything behind one prediction: input, version, run, snapshot, code, who promoted it."""
    found = call.workspace.trace(prediction, replay=replay)

    def show() -> None:
        rows = [
            ("prediction", f"{found['prediction']} (score {found['score']})"),
            ("when", f"{found['time']} for {found['moment']}"),
            ("input", msgspec.json.encode(found["input"]).decode()),
            ("key", msgspec.json.encode(found["key"]).decode()),
            (
                "version",
                f"{found['model']}@{found['version']} by route {found['route']}, generation {found['generation']}",
            ),
            ("bundle", found["bundle"]),
            ("snapshot", found["lineage"]["snapshot"] or "none"),
            ("code", f"{found['lineage']['code'] or 'none'} {found['lineage']['commit']}"),
            (
                "run",
                msgspec.json.encode(found["run"], enc_hook=str).decode() if found["run"] else found["lineage"]["run"],
            ),
            ("outcome", ", ".join(f"{o['outcome']} at {o['time']}" for o in found["outcomes"]) or "not yet known"),
        ]
        rows += [
            ("promoted", f"to {p['alias']} by {p['who']} at {p['time']:%Y-%m-%d %H:%M:%S}: {p['why']}")
            for p in found["promotions"]
        ]
        if replay:
            again = found["replay"]
            said = f"{again.prediction} (score {again.score})" if not again.error else again.error
            rows.append(("computed again", f"{again.verdict}: {again.why or said}"))
        table(found["id"], ("what", ""), rows)

    call.answer(found, show)
    return 1 if replay and found["replay"].verdict != "same" else 0


@click.command()
@click.option("--verify", is_flag=True, help="Walk the whole chain and hold it against the signed head.")
@click.option("--subject", help="Only entries about this model.")
@click.option("--limit", default=30, show_default=True, help="How many.")
@click.option("--export", "folder", type=click.Path(path_type=Path), help="Write it all to a folder, for an auditor.")
@verb
def audit(call: Call, verify: bool, subject: str | None, limit: int, folder: Path | None) -> int:
    """The audit log, newest first; --verify finds any edit, removal or reordering (exit code 1).

    --export writes entries, signed head and public key, and a script, verify.py, that verifies them without Headrace.
    """
    if folder is not None:
        count = call.workspace.export_audit(folder)
        document = {"folder": str(folder), "entries": count}
        call.answer(document, lambda: out.print(f"{count} entries are in {folder}; verify them: python verify.py"))
        return 0
    if verify:
        report = call.workspace.verify_audit()

        def show() -> None:
            out.print(f"{report.entries} entries, {'chain intact' if report.intact else '[red]chain BROKEN[/]'}")
            for problem in report.problems:
                out.print(f"  {problem}")

        call.answer(report, show)
        return 0 if report.intact else 1
    found = call.workspace.audit(limit, subject)
    rows = [
        (e.seq, e.time[:19], e.who, e.action, e.subject, msgspec.json.encode(e.detail).decode()[:100]) for e in found
    ]
    call.answer(found, lambda: table("audit", ("seq", "time", "who", "action", "subject", "detail"), rows))
    return 0
