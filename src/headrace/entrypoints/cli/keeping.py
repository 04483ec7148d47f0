"""Verbs that keep a workspace in order."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import headrace
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.clock import parse_duration
from headrace.kernel.errors import NotFound, Refused
from headrace.kernel.records import Copied, Freed


@click.command()
@click.option(
    "--older", default="30d", show_default=True, help="How long ago a run must have ended, or a snapshot be taken."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def gc(call: Call, older: str, dry_run: bool, yes: bool) -> None:
    """Free what nothing refers to: leftovers of killed processes, old files of runs, snapshots that no version needs.

    It says first what it will free. Versions stay, and so does what a version, a hold or an unfinished run needs.
    """
    age = parse_duration(older)
    found: list[Freed] = call.workspace.garbage(age)
    if not call.as_json:
        _show(found)
    if dry_run or not found:
        call.answer({"freed": False, "found": found}, lambda: None)
        return
    if not yes and (call.as_json or not click.confirm("Free it?", err=True)):
        raise Refused("Nothing was freed.", todo="Say --yes to free what is listed.")
    freed = call.workspace.gc(age)
    call.answer({"freed": True, "found": freed}, lambda: out.print(f"{_size(sum(one.size for one in freed))} freed."))


def _show(found: list[Freed]) -> None:
    rows = [(one.kind, one.name, _size(one.size), one.why) for one in found]
    table(f"{len(found)} things, {_size(sum(one.size for one in found))}", ("kind", "name", "size", "why"), rows)


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MB"


@click.command()
@click.argument("key", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def forget(call: Call, key: tuple[str, ...], yes: bool) -> None:
    """Erase every captured prediction whose key has these values, and its outcomes, from the disk; it is recorded.

    The audit log keeps a keyed hash of the key. Snapshots of datasets and versions trained on them stay as they are.
    """
    pairs = dict(one.partition("=")[::2] for one in key)
    if not yes and (call.as_json or not click.confirm(f"Erase what was captured of {' '.join(key)}?", err=True)):
        raise Refused("Nothing was erased.", todo="Say --yes to erase it.")
    found = call.workspace.forget(**pairs)
    call.answer(found, lambda: out.print(f"{found.predictions} predictions and {found.outcomes} outcomes are erased."))


@click.group()
def workspace() -> None:
    """A whole workspace: copy, back up, restore, verify.

    \b
    headrace workspace copy .headrace /mnt/big/headrace
    headrace workspace backup backups/2026-11-21
    headrace workspace restore backups/2026-11-21 .headrace
    headrace workspace verify
    """


@workspace.command()
@click.argument("source", metavar="FROM", type=str)
@click.argument("target", metavar="TO", type=str)
@verb
def copy(call: Call, source: str, target: str) -> None:
    """Copy the workspace FROM to TO, which is empty, and verify every byte of the copy.

    Each is a folder, or postgresql://HOST/DATABASE?objects=s3://BUCKET/PREFIX. From folder to folder the source may be
    running; otherwise no run may be under way.
    """
    _copied(call, source, target)


@workspace.command()
@click.argument("target", metavar="TO", type=str)
@verb
def backup(call: Call, target: str) -> None:
    """Copy this workspace to the new folder TO, keys and all, and verify the copy."""
    _copied(call, call.workspace.places.url, target)


@workspace.command()
@click.argument("source", metavar="FROM", type=str)
@click.argument("target", metavar="TO", type=str)
@verb
def restore(call: Call, source: str, target: str) -> None:
    """Make the backup FROM the workspace TO, once it is verified."""
    _copied(call, source, target)


def _copied(call: Call, source: str, target: str) -> None:
    if "://" not in source and not (Path(source) / "headrace.db").exists():
        raise NotFound(f"There is no workspace at {source}.", todo="Name the folder of one.")
    ws = headrace.open(source)
    columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err) as bars:
            task = bars.add_task("copying")
            found: Copied = ws.copy(target, lambda done, of: bars.update(task, completed=done, total=of))
    finally:
        ws.close()
    call.answer(found, lambda: out.print(f"{found.files:,} files, {_size(found.size)}, verified: {found.folder}"))


@workspace.command()
@verb
def verify(call: Call) -> int:
    """Walk the audit chain, and read every byte of every bundle and every cell of every snapshot."""
    problems = call.workspace.verify()

    def show() -> None:
        out.print("The workspace is whole." if not problems else f"[red]{len(problems)} problems[/]")
        for problem in problems:
            out.print(f"  {problem}", markup=False)

    call.answer({"whole": not problems, "problems": problems}, show)
    return 1 if problems else 0
