"""The verbs that put versions on targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from headrace.delivery.planning import Plan
from headrace.delivery.targets.target import document
from headrace.delivery.watching import alert_rules, dashboard
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.errors import InvalidInput
from headrace.kernel.folders import need_empty
from headrace.kernel.objects import write_whole


@click.command()
@click.argument("reference", metavar="MODEL[@N]")
@click.argument("target")
@click.option("--project", type=click.Path(path_type=Path), default=Path(), help="The project's folder.  [default: .]")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="A field of the target, said here.")
@click.option("--dry-run", is_flag=True, help="Say what would change, with its lines, and do nothing.")
@click.option("--write", is_flag=True, help="Only write the files: something else puts them where they belong.")
@click.option("--why", default="asked for", show_default=True, help="For the audit log.")
@verb
def deploy(
    call: Call,
    reference: str,
    target: str,
    project: Path,
    options: tuple[str, ...],
    dry_run: bool,
    write: bool,
    why: str,
) -> None:
    """Put a version on TARGET: a table [target.NAME] of headrace.toml, or a kind (process, kubernetes, kserve,
    sagemaker, vertex, azureml) with its fields by --set.

    First what will change is said; then the image is built and sent, the files are written, and the commands run. Where
    the target has a url, the golden rows are asked there. What does not answer as it should is taken back, and what
    stood there before is put there again.
    """
    ws, given = call.workspace, {"project": project, "options": _options(options)}
    version = ws.version(reference)
    plan = ws.plan_deployment(version.reference, target, **given)
    if dry_run or write:
        if write:
            ws.write_deployment(version.reference, target, **given)
        call.answer(plan, lambda: _show_plan(plan, lines=not write))
        return
    if not call.as_json:
        _show_plan(plan, lines=False)

    def saying(line: str) -> None:
        err.print(line, markup=False, style="dim", soft_wrap=True)

    done = ws.deploy(version.reference, target, why=why, saying=saying, **given)
    call.answer(done, lambda: out.print(f"{done.reference} stands on {target}: {done.text}", markup=False))


@click.command()
@click.argument("model", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@verb
def deployments(call: Call, model: str | None, limit: int) -> None:
    """What was put on which target, by whom, and what came of it; the newest first."""
    found = call.workspace.deployments(model, limit)

    def show() -> None:
        rows = [
            (one.created.strftime("%Y-%m-%d %H:%M"), one.reference, one.target, one.kind, one.status, one.who, one.text)
            for one in found
        ]
        table("deployments", ("when", "version", "target", "kind", "status", "who", ""), rows)

    call.answer(found, show)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@verb
def alerts(call: Call, folder: Path) -> None:
    """Write alert rules for Prometheus (alerts.yml) and a dashboard for Grafana (dashboard.json) to FOLDER.

    Both are made of what scoring servers count at /metrics.
    """
    need_empty(folder)
    written = {
        "alerts.yml": document(alert_rules()),
        "dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
    }
    for name, text in written.items():
        write_whole(folder / name, text.encode())
    paths = [str(folder / name) for name in written]
    call.answer({"files": paths}, lambda: out.print(" ".join(paths), markup=False))


def _options(said: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for one in said:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise InvalidInput(f"--set is {one!r}.", expected="KEY=VALUE, such as namespace=shop", todo="Correct it.")
        found[key] = value
    return found


def _show_plan(plan: Plan, *, lines: bool) -> None:
    standing = f"instead of {plan.standing}" if plan.standing else "where nothing stands yet"
    out.print(f"{plan.model}@{plan.version} on {plan.target} ({plan.kind}), {standing}", markup=False)
    for file in plan.files:
        out.print(f"  {file.what:8} {file.path}", markup=False, soft_wrap=True)
        if lines and file.diff:
            out.print("\n".join(f"           {line}" for line in file.diff.splitlines()), markup=False, soft_wrap=True)
    if plan.image:
        out.print(f"  image    {plan.image}", markup=False, soft_wrap=True)
    for command in plan.commands:
        out.print(f"  run      {command}", markup=False, soft_wrap=True)
    if plan.address:
        out.print(f"  ask      {plan.address}", markup=False, soft_wrap=True)
    if not plan.changes:
        out.print("  nothing would be another than it is", markup=False)
