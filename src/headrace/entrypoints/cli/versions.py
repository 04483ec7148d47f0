"""Verbs about versions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape

from headrace.data.frames import read_file
from headrace.entrypoints.cli.verb import Call, metric_text, out, table, verb
from headrace.kernel.errors import InvalidInput

MOST_GAINS = 15


@click.command()
@verb
def models(call: Call) -> None:
    """List the models with their live versions."""
    ws = call.workspace
    found = [(name, ws.versions(name)) for name in ws.models()]
    rows = []
    for name, versions in found:
        live = next((v.reference for v in versions if "live" in v.aliases), None)
        rows.append({"model": name, "versions": len(versions), "live": live})
    call.answer(rows, lambda: table("models", ("model", "versions", "live"), [r.values() for r in rows]))


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.option("--newest", is_flag=True, help="Only say which version was made last: MODEL@N, for scripts.")
@verb
def show(call: Call, reference: str, newest: bool) -> None:
    """A model's versions, or with @N one version: schema, metrics, gate, certificate, lineage."""
    ws = call.workspace
    if newest:
        ws.version(reference)
        last = max(ws.versions(reference.partition("@")[0]), key=lambda version: version.number)
        call.answer(last, lambda: click.echo(last.reference))
        return
    if "@" in reference:
        version = ws.version(reference)
        call.answer(version, lambda: _show(version))
        return
    ws.version(reference)
    found = ws.versions(reference)
    rows = [
        (
            v.reference,
            ", ".join(v.aliases),
            _passed(v.gate),
            _passed(v.certificate),
            metric_text(v.metrics, 1),
            v.digest[:12],
        )
        for v in found
    ]
    columns = ("version", "aliases", "gate", "certificate", "metric", "digest")
    call.answer(found, lambda: table(reference, columns, rows))


def _passed(evidence: Any) -> str:
    return "none" if evidence is None else "passed" if evidence.passed else "NOT passed"


def _show(version: Any) -> None:
    out.print(
        f"[bold]{version.reference}[/] {' '.join(version.aliases)}  runtime {version.runtime}, task {version.task}"
    )
    if version.uncompiled:
        out.print(f"not compiled: {escape(version.uncompiled)}")
    out.print(f"digest {version.digest}\nmade {version.created:%Y-%m-%d %H:%M:%S} UTC by {version.created_by}")
    lineage = version.lineage
    out.print(
        f"run {lineage.run}  snapshot {lineage.snapshot[:16]}  code {lineage.code[:16]}  commit {lineage.commit[:12]}"
    )
    metrics = [(n, f"{m.value:.4f}", f"{m.low:.4f}", f"{m.high:.4f}", m.rows) for n, m in version.metrics.items()]
    metrics += [
        (f"  of a {kind} model", f"{m.value:.4f}", f"{m.low:.4f}", f"{m.high:.4f}", m.rows)
        for kind, m in version.baselines.items()
    ]
    table("metrics", ("metric", "value", "low", "high", "rows"), metrics)
    if version.gains:
        brought = [(g.column, f"{g.value:.4g}", f"{g.low:.4g}", f"{g.high:.4g}") for g in version.gains[:MOST_GAINS]]
        table("what its columns bring", ("column", "gain", "low", "high"), brought)
    schema = [(c.name, c.type, c.role, "yes" if c.nullable else "", _range(c)) for c in version.schema.asked]
    table("schema", ("column", "type", "role", "null", "seen"), schema)
    if version.gate is not None:
        checks = [(c.name, "passed" if c.passed else "NOT passed", c.asked, c.found) for c in version.gate.checks]
        table("gate", ("check", "", "asked", "found"), checks)
    if version.certificate is not None:
        _show_certificate("certificate", version.certificate)


def _show_certificate(title: str, certificate: Any) -> None:
    forms = [
        (
            f.form,
            f.batch_size,
            f.rows,
            f.level,
            f"{f.max_difference:.3g}",
            f"{f.between_forms:.3g}",
            f.flipped,
        )
        for f in certificate.forms
    ]
    columns = ("form", "rows at a time", "rows", "level", "max |Δ| to Python", "between our forms", "flipped")
    table(f"{title}: {_passed(certificate)}", columns, forms)
    if certificate.refused:
        out.print(f"{certificate.refused} more rows, at which the Python object raises, must be rejected by every form")
    for failure in certificate.failures:
        out.print(escape(failure))


def _range(column: Any) -> str:
    if column.categories:
        return f"{len(column.categories)} values"
    return f"{column.minimum:g} to {column.maximum:g}" if column.minimum is not None else ""


@click.command()
@click.argument("model")
@click.argument("address", metavar="FILE")
@click.option(
    "--example", type=click.Path(path_type=Path), help="Rows as the model was fitted with; a bundle needs none."
)
@click.option("--target", help="The target column of the example.")
@click.option("--holdout", type=click.Path(path_type=Path), help="Labelled rows for metrics.")
@click.option("--trust", is_flag=True, help="Open it although it may run any code that its author wished.")
@verb
def register(
    call: Call, model: str, address: str, example: Path | None, target: str | None, holdout: Path | None, trust: bool
) -> None:
    """Make a version of a model in FILE.

    FILE is a saved model (pickle, joblib, cloudpickle, skops, LightGBM text, XGBoost JSON or UBJSON, CatBoost cbm,
    ONNX), the folder of an MLflow model, models:/NAME/VERSION of the MLflow server that MLFLOW_TRACKING_URI names, or a
    Headrace bundle. What it holds is told by its content. A form that can run code when it is opened is refused unless
    you say --trust; then it is opened once, in a process without network.
    """
    rows = read_file(example) if example else None
    held = read_file(holdout) if holdout else None
    version = call.workspace.register(model, address, example=rows, target=target, holdout=held, trust=trust)
    call.answer(version, lambda: _show(version))


