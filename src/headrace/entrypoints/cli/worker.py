"""The verb that works."""

from __future__ import annotations

import click

from headrace import settings

settings.limit_threads()

from headrace.entrypoints.cli.verb import Call, err, verb  # noqa: E402 - threads are limited before numpy is loaded
from headrace.entrypoints.jobs_worker import JobsWorker  # noqa: E402
from headrace.entrypoints.worker import Worker  # noqa: E402


@click.command()
@click.option("--jobs", is_flag=True, help="Work at batch jobs alone.")
@click.option(
    "--idle", type=float, default=float("inf"), metavar="SECONDS", help="With --jobs: end when none came so long."
)
@verb
def worker(call: Call, jobs: bool, idle: float) -> None:
    """Start a worker: it executes runs and jobs, closes windows, heeds alarms and advances rollouts."""
    if jobs:
        err.print(f"worker for the jobs of {call.workspace.places.root} (Ctrl-C ends)")
        JobsWorker(call.workspace, idle).work()
        return
    err.print(f"worker for {call.workspace.places.root} (Ctrl-C ends; what is under way goes on with the next worker)")
    Worker(call.workspace).work()
