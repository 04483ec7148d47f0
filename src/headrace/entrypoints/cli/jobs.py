"""Verbs that score files as jobs."""

from __future__ import annotations

import re
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from headrace.batch.dialect import Wanted
from headrace.batch.job import Job
from headrace.batch.planning import within_memory
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.errors import HeadraceError, InvalidInput, rebuilt

SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size_of(text: str) -> int:
    """A size such as ``16MB`` in bytes.

    Raises:
        InvalidInput: it is none.
    """
    found = re.fullmatch(r"(\d{1,9})\s*([kmg]?)i?b?", text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise InvalidInput(f"{text!r} is no size.", expected="such as 16MB", todo="Correct it.")
    return int(found[1]) * SIZES[found[2]]


def _shares(asked: dict[str, Any]) -> dict[str, int]:
    """How much is scored at once, and in how many threads.

    Raises:
        InvalidInput: so little memory is not enough, or it is not this machine's, or the chunk is named too.
    """
    if asked["memory"] is None:
        return {"chunk": size_of(asked["chunk"] or "16MB"), "threads": asked["threads"]}
    if asked["chunk"] or asked["engine"] != "local":
        raise InvalidInput(
            "--memory chooses the chunk, for threads of this machine.",
            field="memory",
            expected="no --chunk and no --engine beside it",
            todo="Leave one of them out.",
        )
    return dict(zip(("chunk", "threads"), within_memory(size_of(asked["memory"]), asked["threads"]), strict=True))


@click.command()
@click.argument("model")
@click.argument("source")
@click.argument("destination")
@click.option("--keep", default="keys", metavar="all|keys|A,B", help="The columns of the source to keep.")
@click.option("--max-rejects", default="", metavar="N|N%", help="How many rows may be rejected; any by default.")
@click.option("--delimiter", help="Of a CSV; found out by default.")
@click.option("--quote", help="The quotation mark of a CSV, or none.")
@click.option("--encoding", help="Of a text; UTF-8 by default.")
@click.option("--no-header", is_flag=True, help="The first line of a CSV is a row; columns are column1, column2, …")
@click.option("--raw", is_flag=True, help="Leave texts as they are that a spreadsheet would take for formulas.")
@click.option("--overwrite", is_flag=True, help="Write over what stands at the destination.")
@click.option("--sql", default="", metavar="QUERY", help="The rows of a source that is a database.")
@click.option("--append", is_flag=True, help="Add to a table that is there.")
@click.option("--no-capture", is_flag=True, help="Keep the predictions out of the predictions table.")
@click.option("--chunk", metavar="SIZE", help="How much is scored at once; 16MB by default.")
@click.option("--memory", metavar="SIZE", help="How much memory it may take; chooses --chunk and --threads.")
@click.option("--threads", default=0, metavar="N", help="How many work; as many as there are cores by default.")
@click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="local|ray|spark",
    help="Where it is scored: here, or on a cluster (ray:ADDRESS, spark:MASTER).",
)
@click.option("--priority", default=0, metavar="N", help="Turns among waiting jobs: one more is twice as many.")
@click.option(
    "--tell", multiple=True, metavar="TO", help="Whom to tell when it has ended: a mail address or a webhook."
)
@click.option("--queue", is_flag=True, help="Leave it to the workers, and do not wait.")
@verb
def score(call: Call, model: str, source: str, destination: str, **asked: Any) -> int:
    """Score a file, a folder, a glob or a table, and write one file or table of answers.

    CSV, JSON Lines, Parquet, Arrow and Excel; texts also packed (.gz, .zst); here or at s3://, gs://, az://. Tables are
    delta:PATH, and DATABASE#TABLE, as postgresql://HOST/DATABASE#TABLE, sqlite:///FILE#TABLE, duckdb:///FILE#TABLE or
    env:NAME#TABLE. Rows that cannot be scored go to a file beside the destination, with line, field and reason.
    Started again after a crash it goes on where it stood.
    """
    text = Wanted(
        delimiter=asked["delimiter"],
        quote="" if asked["quote"] == "none" else asked["quote"],
        encoding=asked["encoding"],
        header=not asked["no_header"],
    )
    options = {
        "keep": asked["keep"],
        "rejects": asked["max_rejects"],
        "escape": not asked["raw"],
        "overwrite": asked["overwrite"],
        "sql": asked["sql"],
        "append": asked["append"],
        "capture": not asked["no_capture"],
        **_shares(asked),
        "engine": asked["engine"],
        "priority": asked["priority"],
        "tell": asked["tell"],
    }
    job = call.workspace.score(model, source, destination, text=text, wait=False, **options)
    if asked["queue"]:
        call.answer(job, lambda: out.print(f"job {job.id} waits for a worker: headrace jobs {job.id[-8:]}"))
        return 0
    try:
        job = watched(call.workspace, job)
    except KeyboardInterrupt:
        err.print("\nThe job is kept; the same command goes on with it.")
        return 130
    return _answer(call, job)


