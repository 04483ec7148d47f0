"""Verbs about datasets."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.entrypoints.console.assessment import assessment_page
from headrace.kernel.records import Metric


@click.group()
def data() -> None:
    """Datasets and their snapshots: each an immutable state, named by a digest over every row and column.

    \b
    headrace data list [DATASET]
    headrace data show DIGEST
    headrace data diff DIGEST DIGEST
    headrace data pin DIGEST --why "the audit of 2026"
    headrace data assess FILE --target COLUMN
    """


@data.command("list")
@click.argument("dataset", required=False)
@click.option("--limit", default=50, show_default=True, help="How many.")
@verb
def list_snapshots(call: Call, dataset: str | None, limit: int) -> None:
    """List snapshots, newest first."""
    ws = call.workspace
    found, held = ws.snapshots.list(dataset, limit), {hold.subject: hold.why for hold in ws.snapshots.holds()}
    rows = [
        (
            s.dataset,
            s.digest[:16],
            f"{s.rows:,}",
            s.start[:19],
            s.end[:19],
            f"{s.created:%Y-%m-%d %H:%M}",
            held.get(s.digest),
        )
        for s in found
    ]
    columns = ("dataset", "digest", "rows", "from", "to", "taken", "pinned because")
    call.answer(found, lambda: table("snapshots", columns, rows))


@data.command()
@click.argument("digest")
@verb
def show(call: Call, digest: str) -> None:
    """One snapshot: its columns, ranges and the versions that were trained on it."""
    ws = call.workspace
    snapshot = ws.snapshots.get(digest)
    versions = ws.versions_on(snapshot.digest)

    def tell() -> None:
        out.print(f"[bold]{snapshot.dataset}[/] {snapshot.digest}")
        out.print(
            f"{snapshot.rows:,} rows, {snapshot.start} to {snapshot.end}, taken {snapshot.created:%Y-%m-%d %H:%M}"
        )
        columns = [(c.name, c.type, c.role, "yes" if c.nullable else "", c.dtype) for c in snapshot.schema.columns]
        table("columns", ("column", "type", "role", "null", "dtype"), columns)
        for line in snapshot.origin:
            out.print(f"from {line}", markup=False, soft_wrap=True)
        for finding in snapshot.findings:
            out.print(f"finding: {finding.text()}", markup=False, soft_wrap=True)
        out.print(f"versions: {', '.join(versions) or 'none'}")

    call.answer({"snapshot": snapshot, "versions": versions}, tell)


@data.command()
@click.argument("first")
@click.argument("second")
@verb
def diff(call: Call, first: str, second: str) -> int:
    """What changed from one snapshot to another: rows added, removed, changed, cells by column; exit code 1 if any."""
    found = call.workspace.diff_data(first, second)

    def show() -> None:
        out.print(found.text(), markup=False, soft_wrap=True)
        for example in found.examples:
            out.print(f"  {example}", markup=False, soft_wrap=True)
        if found.cells:
            table("changed cells", ("column", "cells"), found.cells.items())

    call.answer(found, show)
    return 0 if found.same else 1


@data.command()
@click.argument("source", metavar="FILE|DIGEST")
@click.option("--target", required=True, help="The column to be predicted.")
@click.option("--time", help="The column that says when a row happened; the last fifth by it is held out.")
@click.option("--key", multiple=True, help="A column that names a row; it is no feature. May be repeated.")
@click.option("--report", type=click.Path(path_type=Path), help="Also write a page with the picture.")
@verb
def assess(call: Call, source: str, target: str, time: str | None, key: tuple[str, ...], report: Path | None) -> None:
    """Say whether data are enough for a target: learning curve, leaks, duplicates, balance, a verdict in words."""
    found = call.workspace.assess(source, target, time=time, key=key, progress=lambda what: err.print(f"{what} ..."))
    if report is not None:
        report.write_text(assessment_page(found))

    def show() -> None:
        for sentence in found.verdict:
            out.print(f"[bold]{sentence}[/]", soft_wrap=True)
        lines = [(f"{point.rows:,} rows", _score(point.score)) for point in found.curve]
        table(
            found.metric,
            ("trained on", "held out"),
            [*lines, ("linear", _score(found.linear)), ("constant", _score(found.constant))],
        )
        out.print(f"{found.duplicates:,} duplicate rows, {found.contradictions:,} rows that contradict others")
        for name, share in found.balance.items():
            out.print(f"  {target} {name}: {share:.1%}", markup=False)
        for one in found.suspects:
            out.print(f"suspect: {one.column}: {one.why}", markup=False, soft_wrap=True)

    call.answer(found, show)


def _score(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


@data.command()
@click.argument("digest")
@click.option("--why", default="asked for", help="Why, for the record.")
@verb
def pin(call: Call, digest: str, why: str) -> None:
    """Keep a snapshot whatever 'headrace gc' finds."""
    held = call.workspace.hold(digest, why)
    call.answer(held, lambda: out.print(f"{held.subject[:16]} is kept: {held.why}.", markup=False))


@data.command()
@click.argument("digest")
@verb
def unpin(call: Call, digest: str) -> None:
    """Let 'headrace gc' decide again."""
    call.workspace.release(digest)
    call.answer({"released": digest}, lambda: out.print(f"{digest} is not kept any more."))
