"""The verb that shows."""

from __future__ import annotations

import click

from headrace.entrypoints.cli.verb import Call, err, verb
from headrace.entrypoints.console.server import serve_console


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option("--unguarded", is_flag=True, help="Listen beyond 127.0.0.1 although callers are not checked.")
@verb
def console(call: Call, host: str, port: int, unguarded: bool) -> None:
    """Start the console and the management API."""

    call.keep_output()

    def announce(at: str, taken: int) -> None:
        document = {"url": f"http://{at}:{taken}", "port": taken}
        call.answer(document, lambda: err.print(f"console at http://{at}:{taken} (Ctrl-C ends)"))

    serve_console(call.workspace, host, port, announce, unguarded)