def watched(workspace: Any, job: Job) -> Job:
    """Work at a job with a bar that says how many rows a second, and how long it still takes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[rows]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, Any] = {}

        def progress(found: Job, what: str, share: float) -> None:
            if what not in tasks:
                for task in tasks.values():
                    bars.update(task, completed=1.0)
                tasks[what] = bars.add_task(what, total=1.0, rows="")
            started = bars.tasks[tasks[what]].elapsed or 0.0
            rows = found.counts.read
            speed = f", {rows / started:,.0f} rows/s" if what == "scoring" and started > 1 and rows else ""
            bars.update(tasks[what], completed=share, rows=f"{rows:,} rows{speed}" if rows else "")

        return workspace.work_at(job.id, progress)


def _answer(call: Call, job: Job) -> int:
    if job.error is not None:
        raise rebuilt(job.error)
    call.answer(job, lambda: _show(job))
    return 0 if job.status == "done" else 1


def _show(job: Job) -> None:
    took = f" in {(job.ended - job.started).total_seconds():.1f} s" if job.started and job.ended else ""
    out.print(f"[bold]{job.status}[/]{took}: {job.counts.read:,} rows read, {job.counts.scored:,} scored", end="")
    out.print(f", {job.counts.rejected:,} rejected" if job.counts.rejected else "")
    if job.result:
        out.print(f"  answers of {job.reference}: {job.result}", soft_wrap=True)
    if job.rejects:
        out.print(f"  rejected rows, with reasons: {job.rejects}", soft_wrap=True)


@click.command()
@click.argument("job", required=False)
@click.option("--model", help="Only those of this model.")
@click.option("--limit", default=20, show_default=True, help="How many.")
@click.option("--cancel", is_flag=True, help="End the job.")
@click.option("--schedules", is_flag=True, help="How far the schedules of jobs are.")
@click.option("--retry", is_flag=True, help="Queue a job again that failed or was cancelled.")
@verb
def jobs(
    call: Call, job: str | None, model: str | None, limit: int, schedules: bool, cancel: bool, retry: bool
) -> None:
    """List batch jobs, newest first; or look at one, cancel it, or retry it."""
    ws = call.workspace
    if job is not None:
        found = ws.cancel_job(job) if cancel else ws.retry_job(job) if retry else ws.job(job)
        call.answer(found, lambda: _show_one(found))
        return
    if cancel or retry:
        raise InvalidInput("Which job is not said.", expected="headrace jobs JOB --cancel", todo="Name it.")
    if schedules:
        known = ws.job_schedules(model)
        heads = ("model", "schedule", "cron", "last moment", "its job", "up to")
        rows = [(s["model"], s["name"], s["cron"], s["fired"], s["job"][-12:], str(s["until"] or "")) for s in known]
        call.answer(known, lambda: table("schedules", heads, rows))
        return
    found = ws.jobs(model, limit)

    def show() -> None:
        rows = [(j.id, j.reference, j.status, _share(j), f"{j.counts.read:,}", j.source, j.destination) for j in found]
        table("jobs", ("id", "version", "status", "done", "rows", "source", "destination"), rows)

    call.answer(found, show)


def _share(job: Job) -> str:
    return f"{100 * job.chunks_done / job.chunks:.0f} %" if job.chunks else ""


def _show_one(job: Job) -> None:
    out.print(f"job {job.id} of {job.reference}, asked for by {job.created_by}, {_share(job)}")
    out.print(f"  from {job.source}\n  to {job.destination}", soft_wrap=True)
    _show(job)
    if job.error is not None:
        error: HeadraceError = rebuilt(job.error)
        out.print(f"  [red]{error.kind}[/]: {error}", soft_wrap=True)
