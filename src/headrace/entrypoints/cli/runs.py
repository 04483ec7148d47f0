"""Verbs that make and compare runs."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.entrypoints.cli.verb import Call, err, metric_text, out, table, verb
from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Run
from headrace.training.comparison import as_markdown

WHY = {
    "snapshot": "keep the data as it is now",
    "train": "fit on the rows that are not held out",
    "evaluate": "judge on the rows that it has not seen, beside the live version",
    "register": "bundle, golden rows, certificate through every form",
    "gather": "lay out the recorded data, code and parameters",
    "environment": "install the recorded packages anew",
    "first": "train in a process of its own",
    "second": "train once more",
    "compare": "hold the answers against the version's own, and sign",
}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InvalidInput(f"{text!r} is no parameter.", expected="NAME=VALUE", todo="Write it so.")
        pairs[name] = value
    return pairs


@click.command()
@click.argument("model", required=False)
@click.option("--project", default=".", metavar="DIR", help="The project's folder.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter for the training function.")
@click.option(
    "--sweep", multiple=True, metavar="NAME=A,B,C", help="Try each value; the best trial becomes the version."
)
@click.option("--reason", default="asked for", help="Why, for the record.")
@click.option("--sample", type=click.IntRange(0), default=0, help="Only so many rows, to see that the pipeline works.")
@verb
def run(
    call: Call,
    model: str | None,
    project: str,
    params: tuple[str, ...],
    sweep: tuple[str, ...],
    reason: str,
    sample: int,
) -> int:
    """Run a project's pipeline durably: snapshot, train, evaluate, register.

    A run that is interrupted goes on where it stood when the next worker starts.
    """
    ws = call.workspace
    asked = {name: _value(value) for name, value in _pairs(params).items()}
    swept = {name: [_value(v) for v in value.split(",") if v] for name, value in _pairs(sweep).items()}
    reason = f"{reason}, on a sample of {sample} rows" if sample else reason
    run = ws.start_run(model, project=project, sweep=swept, reason=reason, sample=sample, **asked)
    try:
        version = watched(ws.wait, run)
    except KeyboardInterrupt:
        err.print(f"\nRun {run} is kept; it goes on with: headrace worker")
        return 130
    document = {"run": run, "version": version}
    certified = version.certificate is not None and version.certificate.passed
    passed = certified and (version.gate is None or version.gate.passed)
    call.answer(document, lambda: _show_version(version, run))
    return 0 if passed else 1


def watched(wait: Any, run: str) -> Any:
    """Wait for a run by `wait`, with a line for each step that says what it is for and what came of it."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err) as bars:
        tasks: dict[str, Any] = {}

        def progress(found: Run) -> None:
            for step in found.steps:
                if step.name not in tasks:
                    tasks[step.name] = bars.add_task(f"{step.name}: {WHY.get(step.name, '')}", total=1)
                if step.status != "running":
                    mark = "" if step.status == "done" else "failed: "
                    bars.update(tasks[step.name], completed=1, description=f"{step.name}: {mark}{step.note[:160]}")

        return wait(run, progress)


def _show_version(version: Any, run: str) -> None:
    out.print(f"[bold]{version.reference}[/]  {metric_text(version.metrics)}")
    for check in version.gate.checks if version.gate else ():
        out.print(
            f"  {'passed' if check.passed else '[red]NOT passed[/]'}  {check.name}: {check.found}, asked {check.asked}"
        )
    certified = version.certificate is not None and version.certificate.passed
    out.print(f"  certificate {'passed' if certified else '[red]NOT passed[/]'}; run {run}")
    if certified and (version.gate is None or version.gate.passed):
        out.print(f"  next: headrace promote {version.reference}")


@click.command()
@click.argument("model", required=False)
@click.option("--limit", default=20, show_default=True, help="How many.")
@click.option("--search", default="", metavar="WORDS", help="Of their ids, reasons, people or parameters.")
@verb
def runs(call: Call, model: str | None, limit: int, search: str) -> None:
    """List runs, newest first, with their parameters, metrics and time."""
    found = call.workspace.runs(model, limit, search)

    def show() -> None:
        rows = [
            (
                r.id,
                r.model,
                r.kind,
                r.status,
                " ".join(f"{k}={v}" for k, v in r.params.items()),
                metric_text(r.evaluation.metrics, 1) if r.evaluation else "",
                f"{(r.ended - r.started).total_seconds():.0f} s" if r.started and r.ended else "",
                r.reason[:60],
            )
            for r in found
        ]
        table("runs", ("id", "model", "kind", "status", "params", "metric", "time", "why"), rows)

    call.answer(found, show)


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--format", "form", type=click.Choice(["table", "markdown"]), default="table", help="Markdown: for a review."
)
@verb
def diff(call: Call, first: str, second: str, form: str) -> None:
    """Two runs (ids) or versions (MODEL@N, MODEL@live) side by side: data, code, parameters, metrics by slice."""
    found = call.workspace.diff(first, second)

    def show() -> None:
        if form == "markdown":
            call.write(as_markdown(first, second, found))
            return
        rows = [(d.what, d.first, d.second, d.note or ("" if d.same else "differs")) for d in found]
        table(f"{first} and {second}", ("what", first, second, ""), rows)

    call.answer(found, show)