@click.command()
@click.argument("subject", metavar="MODEL[@N]|SNAPSHOT")
@verb
def lineage(call: Call, subject: str) -> None:
    """Where a version, a model's versions, or all that was made of a snapshot come from, and where they went."""
    graph = call.workspace.lineage(subject)
    labels = {node.id: f"{node.kind}: {node.label}" for node in graph.nodes}
    rows = [(labels[edge.begin], edge.what, labels[edge.end]) for edge in graph.edges]
    call.answer(graph, lambda: table(subject, ("from", "", "to"), rows))


@click.command()
@click.argument("words", nargs=-1)
@click.option("--model", help="Of this model alone.")
@click.option(
    "--where", multiple=True, metavar="METRIC>NUMBER", help="A condition, such as 'roc_auc>0.7'; several may be given."
)
@click.option("--limit", default=50, show_default=True, help="How many.")
@verb
def search(call: Call, words: tuple[str, ...], model: str | None, where: tuple[str, ...], limit: int) -> None:
    """Find versions, newest first, by WORDS of names, digests, runs, snapshots, commits, people, or depth=3."""
    found = call.workspace.search(" ".join(words), model=model, where=where, limit=limit)
    rows = [
        (
            hit.version,
            ", ".join(hit.aliases),
            " ".join(f"{name} {value:.4f}" for name, value in list(hit.metrics.items())[:3]),
            hit.created[:19],
            hit.digest[:12],
        )
        for hit in found
    ]
    call.answer(found, lambda: table("versions", ("version", "aliases", "metrics", "made", "digest"), rows))


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as", "form", default="bundle", show_default=True, help="bundle, mlflow or onnx.")
@verb
def export(call: Call, reference: str, folder: Path, form: str) -> None:
    """Write a version to FOLDER: a signed bundle, which another Headrace registers, a model for mlflow.pyfunc, or one
    ONNX file that takes the columns and gives the answers."""
    written = call.workspace.export(reference, folder, form)
    document = {"version": call.workspace.version(reference).reference, "form": form, "folder": str(written)}
    call.answer(document, lambda: out.print(f"{document['version']} is at {written}.", markup=False))


@click.command()
@click.argument("reference", metavar="MODEL@N")
@verb
def certify(call: Call, reference: str) -> int:
    """Run a version's parity certificate again, over the forms installed here."""
    certificate = call.workspace.certify(reference)

    call.answer(certificate, lambda: _show_certificate(reference, certificate))
    return 0 if certificate.passed else 1


@click.command()
@click.argument("reference", metavar="MODEL@N")
@click.option("--alias", default="live", show_default=True, help="The alias to move.")
@click.option("--why", default="asked for", help="Why, for the record.")
@verb
def promote(call: Call, reference: str, alias: str, why: str) -> None:
    """Point an alias at a version that passed its gate and its certificate."""
    version = call.workspace.promote(reference, alias, why)
    call.answer(version, lambda: out.print(f"{version.reference} is {alias}."))


@click.command()
@click.argument("reference", metavar="[MODEL@N]", required=False)
@click.option("--why", default="", help="Your word, for the record.")
@verb
def approve(call: Call, reference: str | None, why: str) -> None:
    """Approve a version that another person asked to make live, or list those that wait."""
    ws = call.workspace
    if reference is None:
        found = ws.approvals_waiting()
        rows = [(f"{a.model}@{a.number}", a.asked_by, f"{a.asked:%Y-%m-%d %H:%M}", a.why) for a in found]
        call.answer(found, lambda: table("waiting for approval", ("version", "asked by", "asked", "why"), rows))
        return
    version = ws.approve(reference, why)
    said = "is live" if "live" in version.aliases else "is rolled out by the worker"
    call.answer(version, lambda: out.print(f"{version.reference} is approved and {said}."))


@click.command()
@click.argument("model")
@click.option("--why", default="asked for", help="Why, for the record.")
@verb
def rollback(call: Call, model: str, why: str) -> None:
    """Point live back at the version before."""
    version = call.workspace.rollback(model, why)
    call.answer(version, lambda: out.print(f"{version.reference} is live again."))


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@verb
def predict(call: Call, reference: str, file: Path | None) -> None:
    """Answers to the rows of FILE (CSV, Parquet, JSON Lines), or of JSON on standard input."""
    rows: Any = file
    if file is None:
        try:
            rows = msgspec.json.decode(sys.stdin.buffer.read())
        except msgspec.DecodeError as error:
            raise InvalidInput(
                f"Standard input is not JSON: {error}.",
                expected="a row object or a list of them",
                todo="Name a FILE, or pipe JSON in.",
            ) from error
        rows = rows.get("rows", rows) if isinstance(rows, dict) else rows
    answers = call.workspace.predict(reference, rows)
    call.answer(answers.to_dicts(), lambda: sys.stdout.write(answers.write_csv()))
