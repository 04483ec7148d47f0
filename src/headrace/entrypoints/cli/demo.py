"""The verb that shows the whole loop."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

import headrace
from headrace import settings
from headrace.entrypoints.cli.processes import Processes
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.entrypoints.demo.report import summary_rows, write_report
from headrace.entrypoints.demo.story import Story, check_packages, fresh_folder
from headrace.kernel.errors import InvalidInput

TURN = {"HEADRACE_TURN_SECONDS": "0.02"}
REPORT = Path("demo-report.html")
INTERRUPTED = 130


@click.command()
@click.option("--exit", "at_once", is_flag=True, help="End after the table instead of serving on.")
@verb
def demo(call: Call, at_once: bool) -> int:
    """Run the whole loop on real flights, in some three minutes, with a console to look at.

    It ends with exit code 1 if any part fell short.
    """
    check_packages()
    places = settings.workspace_places(call.location)
    if not places.embedded:
        raise InvalidInput(
            f"The demo was asked to run in {places.name}.",
            expected="a folder",
            todo="Name one with --workspace, or unset HEADRACE_WORKSPACE.",
        )
    root = places.root
    fresh_folder(root)
    ws = headrace.open(root)
    processes = Processes(places, TURN)
    signal.signal(signal.SIGTERM, _interrupt)
    story = Story(ws, processes, err)
    code = INTERRUPTED
    try:
        told = story.tell()
        code = _conclude(call, ws, story, told)
        if sys.stdout.isatty() and not at_once and not settings.read(settings.CI):
            err.print(f"\nServing on at {story.urls['console']} until Ctrl-C.")
            while processes.fallen() is None:
                time.sleep(0.5)
    except KeyboardInterrupt:
        err.print()
    finally:
        story.end_client()
        processes.stop()
        ws.close()
    err.print(f"Open the workspace again with: headrace up --workspace {_near(root)}")
    return code


def _conclude(call: Call, ws: Any, story: Any, told: Any) -> int:
    write_report(ws, told, REPORT)
    rows = [*summary_rows(told), ("console", story.urls["console"]), ("report", str(REPORT))]

    def show() -> None:
        out.print()
        table("What ran", ("", ""), rows)
        for text in told.short:
            out.print(f"[red]fell short:[/] {text}")

    call.answer({"rows": dict(rows), "short": told.short}, show)
    return 1 if told.short else 0


def _near(root: Path) -> Path:
    return root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
