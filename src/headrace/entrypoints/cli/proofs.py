"""Verbs that prove, and show what was proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from headrace.entrypoints.cli.runs import watched
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.folders import need_empty
from headrace.kernel.records import Proof, Retraining
from headrace.training.project import FILE

LEVELS = {
    "L0": "the fitted object is the same",
    "L1": "every answer is the same to the bit",
    "L2": "answers within 1e-9 and the same decisions",
    "L3": "other answers, metrics within their intervals",
    "none": "another model",
}


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.option("--same-environment", is_flag=True, help="With the packages that are installed here.")
@click.option("--project", metavar="DIR", help="With what the project in DIR is now: data, code, parameters, threads.")
@verb
def prove(call: Call, reference: str, same_environment: bool, project: str | None) -> int:
    """Make a version again from its recorded data, code, parameters, seed and packages, twice, and compare.

    Exit code 1 where it is not the same, with the first input that is not the recorded one. A proof that is interrupted
    goes on where it stood when the next worker starts.
    """
    ws = call.workspace
    run = ws.start_proof(reference, same_environment=same_environment, project=project)
    try:
        proof = watched(ws.wait_proof, run)
    except KeyboardInterrupt:
        err.print(f"\nThe proof is kept as run {run}; it goes on with: headrace worker")
        return 130
    call.answer(proof, lambda: show_proof(proof))
    return 0 if proof.passed else 1


def show_proof(proof: Proof) -> None:
    """A proof for people."""
    again = "installed anew" if proof.rebuilt else "as they are here"
    out.print(f"[bold]{proof.model}@{proof.number}: {proof.level}[/], {LEVELS[proof.level]}")
    out.print(f"two trainings, {proof.rows:,} golden rows, packages {again}, on {proof.hardware}", markup=False)
    rows = [(one.name, one.recorded, one.found, "same" if one.same else f"OTHER: {one.detail}") for one in proof.inputs]
    table("what it was made of", ("input", "recorded", "found", ""), rows)
    tries = [_training(number, one) for number, one in enumerate(proof.trainings, start=1)]
    columns = ("training", "level", "object", "max |Δ|", "decisions flipped", "first row", "time")
    table("made again", columns, tries)
    if proof.diverged:
        out.print(f"what diverged first: {proof.diverged}", markup=False)
    for change in proof.changes:
        out.print(f"since {proof.model}@{proof.number - 1}, {change}", markup=False)


def _training(number: int, it: Retraining) -> tuple[object, ...]:
    row = "" if it.row is None else it.row
    return (number, it.level, it.digest[:12], f"{it.max_difference:.3g}", it.flipped, row, f"{it.seconds:.1f} s")


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@verb
def evidence(call: Call, reference: str, folder: Path | None) -> None:
    """Write what a version shows for itself to FOLDER, or print its hand-off sheet.

    Model card (Hugging Face), bill of materials (CycloneDX), signed provenance (SLSA in in-toto), ML Test Score,
    hand-off sheet, metrics, gate, certificate, proofs and promotions.
    """
    found = call.workspace.evidence(reference)
    if folder is None:
        call.answer(found, lambda: call.write(found["hand-off.md"]))
        return
    need_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        (folder / name).write_text(content)
    call.answer(
        {"folder": str(folder), "files": list(found)}, lambda: out.print(f"{len(found)} files are in {folder}.")
    )


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    help="Take the tests and functions in this folder.  [default: . where it has a headrace.toml, else as in training]",
)
@verb
def test(call: Call, reference: str, project: Path | None) -> int:
    """Run the tests that a project declares of its model: [[model.NAME.test]] in headrace.toml.

    Invariance, direction, quality on slices, learning a few rows by heart, and functions of the project's own. The
    results are kept with the version, and count for its ML Test Score. Exit code 1 where one fails.
    """
    here = Path() if Path(FILE).exists() else None

    def saying(result: Any) -> None:
        mark = "passed" if result.passed else "[red]FAILED[/]"
        err.print(
            f"{mark}  {escape(result.name)}: {escape(result.found)}, asked: {escape(result.asked)}", soft_wrap=True
        )

    tests = call.workspace.test(reference, project=project or here, saying=saying)
    passed = sum(result.passed for result in tests.results)
    call.answer(
        tests, lambda: out.print(f"{tests.model}@{tests.number}: {passed} of {len(tests.results)} tests passed")
    )
    return 0 if tests.passed else 1
