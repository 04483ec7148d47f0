"""The verb that works."""

from __future__ import annotations

import click

from headrace import settings

settings.limit_threads()

from headrace.entrypoints.cli.verb import Call, err, verb  # noqa: E402 - threads are limited before numpy is loaded
from headrace.entrypoints.worker import Worker  # noqa: E402


@click.command()
@verb
def worker(call: Call) -> None:
    """Start a worker: it executes runs, closes windows, heeds alarms and advances rollouts."""
    err.print(f"worker for {call.workspace.places.root} (Ctrl-C ends; what is under way goes on with the next worker)")
    Worker(call.workspace).work()
